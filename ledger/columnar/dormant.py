"""Records of which only the offsets of their events are kept, until one is needed.

Waking one up folds its events again, one by one. Only those that counted: what was refused left
nothing but its contract version, and what is void is no part of it.
"""

from __future__ import annotations

import numpy as np

from ledger.columnar.state import Fetch
from ledger.columnar.strings import Bools, Ints
from ledger.core.events import LabelEvent
from ledger.core.fold import PartitionFold, Record


class Dormant:
    """The events of dormant records.

    Args:
        records: of each event, the code of its record.
        offsets: where it stands.
        said: the contract version that it names.
        refused: whether it was refused.
    """

    def __init__(self, records: Ints, offsets: Ints, said: Ints, refused: Bools) -> None:
        order = np.lexsort((offsets, records))
        self._offsets, self._said, self._refused = offsets[order], said[order], refused[order]
        self._records = records[order]

    def wake(self, records: Ints, names: list[str], fold: PartitionFold, fetch: Fetch) -> None:
        """Fold the events of some records; they are none of the fold's so far."""
        first = np.searchsorted(self._records, records)
        last = np.searchsorted(self._records, records, side="right")
        counts = last - first
        owners: Ints = np.repeat(np.arange(len(records)), counts)
        rows: Ints = (first - np.cumsum(counts) + counts)[owners] + np.arange(len(owners))
        order = np.argsort(self._offsets[rows])
        rows, owners = rows[order], owners[order]
        fold.records.update((name, Record()) for name in names)
        told = rows[~self._refused[rows]]
        events = iter(fetch(self._offsets[told].tolist()))
        for row, owner in zip(rows.tolist(), owners.tolist(), strict=True):
            name = names[int(owner)]
            if self._refused[row]:
                record = fold.records[name]
                record.contract_version = max(record.contract_version, int(self._said[row]))
                continue
            offset, event = next(events)
            assert isinstance(event, LabelEvent)
            outcome = fold.apply(offset, name.encode(), event)
            assert not outcome.refused, (offset, outcome)
