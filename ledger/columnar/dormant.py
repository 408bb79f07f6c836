"""Records of which only the rows are kept, until one is needed.

Rows say what became of every event, so a record is put together from them and nothing is judged
again. What they leave out are texts, which are filled in like those of other records (`hydrate`),
and with what a registration named an item that a correction had made: that event is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ledger.columnar.state import Fetch, Stubs, stub
from ledger.columnar.strings import Ints
from ledger.core.contract import Unresolved
from ledger.core.events import Geometry, ItemRegistered
from ledger.core.fold import Correction, Item, Record
from ledger.core.outcome import Outcome

if TYPE_CHECKING:
    from ledger.columnar.delta import Delta


class Dormant:
    """The rows of dormant records.

    Args:
        rows: all of them, with the columns that a restored fold needs.
        records: for each frame, the code of the record of each row.
    """

    def __init__(self, rows: Delta, records: Sequence[Ints]) -> None:
        tables = (_Table(*each) for each in zip(rows, records, strict=True))
        self._changes, self._corrections, self._reviews, self._refusals = tables

    def wake(
        self, codes: Ints, names: Sequence[str], fetch: Fetch, stubs: Stubs
    ) -> dict[str, Record]:
        """Some records by id, given their codes, which ascend; `stubs` gets what `hydrate` has to
        fill.
        """
        made = [Record() for _ in names]
        for table in (self._changes, self._corrections, self._reviews, self._refusals):
            for at, row in table.of(codes):
                made[at].contract_version = max(made[at].contract_version, row["said_under"])
        by_offset: dict[int, Correction] = {}
        for at, row in self._corrections.of(codes):
            correction = by_offset[row["offset"]] = stubs[row["offset"]] = _correction(row)
            made[at].corrections[row["correction_id"]] = correction
        for _, row in self._reviews.of(codes):
            _decide(by_offset[row["correction_offset"]], row)
        filled: dict[int, Item] = {}
        for at, row in self._changes.of(codes):
            item = _set(made[at], row)
            if row["outcome"] == Outcome.REGISTERED.value:
                stubs[row["offset"]] = item
            elif row["outcome"] == Outcome.FILLED.value:
                filled[row["offset"]] = stubs[row["offset"]] = item
        for offset, event in fetch(sorted(filled)):
            assert isinstance(event, ItemRegistered)
            filled[offset].registered_as = (event.label, event.geometry)
        return dict(zip(names, made, strict=True))


class _Table:
    """The rows of one frame by record, those of each in log order."""

    def __init__(self, frame: pl.DataFrame, records: Ints) -> None:
        order = np.argsort(records, kind="stable")
        self._rows, self._records = frame[order], records[order]

    def of(self, codes: Ints) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of some records, each with its record's place among them."""
        first = np.searchsorted(self._records, codes)
        counts = np.searchsorted(self._records, codes, side="right") - first
        owners: Ints = np.repeat(np.arange(len(codes)), counts)
        rows: Ints = (first - np.cumsum(counts) + counts)[owners] + np.arange(len(owners))
        return zip(owners.tolist(), self._rows[rows].iter_rows(named=True), strict=True)


def _set(record: Record, row: dict[str, Any]) -> Item:
    """Let a record's item be what a row of changes says."""
    label, unresolved, kind = row["label"], row["unresolved"], row["geometry_type"]
    geometry = Geometry(kind, tuple(row["coordinates"])) if kind else None
    item = record.items.get(row["item_id"])
    if item is None:
        names = row["item_id"], row["record_id"]
        item = record.items[names[0]] = Item(*names, None, 0, row["item_offset"])
    item.label = label if unresolved is None else Unresolved(label, unresolved)
    item.contract_version, item.geometry = row["contract"], geometry
    if row["outcome"] == Outcome.REGISTERED.value:
        item.registered_as = (label, geometry)
    if row["attributes"]:
        item.single_attributes = json.loads(row["attributes"])
    record.split = row["split"] if record.split is None else record.split
    return item


def _correction(row: dict[str, Any]) -> Correction:
    names = ("actor", "correction_id", "item_id", "record_id", "from_label", "to_label")
    proposal = stub(
        contract_version=row["said_under"],
        from_geometry=geometry_of(row["from_geometry"]),
        to_geometry=geometry_of(row["to_geometry"]),
        **{name: row[name] for name in names},
    )
    return Correction(proposal, row["offset"])


def _decide(correction: Correction, row: dict[str, Any]) -> None:
    """Let a correction be what a row of reviews says."""
    if row["decision"] != "withdraw":
        correction.votes[row["actor"]] = row["decision"]
    outcome = Outcome(row["outcome"])
    if outcome is not Outcome.VOTED:
        correction.status = outcome


def geometry_of(text: str | None) -> Geometry | None:
    """A geometry of its JSON."""
    if text is None:
        return None
    given = json.loads(text)
    return Geometry(given["type"], tuple(map(float, given["coordinates"])))
