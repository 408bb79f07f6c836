"""A position: one offset per partition, each the next event to read.

Its text form is `labels=120,98,7,44;governance=14`. It may carry offsets of the other topics too;
only those of `labels` and `governance` decide what a snapshot holds, and only they are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OFFSETS = re.compile(r"\d+(,\d+)*", re.ASCII)
_OTHERS = ("feedback", "annotations", "signals", "quarantine")


@dataclass(frozen=True, slots=True)
class Position:
    """Offsets by partition of the label topic and of governance, optionally of other topics."""

    labels: tuple[int, ...]
    governance: int
    feedback: tuple[int, ...] | None = None
    annotations: tuple[int, ...] | None = None
    signals: tuple[int, ...] | None = None
    quarantine: tuple[int, ...] | None = None

    def within(self, other: Position) -> bool:
        """Whether everything before this position is also before `other`."""
        return (
            len(self.labels) == len(other.labels)
            and self.governance <= other.governance
            and all(mine <= theirs for mine, theirs in zip(self.labels, other.labels, strict=True))
        )

    def comparable(self, other: Position) -> bool:
        """Whether one of the two is within the other."""
        return self.within(other) or other.within(self)

    def same_prefix(self, other: Position) -> bool:
        """Whether both name the same prefix of the label and governance topics."""
        return self.labels == other.labels and self.governance == other.governance

    def prefix(self) -> Position:
        """The offsets that are compared, without those of other topics."""
        return Position(self.labels, self.governance)

    def text(self) -> str:
        """The text form, which `parse` reads back."""
        parts = [f"labels={_join(self.labels)}", f"governance={self.governance}"]
        for topic in _OTHERS:
            offsets: tuple[int, ...] | None = getattr(self, topic)
            if offsets is not None:
                parts.append(f"{topic}={_join(offsets)}")
        return ";".join(parts)

    def as_dict(self) -> dict[str, list[int] | int]:
        """The JSON form: `{"labels": [...], "governance": n}` and the other topics it carries."""
        fields: dict[str, list[int] | int] = {
            "labels": list(self.labels),
            "governance": self.governance,
        }
        for topic in _OTHERS:
            offsets: tuple[int, ...] | None = getattr(self, topic)
            if offsets is not None:
                fields[topic] = list(offsets)
        return fields

    def __str__(self) -> str:
        return self.text()


def parse(text: str) -> Position:
    """Read the text form.

    Raises:
        ValueError: names the part that is not an offset vector, or the topic that is missing.
    """
    found: dict[str, tuple[int, ...]] = {}
    for part in text.split(";"):
        topic, equals, offsets = part.strip().partition("=")
        if topic not in ("labels", "governance", *_OTHERS):
            raise ValueError(f"position {text!r}: {topic!r} is no topic of a position")
        if not equals or not _OFFSETS.fullmatch(offsets):
            raise ValueError(f"position {text!r}: {part!r} is not TOPIC=OFFSET[,OFFSET...]")
        if topic in found:
            raise ValueError(f"position {text!r}: {topic} is given twice")
        found[topic] = tuple(int(offset) for offset in offsets.split(","))
    for topic in ("labels", "governance"):
        if topic not in found:
            raise ValueError(
                f"position {text!r}: {topic} is missing; write labels=12,40,7,9;governance=3"
            )
    if len(found["governance"]) != 1:
        raise ValueError(f"position {text!r}: governance has one partition")
    return Position(
        labels=found["labels"],
        governance=found["governance"][0],
        feedback=found.get("feedback"),
        annotations=found.get("annotations"),
        signals=found.get("signals"),
        quarantine=found.get("quarantine"),
    )


def _join(offsets: tuple[int, ...]) -> str:
    return ",".join(str(offset) for offset in offsets)
