"""The plain rows of a batch, and what array operations over them need again and again."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ledger.columnar.strings import Bools, Ints


@dataclass(slots=True)
class Rows:
    """Some plain, admitted rows of one batch in log order, as codes."""

    at: Ints
    """The row's number in its frame."""
    kind: NDArray[np.int8]
    record: Ints
    item: Ints
    actor: Ints
    version: Ints
    judged: Ints
    """The contract under which the row is judged: the highest its record carried so far."""
    old: Ints
    new: Ints
    split: Ints
    correction: Ints
    decision: NDArray[np.int8]
    offset: Ints
    texts: Bools

    def __len__(self) -> int:
        return len(self.at)

    def where(self, mask: Bools) -> Rows:
        """The rows of the mask."""
        if mask.all():
            return self
        chosen = np.nonzero(mask)[0]
        return Rows(*(getattr(self, each.name)[chosen] for each in fields(self)))


def firsts(codes: Ints | NDArray[np.int32], scratch: Ints) -> Bools:
    """Which rows are the first with their code. `scratch` is -1 everywhere, before and after."""
    order = np.arange(len(codes))
    scratch[codes[::-1]] = order[::-1]  # of several the last one written stays: the first row
    found = scratch[codes] == order
    scratch[codes] = -1
    return found


def ranks(codes: Ints, scratch: Ints) -> Ints:
    """0 for the first row with a code, 1 for the second, and so on."""
    if firsts(codes, scratch).all():
        return np.zeros(len(codes), np.int64)
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.nonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))[0]
    sizes = np.diff(np.append(starts, len(codes)))
    found = np.empty(len(codes), np.int64)
    found[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    return found


def running_maximum(codes: Ints, values: Ints, before: Ints) -> Ints:
    """The highest value so far among the rows with the same code, `before` included."""
    values = np.maximum(values, before)
    if (values[1:] >= values[:-1]).all():  # as in a log whose contract changes now and then
        return values
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    group = np.cumsum(np.concatenate(([0], (ordered[1:] != ordered[:-1]).astype(np.int64))))
    step = int(values.max()) + 1
    highest = np.maximum.accumulate(group * step + values[order]) - group * step
    found = np.empty_like(values)
    found[order] = highest
    return found
