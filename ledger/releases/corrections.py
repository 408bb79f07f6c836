"""What people settled between a base and a version: how many corrections, of what kind, by whom.

A correction counts where the vote that settles it stands beyond the base and is live. Only counts
leave this module: the places of events differ from log to log, and a report does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.core.events import (
    CorrectionProposed,
    CorrectionWithdrawn,
    PatchProposed,
    ReviewDecided,
)
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Topic
from ledger.record import state_of
from ledger.replay import COLUMNS_FROM

SETTLED = (Outcome.APPLIED, Outcome.STALE, Outcome.KEPT, Outcome.WITHDRAWN)


class Settled(NamedTuple):
    """One kind of settled correction: what became of it, and what it said of itself."""

    outcome: str
    source: str | None
    segment: str | None
    reason: str | None
    author: str
    reviewer: str
    patch_id: str | None


def _counts() -> Counter[str]:
    return Counter()


@dataclass(frozen=True)
class Corrections:
    """Counts of settled corrections by outcome, and of the applied ones by what they say."""

    outcomes: Mapping[str, int] = field(default_factory=_counts)
    sources: Mapping[str, int] = field(default_factory=_counts)
    segments: Mapping[str, int] = field(default_factory=_counts)
    reasons: Mapping[str, int] = field(default_factory=_counts)
    authors: Mapping[str, int] = field(default_factory=_counts)
    reviewers: Mapping[str, int] = field(default_factory=_counts)
    patches: Mapping[str, int] = field(default_factory=_counts)

    @property
    def applied(self) -> int:
        """How many changed a label or a geometry."""
        return self.outcomes.get(Outcome.APPLIED.value, 0)


def corrections_between(
    dataset: Dataset, governance: Governance, start: Sequence[int], position: Position
) -> Corrections:
    """What was settled at label offsets from `start` to the position's, in one pass over the log.

    Args:
        dataset: what to read.
        governance: that at the position.
        start: the first offset of each partition that counts.
        position: closed.
    """
    if sum(position.labels) - sum(start) >= COLUMNS_FROM or dataset.stand_in is not None:
        try:
            from ledger.releases.settled import settled
        except ImportError:
            pass
        else:
            return _counted(settled(dataset, governance, start, position))
    return _counted(_one_by_one(dataset, governance, start, position))


def _one_by_one(
    dataset: Dataset, governance: Governance, start: Sequence[int], position: Position
) -> Iterator[tuple[Settled, int]]:
    """Each settled correction, by the reference fold of the records that were voted on: the rest of
    the log is read over.
    """
    proposals: dict[tuple[str, str], CorrectionProposed] = {}
    found: list[Settled] = []

    def observe(entry: Entry, outcome: Outcome) -> None:
        event = entry.event
        if outcome is Outcome.PROPOSED and isinstance(event, CorrectionProposed):
            proposals[event.record_id, event.correction_id] = event
        elif entry.offset < start[entry.partition] or outcome not in SETTLED:
            return
        elif isinstance(event, ReviewDecided | CorrectionWithdrawn):
            said = proposals[event.record_id, event.correction_id]
            about = (said.source, said.segment, said.reason, said.actor)
            found.append(Settled(outcome.value, *about, event.actor, said.patch_id))

    state_of(dataset, _voted_on(dataset, governance, start, position), position, observe)
    return ((each, 1) for each in found)


def _voted_on(
    dataset: Dataset, governance: Governance, start: Sequence[int], position: Position
) -> set[str]:
    """The records that a vote or a withdrawal between `start` and the position is about."""
    found: set[str] = set()
    for partition, stop in enumerate(position.labels):
        for span in governance.spans(partition, stop):
            first = max(span.start, start[partition])
            if span.live and first < span.stop:
                for entry in dataset.entries(Topic.LABELS, partition, first, span.stop):
                    if isinstance(entry.event, ReviewDecided | CorrectionWithdrawn):
                        found.add(entry.event.record_id)
    return found


def _counted(found: Iterator[tuple[Settled, int]]) -> Corrections:
    tables: dict[str, Counter[str]] = {
        name: Counter()
        for name in (
            "outcomes",
            "sources",
            "segments",
            "reasons",
            "authors",
            "reviewers",
            "patches",
        )
    }

    def add(table: str, name: Any, count: int) -> None:
        if name is not None:
            tables[table][name] += count

    for each, count in found:
        add("outcomes", each.outcome, count)
        if each.outcome == Outcome.APPLIED.value:
            add("sources", each.source or "unnamed", count)
            add("segments", each.segment, count)
            add("reasons", each.reason, count)
            add("authors", each.author, count)
            add("reviewers", each.reviewer, count)
            add("patches", each.patch_id, count)
    return Corrections(**{name: by_count(table) for name, table in tables.items()})


def by_count(counts: Mapping[str, int]) -> dict[str, int]:
    """The most first; of as many, by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def patches_of(governance: Governance, corrections: Corrections) -> tuple[PatchProposed, ...]:
    """The patches that applied corrections belong to, by id."""
    known = governance.register.patches
    return tuple(known[name].event for name in sorted(corrections.patches) if name in known)
