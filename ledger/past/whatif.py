"""What the labels would be: without some events, or with every open correction accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.past.selection import Chosen, any_holds
from ledger.past.stories import stories
from ledger.replay import COLUMNS_FROM, replay
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
    """Every open correction taken as accepted, in the order in which they were proposed."""
    changes: list[Change] = []
    outcomes: Counter[Outcome] = Counter()
    keys = (record_id.encode() for record_id in open_records(dataset, position))
    for story in stories(dataset, position, keys):
        now, then = story.told(), story.told()
        for correction in then.record.corrections.values():  # in the order of their proposals
            if correction.open:
                stop = position.labels[story.partition]
                outcomes[then.fold.settle(stop, then.record, correction.proposal)] += 1
        changes += now.changes(then)
    applied, stale = outcomes[Outcome.APPLIED], outcomes[Outcome.STALE]
    return Preview(position, applied, stale, _sorted(changes))


def open_records(dataset: Dataset, position: Position) -> Iterator[str]:
    """The ids of the records that have an open correction at a closed position."""
    if sum(position.labels) >= COLUMNS_FROM:
        try:
            from ledger.past.columns import open_records as by_columns
        except ImportError:
            pass
        else:
            yield from by_columns(dataset, position)
            return
    for record_id, record in replay(dataset, position).records():
        if any(correction.open for correction in record.corrections.values()):
            yield record_id


def _sorted(changes: Iterable[Change]) -> Difference:
    return Difference(sorted(changes, key=lambda change: change.item_id.encode()))
