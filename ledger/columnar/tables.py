"""The contracts as lookup tables over codes of actors and labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.columnar.strings import Bools, Ints
from ledger.core.contract import Contracts, Label
from ledger.core.events import SchemaChanged
from ledger.core.position import Position

MAY_PROPOSE, MAY_REVIEW, EXPERT = 1, 2, 4
TAKES, EXPERT_CLASS = 1, 2
_UNKNOWN = -1

__all__ = ["Lookup", "Tables"]


class Lookup:
    """A function of two small numbers, asked once for each pair that occurs.

    Args:
        ask: its value for a pair, 0 or more.
    """

    def __init__(self, ask: Callable[[int, int], int]) -> None:
        self._ask = ask
        self._known: NDArray[np.int32] = np.full((1, 16), _UNKNOWN, np.int32)

    def __call__(self, first: Ints, second: Ints) -> NDArray[np.int32]:
        """The value for each pair."""
        if not len(first):
            return np.empty(0, np.int32)
        self._grow(int(first.max()) + 1, int(second.max()) + 1)
        found = self._known[first, second]
        if found.min() == _UNKNOWN:
            rows = np.nonzero(found == _UNKNOWN)[0]
            for one, other in set(zip(first[rows].tolist(), second[rows].tolist(), strict=True)):
                self._known[one, other] = self._ask(one, other)
            found = self._known[first, second]
        return found

    def _grow(self, rows: int, columns: int) -> None:
        height, width = self._known.shape
        if rows > height or columns > width:
            height, width = max(rows, height), columns * 2 if columns > width else width
            grown = np.full((height, width), _UNKNOWN, np.int32)
            grown[: self._known.shape[0], : self._known.shape[1]] = self._known
            self._known = grown


class Tables:
    """What the contracts say, for the codes of one partition.

    Args:
        contracts: the contract at every live version.
        partition: the partition's number.
    """

    def __init__(self, contracts: Contracts, partition: int) -> None:
        self.contracts = contracts
        self._partition = partition
        versions = contracts.versions
        self._first = np.full(max(versions) + 2, np.iinfo(np.int64).max, np.int64)
        for version in versions:
            self._first[version] = _first_offset(contracts, version, partition)
        self.approvals = np.zeros(len(self._first), np.int64)
        for version in versions:
            self.approvals[version] = contracts.at(version).approvals_required
        self.actors: list[str] = []
        self.labels: list[Label] = [None]
        self._codes: dict[Label, int] = {None: 0}
        self._of_interned: Ints = np.empty(0, np.int64)
        self.rights = Lookup(self._rights)
        self.classes = Lookup(self._classes)
        self._moves: dict[tuple[int, int], int] = {}
        self._pairs: list[tuple[int, int]] = []
        self._forward = Lookup(self._moved)
