"""Which events a question about the past is about: one author's, one burst's, one patch's ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from ledger.core.events import CorrectionProposed, CorrectionSource, LabelEvent, ReviewDecided
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic
from ledger.reading import Where

_OF_CORRECTIONS: Mapping[str, str] = {
    "author": "actor",
    "source": "source",
    "patch": "patch_id",
    "audit_run": "audit_run_id",
    "model_version": "model_version",
    "segment": "segment",
}
"""Each condition on corrections, and the field of the proposal that it asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The corrections for which every condition given holds; or, with `reviewer`, that person's
    votes. A burst is an author or a source, and a window.

    Attributes:
        author: who proposed the correction.
        source: where it came from, such as `feedback`.
        patch: the id of the patch it belongs to.
        audit_run: the id of the audit run that proposed it.
        model_version: the model that proposed it.
        segment: what it is about, as its author said.
        reviewer: who voted.
        since: a position; only what was appended at or after it.
        until: a position; only what was appended before it.
    """

    author: str | None = None
    source: str | None = None
    patch: str | None = None
    audit_run: str | None = None
    model_version: str | None = None
    segment: str | None = None
    reviewer: str | None = None
    since: Where | None = None
    until: Where | None = None

    def __post_init__(self) -> None:
        given = self.given()
        if not given:
            names = ", ".join(_OF_CORRECTIONS)
            raise InvalidRequest(f"which corrections? Name {names}, or a reviewer of them")
        for name, value in given.items():
            if not value:
                raise InvalidRequest(f"{_words(name)} is empty")
        if self.reviewer is not None and len(given) > 1:
            raise InvalidRequest("a reviewer's votes go with no other condition but a window")
        sources = get_args(CorrectionSource)
        if self.source is not None and self.source not in sources:
            raise InvalidRequest(f"source {self.source!r} is none of {', '.join(sources)}")

    def given(self) -> dict[str, str]:
        """The conditions that are given, but for the window."""
        names = (*_OF_CORRECTIONS, "reviewer")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def text(self) -> str:
        """The conditions in words, the same for the same selection."""
        parts = [f"{_words(name)} {value}" for name, value in self.given().items()]
        parts += [
            f"{name} {value}" for name in ("since", "until") if (value := getattr(self, name))
        ]
        return ", ".join(parts)


def _words(name: str) -> str:
    return name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection as it looks for its events: which type and fields, and in what range.

    `since` and `until` bound the offsets of each label partition, as positions do.
    """

    event_type: type[LabelEvent]
    fields: Mapping[str, str]
    since: Position | None
    until: Position | None

    @classmethod
    def of(cls, selection: Selection, resolve: Callable[[Where], Position]) -> Chosen:
        """The selection with its positions resolved.

        Raises:
            InvalidRequest: one of them is no position, or the window ends before it begins.
        """
        since = None if selection.since is None else resolve(selection.since)
        until = None if selection.until is None else resolve(selection.until)
        if since is not None and until is not None and not since.within(until):
            raise InvalidRequest(
                f"the window from {selection.since} until {selection.until} ends before it begins"
            )
        if selection.reviewer is not None:
            return cls(ReviewDecided, {"actor": selection.reviewer}, since, until)
        fields = {_OF_CORRECTIONS[name]: value for name, value in selection.given().items()}
        return cls(CorrectionProposed, fields, since, until)

    def holds(self, entry: Entry) -> bool:
        """Whether this event is one of them."""
        return self.takes(entry.partition, entry.offset, entry.event)

    def takes(self, partition: int, offset: int, event: object) -> bool:
        """As `holds`, for what stands at a place."""
        return (
            isinstance(event, self.event_type)
            and self._in_window(partition, offset)
            and all(getattr(event, name) == value for name, value in self.fields.items())
        )

    def _in_window(self, partition: int, offset: int) -> bool:
        return (self.since is None or self.since.labels[partition] <= offset) and (
            self.until is None or offset < self.until.labels[partition]
        )

    def entries_in(self, dataset: Dataset, position: Position) -> list[Entry]:
        """The events below a position, by partition and offset.

        Values without the bytes that they would have to hold are not decoded.
        """
        needles = [value.encode() for value in self.fields.values()]
        found: list[Entry] = []
        for partition, stop in enumerate(position.labels):
            start = 0 if self.since is None else self.since.labels[partition]
            last = stop if self.until is None else min(stop, self.until.labels[partition])
            for batch in dataset.log.read(Topic.LABELS, partition, start, max(start, last)):
                for row, value in enumerate(batch.values):
                    if value is None or not all(needle in value for needle in needles):
                        continue
                    place = (Topic.LABELS, partition, batch.offsets[row], batch.timestamps_ms[row])
                    entry = Entry(*place, batch.keys[row], dataset.codec.decode(value))
                    if self.holds(entry):
                        found.append(entry)
        return found


def any_holds(chosen: Sequence[Chosen]) -> Callable[[Entry], bool]:
    """Whether an event is one of any of the selections."""
    return lambda entry: any(each.holds(entry) for each in chosen)
