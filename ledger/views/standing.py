"""Where the ledger stands, counted in a view: what `errata status` else folds the whole log for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ledger.core.contract import Unresolved
from ledger.core.events import CorrectionProposed, Geometry
from ledger.core.fold import Item, PartitionFold, Record
from ledger.core.governance import Governance
from ledger.views.reader import View

_WHENEVER = datetime(1, 1, 1, tzinfo=UTC)
Undecodable = tuple[int, int]
"""Partition and offset of what no decoder reads."""

_OUTCOMES = """
    SELECT outcome, count(*) FROM live_changes WHERE outcome <> 'applied' GROUP BY outcome
    UNION ALL SELECT 'proposed', count(*) FROM corrections WHERE status <> 'void'
    UNION ALL SELECT outcome, count(*) FROM live_reviews GROUP BY outcome
    UNION ALL SELECT outcome, count(*) FROM live_refusals WHERE outcome <> 'undecodable'
        GROUP BY outcome"""
_UNDECODABLE = (
    """SELECT partition, offset FROM refusals WHERE outcome = 'undecodable' ORDER BY id"""
)
_VOID = """SELECT coalesce(sum(min(spans.stop, progress.offset) - spans.start), 0) FROM spans
    JOIN progress ON progress.topic = 'labels' AND progress.partition = spans.partition
    WHERE spans.start < progress.offset"""
_UNRESOLVED = """SELECT item_id FROM items WHERE (label IS NOT NULL OR unresolved IS NOT NULL)
    AND item_id NOT IN (SELECT item_id FROM labels) ORDER BY item_id"""
_OPEN = """SELECT c.record_id, c.item_id, c.said_under, c.from_label, c.from_geometry,
        c.to_geometry, i.label, i.unresolved, i.contract, i.geometry_type, i.coordinates,
        i.attributes
    FROM queue AS c LEFT JOIN items AS i ON i.item_id = c.item_id"""


def counts(view: View, listed_max: int) -> dict[str, Any]:
    """Items, labels and corrections as they are now, by the names that `errata status` shows."""
    rows = view.connection.rows
    labels: dict[str, int] = dict(rows("SELECT label, count(*) FROM labels GROUP BY 1 ORDER BY 1"))
    unresolved = [item for (item,) in rows(_UNRESOLVED)]
    statuses = rows(
        "SELECT status, count(*) FROM corrections WHERE status <> 'void' GROUP BY 1 ORDER BY 1"
    )
    return {
        "items": rows("SELECT count(*) FROM items")[0][0],
        "labelled": sum(labels.values()),
        "unresolved": len(unresolved),
        "unresolved_items": unresolved[:listed_max],
        "labels": labels,
        "corrections": dict(statuses),
    }


def outcomes(view: View) -> tuple[Counter[str], Sequence[Undecodable]]:
    """What became of the label events, and the places of those that no decoder reads."""
    found = Counter[str](dict[str, int]())
    for outcome, count in view.connection.rows(_OUTCOMES):
        found[outcome] += count
    places = [(int(row[0]), int(row[1])) for row in view.connection.rows(_UNDECODABLE)]
    found["undecodable"] = len(places)
    read = sum(view.place(partition).offset for partition in range(view.partitions))
    live = int(view.connection.rows(_VOID)[0][0])
    spans = view.connection.rows("SELECT partition, start, stop FROM spans")
    void_undecodable = sum(
        not any(p == partition and start <= offset < stop for p, start, stop in spans)
        for partition, offset in places
    )
    found["void"] = read - live - void_undecodable
    return +found, places


def conflicts(view: View, governance: Governance) -> int:
    """How many open corrections are about an item that is no longer what their author saw."""
    fold = PartitionFold(governance.contracts, 0, view.partitions)
    return sum(fold.agreed(record, proposal) is None for record, proposal in _open(view))


def _open(view: View) -> Iterator[tuple[Record, CorrectionProposed]]:
    """Each open correction with its item, as far as the comparison asks for them."""
    for row in view.connection.rows(_OPEN):
        record_id, item_id, said_under, from_label, from_geometry, to_geometry, *item = row
        record = Record()
        if item[2] is not None:
            record.items[item_id] = _item(record_id, item_id, item)
        yield (
            record,
            CorrectionProposed(
                event_id="",
                actor="",
                occurred_at=_WHENEVER,
                contract_version=said_under,
                item_id=item_id,
                record_id=record_id,
                correction_id="",
                from_label=from_label,
                to_label=None,
                from_geometry=_geometry(from_geometry),
                to_geometry=_geometry(to_geometry),
            ),
        )


def _item(record_id: str, item_id: str, cells: Sequence[Any]) -> Item:
    """An item of its cells: label, unresolved, contract, geometry_type, coordinates, attributes."""
    label, unresolved, contract, geometry_type, coordinates, attributes = cells
    single: dict[str, float | str] = json.loads(attributes) if attributes else {}
    numbers = tuple(map(float, json.loads(coordinates))) if coordinates else ()
    return Item(
        item_id,
        record_id,
        label if unresolved is None else Unresolved(label, unresolved),
        contract,
        0,
        geometry=Geometry(geometry_type, numbers) if geometry_type else None,
        single_attributes=single,
    )


def _geometry(text: str | None) -> Geometry | None:
    if text is None:
        return None
    given = json.loads(text)
    return Geometry(given["type"], tuple(map(float, given["coordinates"])))
