"""Epochs: under which governance each offset of a label partition is folded for good.

Epoch `e` is the time after the `e`-th rollback that ever counted, until the next one. An offset of
a partition is folded once, in its *native* epoch: the number of rollbacks whose `at` is at or below
it. What folds it is governance as it is just before the next rollback, or now in the last epoch.
`at` only ascends from rollback to rollback, for named positions form a chain. So the native epochs
of a partition are consecutive ranges, every offset is live in its own, and a rollback rewrites
nothing below its `at`: what lies in `[to, at)` stays as it was folded, for earlier positions.

What was folded so answers a position if everything before it reads the same there: the position is
*covered*. It is not where it holds label events beyond the `at` of a rollback that it leaves out,
or where a contract change came to be admissible, or void, below events that name it; then only a
replay answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import NamedTuple

from ledger.core.events import PolicyChanged
from ledger.core.governance import Change, Governance
from ledger.core.position import Position


class Range(NamedTuple):
    """The offsets `[start, stop)` of one partition whose native epoch this is."""

    epoch: int
    start: int
    stop: int


class Epochs:
    """The native epochs of every partition.

    Args:
        governance: the state at the end of what is known; it is not to change meanwhile.
    """

    def __init__(self, governance: Governance) -> None:
        self.governances = [governance.prefix(each.offset) for each in governance.rollbacks]
        """What each epoch is folded under."""
        self.governances.append(governance)
        self._now = governance

    def ranges(self, partition: int, stop: int) -> Iterator[Range]:
        """`[0, stop)` of a partition by native epoch, without the empty ones."""
        for epoch, (start, end) in enumerate(pairwise([*self.starts(partition), stop])):
            if start < min(end, stop):
                yield Range(epoch, start, min(end, stop))

    def starts(self, partition: int) -> list[int]:
        """Where each epoch begins; an epoch that begins where the next one does is empty."""
        return [0, *(each.event.at.labels[partition] for each in self._now.rollbacks)]

    def epoch(self, partition: int, offset: int) -> int:
        """The native epoch of an offset."""
        return sum(start <= offset for start in self.starts(partition)[1:])

    def covered(self, position: Position) -> bool:
        """Whether the rows of the native epochs answer this closed position."""
        governance = self._now.prefix(position.governance)
        return all(
            self.stands(governance, partition, stop)
            for partition, stop in enumerate(position.labels)
        )

    def stands(self, governance: Governance, partition: int, stop: int) -> bool:
        """Whether what the native epochs make of the live events of `[0, stop)` is what this
        governance, a prefix of ours, makes of them.
        """
        for epoch, first, last in self.ranges(partition, stop):
            for start, end in live(governance, partition, stop):
                if max(start, first) < min(end, last) and not agree(
                    self.governances[epoch], governance, partition, min(end, last)
                ):
                    return False
        return True


def live(governance: Governance, partition: int, stop: int) -> list[tuple[int, int]]:
    """The live ranges `[start, stop)` below `stop`; neighbours are one."""
    found: list[tuple[int, int]] = []
    for span in governance.spans(partition, stop):
        if span.live and found and found[-1][1] == span.start:
            found[-1] = (found[-1][0], span.stop)
        elif span.live:
            found.append((span.start, span.stop))
    return found


def alike(one: Governance, other: Governance, stops: Sequence[int]) -> bool:
    """Whether the same offsets of each partition below its stop are live under both."""
    return all(
        live(one, partition, stop) == live(other, partition, stop)
        for partition, stop in enumerate(stops)
    )


def agree(one: Governance, other: Governance, partition: int, stop: int) -> bool:
    """Whether both, prefixes of one governance log, make the same of `[0, stop)`."""
    return live(one, partition, stop) == live(other, partition, stop) and not any(
        one.first_use(partition, change.event.version, change.event.at[partition], stop) is not None
        for change in _apart(one, other)
        if change.event.at[partition] < stop
    )


def _apart(one: Governance, other: Governance) -> list[Change]:
    """The live contract changes whose contract is not the same under both: from the first one on
    that only one of them has.
    """
    mine, theirs = _live_changes(one), _live_changes(other)
    while mine and theirs and mine[0].offset == theirs[0].offset:
        del mine[0], theirs[0]
    return [*mine, *(change for change in theirs if change not in mine)]


def _live_changes(governance: Governance) -> list[Change]:
    return [
        change
        for change in governance.changes
        if isinstance(change.event, PolicyChanged) or not governance.void(change.offset)
    ]


def fingerprint(governance: Governance, partition: int, stop: int, met: Iterable[int]) -> str:
    """What governance says about `[0, stop)` of a partition, as a SHA-256.

    What was folded of it under one governance stands under another with the same fingerprint.

    Args:
        governance: under which it is folded.
        partition: its number.
        stop: where the fold stopped.
        met: the contract versions that its events name, refused ones too.
    """
    changes = _live_changes(governance)
    first = {change.event.version: change.event.at[partition] for change in changes}
    admitted = {version: first[version] for version in met if first.get(version, stop) < stop}
    said: list[dict[str, object]] = []
    for change in changes:
        if change.event.version <= max(admitted, default=0):
            fields = asdict(change.event)
            del fields["at"]
            said.append({**fields, "type": type(change.event).__name__})
    whole = {
        "stop": stop,
        "live": live(governance, partition, stop),
        "admitted": sorted(admitted.items()),
        "changes": said,
    }
    text = json.dumps(whole, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
