"""A ledger that is asked for the same past labels several times, and replays them once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ledger.core.position import Position
from ledger.reading import HEAD, Reading, Where
from ledger.snapshot import Difference, Snapshot

if TYPE_CHECKING:
    from ledger.checkpoints.reader import Checkpoints

KEPT_MAX = 3


class Remembered(Reading):
    """Answers as `book` does, and keeps the last three snapshots: at one position they stay.

    Args:
        book: the ledger.
    """

    def __init__(self, book: Reading) -> None:
        super().__init__(book.dataset)
        self.reader = book.reader
        self._book = book
        self._kept = OrderedDict[Position, Snapshot]()

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Those of the book."""
        return self._book.checkpoints

    def snapshot(self, at: Where = HEAD) -> Snapshot:
        """The labels at a position."""
        position = self.resolve(at)
        if position not in self._kept:
            self._kept[position] = self._book.snapshot(position)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(position)
        return self._kept[position]

    def diff(self, before: Where, after: Where = HEAD) -> Difference:
        """The items whose canonical line differs between two positions, sorted by id."""
        one, two = self.resolve(before), self.resolve(after)
        if one in self._kept and two in self._kept:
            return self.snapshot(one).diff(self.snapshot(two))
        return self._book.diff(one, two)
