"""What a batch changed, as rows: one row per place (partition, offset) where an event mattered.

Rows are what views show, what checkpoints keep, and what a fold is restored from. A row never says
more than its event did at its place, so later rows don't rewrite it; a rollback only adds rows of
another epoch (see `ledger.core.epochs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ledger.columnar.fold import ColumnarPartition, Judged
from ledger.columnar.frame import DECIDED, Frame, Strings
from ledger.columnar.referred import Cells, label_cells, one_by_one
from ledger.columnar.rows import Rows
from ledger.columnar.state import CODE, DECISIONS, OUTCOMES
from ledger.columnar.strings import Bools, Ints, series
from ledger.core.events import CorrectionProposed, ItemRegistered, ReviewDecided
from ledger.core.outcome import Outcome
from ledger.logs.base import Batch

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


SCHEMAS: tuple[pl.Schema, ...] = (CHANGES, CORRECTIONS, REVIEWS, REFUSALS)
"""Those of a delta's frames, in their order."""
_NONE = {kind: pl.Series([None], dtype=kind) for schema in SCHEMAS for kind in schema.values()}
_EMPTY = Delta(*(pl.DataFrame(schema=schema) for schema in SCHEMAS))


def empty() -> Delta:
    """No rows."""
    return _EMPTY


def delta(
    batch: Batch, frame: Frame, judged: Judged, partition: ColumnarPartition, epoch: int
) -> Delta:
    """The rows of a batch of live events.

    Args:
        batch: the messages.
        frame: the same, decoded.
        judged: what became of them.
        partition: the state right after them.
        epoch: the one under which they were folded.
    """
    fast = _Fast(batch, frame, judged, partition)
    columns = (fast.changes(), fast.corrections(), fast.reviews(), fast.refusals())
    rows = one_by_one(batch, judged.referred)
    return Delta(
        *(_merged(*parts, epoch) for parts in zip(SCHEMAS, columns, rows, _EMPTY, strict=True))
    )


def _merged(
    schema: pl.Schema, columns: dict[str, Any], rows: list[Cells], none: pl.DataFrame, epoch: int
) -> pl.DataFrame:
    """Rows that came as columns and rows that came one by one, in offset order."""
    frames: list[pl.DataFrame] = []
    if columns:
        size, made = len(columns["offset"]), columns | {"epoch": epoch}
        frames.append(pl.DataFrame([_column(made.get(each), none[each], size) for each in schema]))
    if rows:
        whole = [(*row[:2], epoch, *row[2:]) for row in rows]
        frames.append(pl.DataFrame(whole, schema=schema, orient="row"))
    if len(frames) == 2:
        return pl.concat(frames).sort("offset")
    return frames[0] if frames else none


def _column(values: Any, like: pl.Series, size: int) -> pl.Series:
    """A column named and typed as another, of values or of one for all rows."""
    if values is None or isinstance(values, int):
        one = _NONE[like.dtype] if values is None else pl.Series([values])
        values = one.new_from_index(0, size)
    made: pl.Series = pl.Series(values)
    return (made if made.dtype == like.dtype else made.cast(like.dtype)).alias(like.name)


_REFUSED = np.array([outcome.refused for outcome in OUTCOMES])
_REGISTERED, _PROPOSED, _APPLIED = (
    CODE[each] for each in (Outcome.REGISTERED, Outcome.PROPOSED, Outcome.APPLIED)
)
_NOT_COUNTED = [CODE[each] for each in (Outcome.MISPLACED, Outcome.UNKNOWN_CONTRACT)]
_OUTCOMES = pl.Series([outcome.value for outcome in OUTCOMES], dtype=pl.String)
_DECISIONS = pl.Series(DECISIONS, dtype=pl.String)
_EVENTS = pl.Series([each.__name__ for each in (ItemRegistered, CorrectionProposed, ReviewDecided)])
"""By kind of row."""
_OWN = (
    *("correction_id", "from_label", "to_label", "reason", "source"),
    *("model_version", "audit_run_id", "patch_id", "segment"),
)


