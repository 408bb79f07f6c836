"""Labels of items under later contracts.

Most are looked up by class. Where a split asks for attributes, items that no rule tells apart are
asked once: those with the same attributes, whose areas lie between the same two of the numbers that
rules compare an area with.
"""

from __future__ import annotations

import numpy as np

from ledger.columnar.shapes import NONE, Floats
from ledger.columnar.state import Codes, Columns
from ledger.columnar.strings import Ints
from ledger.core.contract import Contracts


def forward(columns: Columns, items: Codes, labels: Ints, since: Ints, until: Ints) -> Ints:
    """The labels of items under later contracts, as `Contracts.forward` has it.

    Args:
        columns: the items.
        items: which of them, maybe some twice.
        labels: one of each, as a code.
        since: the contract that it stands under.
        until: the later one.
    """
    tables, things = columns.tables, columns.things
    found = tables.forward(labels, since, until)
    if found is labels or not (columns.shapes.size or columns.names.attributes.size):
        return found
    rows = np.nonzero((things.shape[items] != NONE) | (things.attributes[items] >= 0))[0]
    rows = rows[tables.asks(labels[rows], since[rows], until[rows])]
    if len(rows):
        first, groups = _alike(columns, items[rows], labels[rows], since[rows], until[rows])
        asked, codes = rows[first], list[int]()
        for row, attributes in zip(asked.tolist(), columns.attributes(items[asked]), strict=True):
            way = tables.labels[int(labels[row])], int(since[row]), int(until[row])
            codes.append(tables.code_of(tables.contracts.forward(*way, attributes)))
        found[rows] = np.array(codes)[groups]
    return found


def _alike(
    columns: Columns, items: Codes, labels: Ints, since: Ints, until: Ints
) -> tuple[Ints, Ints]:
    """Groups of which one answer holds: a member of each, and the group of each row."""
    things, tables = columns.things, columns.tables
    places = places_of(tables.contracts, columns.shapes.areas(things.shape[items]))
    known = things.attributes[items] * np.int64(places.max() + 1) + places
    key = np.unique(known, return_inverse=True)[1]  # so that the next ones fit into 64 bits
    for codes in (labels, tables.pairs(since, until)):
        key = key * (int(codes.max()) + 1) + codes
    _, first, groups = np.unique(key, return_index=True, return_inverse=True)
    return first, groups


def places_of(contracts: Contracts, areas: Floats) -> Ints:
    """Numbers, from 0 on, that differ where a split rule may tell two areas apart; NaN is none."""
    cuts = contracts.cuts("area")
    if cuts is None:
        return np.unique(areas, return_inverse=True)[1]
    places = np.searchsorted(cuts, areas) + np.searchsorted(cuts, areas, side="right")
    return np.where(np.isnan(areas), 2 * len(cuts) + 1, places)
