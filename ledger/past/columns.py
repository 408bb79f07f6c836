"""Which records have an open correction, of a long log: found by columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ledger.columnar.replay import replay
from ledger.columnar.state import CODE, NO_RECORD
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset

_OPEN = (CODE[Outcome.PROPOSED], CODE[Outcome.ESCALATED])


def open_records(dataset: Dataset, position: Position) -> Iterator[str]:
    """The ids of the records that have an open correction at a closed position."""
    for partition in replay(dataset, position).partitions:
        known = partition.columns.corrections
        waiting = (known.record != NO_RECORD) & np.isin(known.status, _OPEN)
        codes = np.unique(known.record[waiting]).astype(np.int64)
        yield from partition.names.things.of(codes)
        for record_id, record in partition.reference.records.items():
            if any(correction.open for correction in record.corrections.values()):
                yield record_id