class _Fast:
    """The rows that were folded as columns; where a kind has none, its columns are none."""

    def __init__(
        self, batch: Batch, frame: Frame, judged: Judged, partition: ColumnarPartition
    ) -> None:
        self._frame, self._judged, self._partition = frame, judged, partition
        self._number = batch.partition
        self._times = np.asarray(batch.timestamps_ms, np.int64)
        self._outcomes = judged.outcomes[judged.rows.at]

    def changes(self) -> dict[str, Any]:
        """Items registered, and those that a vote changed."""
        applied = self._outcomes == _APPLIED
        chosen = applied | (self._outcomes == _REGISTERED)
        if not chosen.any():
            return {}
        rows, applied = self._judged.rows.where(chosen), applied[chosen]
        verdicts, columns = self._judged.verdicts, self._partition.columns
        label, contract = np.zeros((2, len(self._frame)), np.int64)
        label[rows.at], contract[rows.at] = rows.old, rows.version
        label[verdicts.votes.at], contract[verdicts.votes.at] = verdicts.label, verdicts.contract
        gave = np.zeros(len(self._frame), np.bool_)
        gave[self._judged.splits] = True
        text, unresolved = self._labels(label[rows.at])
        split = self._texts("split", rows.at)
        drawn = columns.shapes.columns(columns.things.shape[rows.item])
        return self._place(rows.at) | {
            **self._said(rows),
            "geometry_type": drawn[0],
            "coordinates": drawn[1],
            "attributes": self._attributes(rows, ~applied),
            "outcome": _OUTCOMES[self._outcomes[chosen]],
            "item_offset": columns.things.offset[rows.item],
            "label": text,
            "unresolved": unresolved,
            "contract": contract[rows.at],
            "split": _where(gave[rows.at], split),
            "content": self._texts("content", rows.at),
            "source": self._texts("source", rows.at),
            "correction_offset": _where(
                applied, pl.Series(columns.corrections.offset[rows.correction])
            ),
        }

    def corrections(self) -> dict[str, Any]:
        """Proposals that stand."""
        chosen = self._outcomes == _PROPOSED
        if not chosen.any():
            return {}
        rows = self._judged.rows.where(chosen)
        confidence = self._frame.double("confidence", rows.at)
        return self._place(rows.at) | {
            **self._said(rows),
            **{name: self._texts(name, rows.at) for name in _OWN},
            "confidence": _where(~np.isnan(confidence), pl.Series(confidence)),
        }

    def reviews(self) -> dict[str, Any]:
        """Votes that counted."""
        chosen = (self._judged.rows.kind == DECIDED) & ~_REFUSED[self._outcomes]
        if not chosen.any():
            return {}
        rows = self._judged.rows.where(chosen)
        own = self._partition.columns.corrections
        return self._place(rows.at) | {
            **self._said(rows),
            "correction_offset": own.offset[rows.correction],
            "correction_id": self._texts("correction_id", rows.at),
            "decision": _DECISIONS[rows.decision],
            "outcome": _OUTCOMES[self._outcomes[chosen]],
            "rationale": self._texts("rationale", rows.at),
        }

    def refusals(self) -> dict[str, Any]:
        """Rows refused, also those refused before their record was looked at."""
        refused = _REFUSED[self._judged.outcomes]
        refused[[each.row for each in self._judged.referred]] = False
        if not refused.any():
            return {}
        at = np.nonzero(refused)[0]
        outcomes = self._judged.outcomes[at]
        counted = ~np.isin(outcomes, _NOT_COUNTED)
        return self._place(at) | {
            **{name: self._texts(name, at) for name in ("actor", "item_id", "record_id")},
            "outcome": _OUTCOMES[outcomes],
            "event": _EVENTS[self._frame.kind[at]],
            "said_under": _where(counted, pl.Series(self._frame.version[at])),
        }

    def _place(self, at: Ints) -> dict[str, Any]:
        offsets, times = self._frame.offsets[at], self._times[at]
        return {"partition": self._number, "offset": offsets, "timestamp_ms": times}

    def _said(self, rows: Rows) -> dict[str, Any]:
        said = {name: self._texts(name, rows.at) for name in ("actor", "record_id")}
        whole = (rows.item == rows.record).all()
        item = said["record_id"] if whole else self._texts("item_id", rows.at)
        return {**said, "item_id": item, "said_under": rows.version}

    def _texts(self, name: str, at: Ints) -> pl.Series | None:
        return strings(self._frame, self._frame.field(name, at))

    def _attributes(self, rows: Rows, registered: Bools) -> pl.Series | None:
        """What the rows that registered an item brought."""
        codes = self._partition.columns.things.attributes[rows.item]
        there = registered & (codes >= 0)
        if not there.any():
            return None
        texts = self._partition.names.attributes.of(np.maximum(codes, 0).astype(np.int64))
        return _where(there, texts)

    def _labels(self, codes: Ints) -> tuple[pl.Series, pl.Series]:
        """The labels behind codes, as they stand in a row."""
        labels = self._partition.tables.labels
        used = np.zeros(len(labels), np.bool_)
        used[codes] = True
        cells = [label_cells(labels[code]) for code in np.nonzero(used)[0].tolist()]
        numbers = (np.cumsum(used) - 1)[codes]
        names = pl.Series([cell[0] for cell in cells], dtype=pl.String)
        versions = pl.Series([cell[1] for cell in cells], dtype=pl.Int32)
        return names[numbers], versions[numbers]


def strings(frame: Frame, column: Strings) -> pl.Series | None:
    """A column of strings, null where there is none; None where there is none at all."""
    there = column.lengths >= 0
    if not there.any():
        return None
    return _where(there, series(frame.data, column.starts, np.maximum(column.lengths, 0)))


def _where(there: Bools, values: pl.Series | None) -> pl.Series | None:
    if values is None or there.all():
        return values
    return values.zip_with(pl.Series(there), _NONE[values.dtype])
