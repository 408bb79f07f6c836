"""The contracts as lookup tables over codes of actors and labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ledger.columnar.strings import Bools, Interner, Ints
from ledger.core.contract import Contracts, Label

MAY_PROPOSE, MAY_REVIEW, EXPERT = 1, 2, 4
TAKES, EXPERT_CLASS = 1, 2
_UNKNOWN = -1
_NEVER = 2**62


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
        at = first * self._known.shape[1] + second
        known = self._known.reshape(-1)
        found = known[at]
        if found.min() == _UNKNOWN:
            rows = np.nonzero(found == _UNKNOWN)[0]
            for one, other in set(zip(first[rows].tolist(), second[rows].tolist(), strict=True)):
                self._known[one, other] = self._ask(one, other)
            found = known[at]
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
        self._partition = partition
        self.govern(contracts)
        self.actors: list[str] = []
        self.labels: list[Label] = [None]
        self._codes: dict[Label, int] = {None: 0}
        self._of_interned: Ints = np.empty(0, np.int64)
        self._rights = Lookup(self._rights_of)
        self._classes = Lookup(self._class_is)
        self._pairs: list[tuple[int, int]] = []
        self._pair = Lookup(self._new_pair)
        self._moved = Lookup(self._move)
        self._asked = Lookup(self._ask)

    def govern(self, contracts: Contracts) -> None:
        """Take in later contracts, of which those known so far are the first."""
        self.contracts = contracts
        versions = contracts.versions
        self._first = np.full(max(versions) + 2, _NEVER, np.int64)
        self._approvals = np.zeros(len(self._first), np.int64)
        for version in versions:
            self._first[version] = _first_offset(contracts, version, self._partition)
            self._approvals[version] = contracts.at(version).approvals_required

    def know(self, actors: Interner, labels: Interner) -> None:
        """Take in the strings that are new since the last call."""
        if actors.size > len(self.actors):
            self.actors += actors.strings(len(self.actors)).fill_null("").to_list()
        known = len(self._of_interned)
        if labels.size > known:
            new = labels.strings(known).fill_null("").to_list()
            codes = np.array([self.code_of(label) for label in new], np.int64)
            self._of_interned = np.concatenate((self._of_interned, codes))

    def label_codes(self, interned: Ints) -> Ints:
        """The codes of labels, out of those that their interner gave; -1 there is 0, none, here."""
        return np.append(self._of_interned, 0)[interned]

    def code_of(self, label: Label) -> int:
        """The code of a label, a new one where it has none."""
        code = self._codes.setdefault(label, len(self.labels))
        if code == len(self.labels):
            self.labels.append(label)
        return code

    def admits(self, versions: Ints, offsets: Ints) -> Bools:
        """As `Contracts.admits`."""
        return self._first[np.minimum(versions, len(self._first) - 1)] <= offsets

    def approvals(self, versions: Ints) -> Ints:
        """How many reviewers must agree under each version."""
        return self._approvals[versions]

    def may(self, right: int, versions: Ints, actors: Ints) -> Bools:
        """Whether each actor may do it under the version: MAY_PROPOSE, MAY_REVIEW, EXPERT."""
        return self._rights(versions, actors) & right != 0

    def label_is(self, what: int, versions: Ints, labels: Ints) -> Bools:
        """Whether each label is it under the version: TAKES (as is none), EXPERT_CLASS."""
        return self._classes(versions, labels) & what != 0

    def forward(self, labels: Ints, since: Ints, until: Ints) -> Ints:
        """As `Contracts.forward`, as if the items had no attributes; see `asks`."""
        rows = np.nonzero(since != until)[0]
        if not len(rows):
            return labels
        found = labels.copy()
        found[rows] = self._moved(self.pairs(since[rows], until[rows]), found[rows])
        return found

    def asks(self, labels: Ints, since: Ints, until: Ints) -> Bools:
        """As `Contracts.asks`: of which labels the attributes decide."""
        return self._asked(self.pairs(since, until), labels) != 0

    def pairs(self, since: Ints, until: Ints) -> Ints:
        """A number for each pair of versions."""
        return self._pair(since, until).astype(np.int64)

    def _rights_of(self, version: int, actor: int) -> int:
        contract, name = self.contracts.at(version), self.actors[actor]
        return (
            MAY_PROPOSE * contract.may_propose(name)
            + MAY_REVIEW * contract.may_review(name)
            + EXPERT * contract.is_expert(name)
        )

    def _class_is(self, version: int, label: int) -> int:
        contract, name = self.contracts.at(version), self.labels[label]
        taken = name is None or (isinstance(name, str) and contract.takes(name))
        return TAKES * taken + EXPERT_CLASS * contract.expert(name)

    def _new_pair(self, since: int, until: int) -> int:
        self._pairs.append((since, until))
        return len(self._pairs) - 1

    def _ask(self, pair: int, label: int) -> int:
        name = self.labels[label]
        return isinstance(name, str) and self.contracts.asks(name, *self._pairs[pair])

    def _move(self, pair: int, label: int) -> int:
        return self.code_of(self.contracts.forward(self.labels[label], *self._pairs[pair], {}))


def _first_offset(contracts: Contracts, version: int, partition: int) -> int:
    """The first offset at which a label event may name the version."""
    return bisect_left(
        range(_NEVER), True, key=lambda offset: contracts.admits(version, partition, offset)
    )
