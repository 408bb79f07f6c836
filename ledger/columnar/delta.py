"""What a batch changed, as rows: one row per place (partition, offset) where an event mattered.

Rows are what views show, what checkpoints keep, and what a fold is restored from. A row never says
more than its event did at its place, so later rows don't rewrite it; a rollback only adds rows of
another epoch (see `ledger.core.epochs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

_PLACE: Mapping[str, Any] = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "epoch": pl.Int32,
    "timestamp_ms": pl.Int64,
}
CHANGES = pl.Schema(
    {
        **_PLACE,
        "outcome": pl.String,
        "actor": pl.String,
        "said_under": pl.Int32,
        "item_offset": pl.Int64,
        "item_id": pl.String,
        "record_id": pl.String,
        "label": pl.String,
        "unresolved": pl.Int32,
        "contract": pl.Int32,
        "geometry_type": pl.String,
        "coordinates": pl.List(pl.Float64),
        "split": pl.String,
        "attributes": pl.String,
        "content": pl.String,
        "source": pl.String,
        "correction_offset": pl.Int64,
    }
)
"""Live events that set an item: registered, filled, applied.

`said_under` is the event's own contract version. `item_offset` is the offset of the event that
made the item: with the partition, the item's key. `label` is the label after the event, standing
under `contract`; where a split left it open, `label` is the class that was split and `unresolved`
the version that did it. Geometry is the item's after the event. `split` is the one that this event
gave its record, null when it gave none. `attributes` (JSON, keys sorted), `content` and `source`
are what this event brought. `correction_offset` is that of the proposal that was applied.
"""
CORRECTIONS = pl.Schema(
    {
        **_PLACE,
        "actor": pl.String,
        "said_under": pl.Int32,
        "correction_id": pl.String,
        "item_id": pl.String,
        "record_id": pl.String,
        "from_label": pl.String,
        "to_label": pl.String,
        "from_geometry": pl.String,
        "to_geometry": pl.String,
        "reason": pl.String,
        "source": pl.String,
        "confidence": pl.Float64,
        "model_version": pl.String,
        "audit_run_id": pl.String,
        "patch_id": pl.String,
        "segment": pl.String,
    }
)
"""Proposals that stand. Geometries are JSON, as `errata log --json` gives them."""
REVIEWS = pl.Schema(
    {
        **_PLACE,
        "actor": pl.String,
        "said_under": pl.Int32,
        "correction_offset": pl.Int64,
        "correction_id": pl.String,
        "item_id": pl.String,
        "record_id": pl.String,
        "decision": pl.String,
        "outcome": pl.String,
        "rationale": pl.String,
    }
)
"""Votes and withdrawals that counted. `decision` is accept, keep, escalate or withdraw;
`rationale` is a withdrawal's reason.
"""
REFUSALS = pl.Schema(
    {
        **_PLACE,
        "outcome": pl.String,
        "event": pl.String,
        "record_id": pl.String,
        "item_id": pl.String,
        "actor": pl.String,
        "said_under": pl.Int32,
    }
)
"""Live events that were refused. `event` and what follows are null where the bytes are no event of
ours; `said_under` also where the event does not count for its record's contract version.
"""


class Delta(NamedTuple):
    """What the events of one batch changed; the rows of each frame are in offset order."""

    changes: pl.DataFrame
    corrections: pl.DataFrame
    reviews: pl.DataFrame
    refusals: pl.DataFrame


def empty() -> Delta:
    """No rows."""
    return Delta(
        *(pl.DataFrame(schema=schema) for schema in (CHANGES, CORRECTIONS, REVIEWS, REFUSALS))
    )
