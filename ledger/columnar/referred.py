"""The rows of events that the reference fold judged, one by one; `ledger.columnar.delta` says what
each column holds.
"""

from __future__ import annotations

import json
from typing import Any

from ledger.codec import plain
from ledger.columnar.attributes import text_of
from ledger.columnar.fold import Referred
from ledger.core.contract import Label, Unresolved
from ledger.core.events import (
    CorrectionProposed,
    CorrectionWithdrawn,
    Geometry,
    ItemRegistered,
    ReviewDecided,
)
from ledger.core.outcome import Outcome
from ledger.logs.base import Batch

Cells = tuple[Any, ...]


def one_by_one(
    batch: Batch, referred: list[Referred]
) -> tuple[list[Cells], list[Cells], list[Cells], list[Cells]]:
    """The rows, without their epoch, of events that the reference fold judged."""
    changes: list[Cells] = []
    corrections: list[Cells] = []
    reviews: list[Cells] = []
    refusals: list[Cells] = []
    for each in referred:
        event = each.event
        place = (batch.partition, batch.offsets[each.row], batch.timestamps_ms[each.row])
        if event is None:
            refusals.append((*place, each.outcome.value, *[None] * 5))
            continue
        said = (event.actor, event.contract_version)
        about = (event.item_id, event.record_id)
        if each.outcome.refused:
            name, under = type(event).__name__, said[1] if each.counted else None
            refusals.append((*place, each.outcome.value, name, *about[::-1], said[0], under))
        elif isinstance(event, CorrectionProposed):
            corrections.append((*place, *said, event.correction_id, *about, *_proposal(event)))
        elif isinstance(event, ReviewDecided | CorrectionWithdrawn):
            assert each.correction is not None
            key = (each.correction.offset, event.correction_id)
            reviews.append((*place, *said, *key, *about, *_verdict(event, each.outcome)))
        if each.item is not None:
            changes.append((*place, each.outcome.value, *said, *_item(each)))
    return changes, corrections, reviews, refusals


def label_cells(label: Label) -> tuple[str | None, int | None]:
    """A label as it stands in a row: the class, and the version that split it if it is open."""
    if isinstance(label, Unresolved):
        return label.label_class, label.version
    return label, None


def _item(each: Referred) -> Cells:
    item, event = each.item, each.event
    assert item is not None
    geometry = item.geometry
    shape = (geometry.type, list(geometry.coordinates)) if geometry else (None, None)
    brought: Cells = (None, None, None)
    if isinstance(event, ItemRegistered):
        brought = (text_of(event.attributes), event.content, event.source)
    applied = each.correction.offset if each.correction else None
    about = (item.offset, item.item_id, item.record_id)
    label = (*label_cells(item.label), item.contract_version)
    return (*about, *label, *shape, each.split, *brought, applied)


def _proposal(event: CorrectionProposed) -> Cells:
    labels = (event.from_label, event.to_label)
    shapes = (_json(event.from_geometry), _json(event.to_geometry))
    why = (event.reason, event.source, event.confidence)
    where = (event.model_version, event.audit_run_id, event.patch_id, event.segment)
    return (*labels, *shapes, *why, *where)


def _verdict(event: ReviewDecided | CorrectionWithdrawn, outcome: Outcome) -> Cells:
    if isinstance(event, CorrectionWithdrawn):
        return ("withdraw", outcome.value, event.reason)
    return (event.decision, outcome.value, event.rationale)


def _json(geometry: Geometry | None) -> str | None:
    return json.dumps(plain(geometry), ensure_ascii=False) if geometry else None
