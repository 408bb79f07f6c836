"""What the labels would be: without some events, or with every open correction accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.core.fold import Record
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.past.selection import Chosen, any_holds
from ledger.past.stories import stories
from ledger.replay import COLUMNS_FROM, State, replay
from ledger.snapshot import Change, Difference
from ledger.tally import tally


class Move(NamedTuple):
    """How many items go from one class to another; None is no label."""

    before: str | None
    after: str | None
    items: int


def moves(difference: Difference) -> list[Move]:
    """A difference by class: see `Tally.moves`."""
    return [Move(*labels, items) for labels, items in tally(difference).moves.items()]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would be different without some events.

    Attributes:
        position: where it was asked.
        passed_over: how many events were left out.
        records: how many records they are about.
        difference: the labels as they are, and as they would be.
    """

    position: Position
    passed_over: int
    records: int
    difference: Difference


def what_if(dataset: Dataset, position: Position, chosen: Sequence[Chosen]) -> WhatIf:
    """The difference that it would make if the chosen events had never been appended.

    A long log is folded as columns where the extra `frames` is installed, to the same difference.
    """
    if sum(position.labels) >= COLUMNS_FROM:
        try:
            from ledger.past.columns import what_if as by_columns
        except ImportError:
            pass
        else:
            return by_columns(dataset, position, chosen)
    left_out = [entry for each in chosen for entry in each.entries_in(dataset, position)]
    places = {(entry.partition, entry.offset) for entry in left_out}
    leave_out = any_holds(chosen)
    changes: list[Change] = []
    for story in stories(dataset, position, (entry.key for entry in left_out)):
        changes += story.told().changes(story.told(leave_out))
    records = len({entry.key for entry in left_out})
    return WhatIf(position, len(places), records, _sorted(changes))


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be different if every open correction were accepted now.

    Attributes:
        position: where it was asked.
        applied: how many open corrections would be applied.
        stale: how many would change nothing, for their item is no longer what they correct.
        difference: the labels as they are, and as they would be.
    """

    position: Position
    applied: int
    stale: int
    difference: Difference


def preview(dataset: Dataset, position: Position) -> Preview:
    """Every open correction taken as accepted, in the order in which they were proposed.

    A long log is folded as columns where the extra `frames` is installed; what differs then comes
    without content.
    """
    state = opened(dataset, position)
    before = state.snapshot()
    outcomes: Counter[Outcome] = Counter()
    for fold in state.partitions:
        stop = position.labels[fold.partition]
        for record in fold.records.values():
            for correction in sorted(record.corrections.values(), key=lambda each: each.offset):
                if correction.open:
                    outcomes[fold.settle(stop, record, correction.proposal)] += 1
    applied, stale = outcomes[Outcome.APPLIED], outcomes[Outcome.STALE]
    return Preview(position, applied, stale, before.diff(state.snapshot()))


def opened(dataset: Dataset, position: Position) -> State:
    """The state at a closed position, of those records only that have an open correction."""
    if sum(position.labels) >= COLUMNS_FROM:
        try:
            from ledger.past.columns import opened as by_columns
        except ImportError:
            pass
        else:
            return by_columns(dataset, position)
    state = replay(dataset, position)
    for fold in state.partitions:
        fold.records = with_open(fold.records)
    return state


def with_open(records: Mapping[str, Record]) -> dict[str, Record]:
    """Those of some records that have an open correction."""
    return {
        name: record
        for name, record in records.items()
        if any(correction.open for correction in record.corrections.values())
    }


def _sorted(changes: Iterable[Change]) -> Difference:
    return Difference(sorted(changes, key=lambda change: change.item_id.encode()))
