"""What a history's events changed, as rows: the reference fold of each native epoch, row by row."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from ledger.codec import plain
from ledger.columnar.delta import CHANGES, CORRECTIONS, REFUSALS, REVIEWS, Delta
from ledger.core.contract import Unresolved
from ledger.core.epochs import Epochs
from ledger.core.events import (
    CorrectionProposed,
    CorrectionWithdrawn,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ReviewDecided,
)
from ledger.core.fold import PartitionFold, Record
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from tests.core.history import EPOCH, Entry, History

_SET = (Outcome.REGISTERED, Outcome.FILLED, Outcome.APPLIED)
_CLOCK = int(EPOCH.timestamp() * 1000)
_UNCOUNTED = (Outcome.MISPLACED, Outcome.UNKNOWN_CONTRACT)


def delta_of(history: History, governance: Governance, partition: int, stop: int) -> Delta:
    """The rows of every offset of `[0, stop)`, each folded in its native epoch."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("changes", "corrections", "reviews", "refusals")
    }
    epochs = Epochs(governance)
    for epoch, start, end in epochs.ranges(partition, stop):
        _Fold(history, epochs.governances[epoch], partition, epoch).play(start, end, rows)
    frames = [
        pl.DataFrame(rows[name], schema=schema).select(list(schema))
        for name, schema in zip(rows, (CHANGES, CORRECTIONS, REVIEWS, REFUSALS), strict=True)
    ]
    return Delta(*frames)


def met(history: History, partition: int, stop: int) -> set[int]:
    """The contract versions that the events of a partition name."""
    return {entry.event.contract_version for entry in history.label_logs[partition][:stop]}


class _Fold:
    """The reference fold, which notes what each event did."""

    def __init__(
        self, history: History, governance: Governance, partition: int, epoch: int
    ) -> None:
        self.history, self.governance, self.epoch = history, governance, epoch
        self.fold = PartitionFold(governance.contracts, partition, history.partitions)
        self.made: dict[tuple[str, str], int] = {}
        self.proposed: dict[tuple[str, str], int] = {}

    def play(self, start: int, stop: int, rows: dict[str, list[dict[str, Any]]]) -> None:
        for entry, live in self.history.spans(self.governance, self.fold.partition, stop):
            event = entry.event
            if not isinstance(event, LabelEvent):
                outcome: Outcome | None = Outcome.UNDECODABLE
            elif live:
                outcome = None
            else:
                self.fold.void(entry.key, event)
                continue
            before = self._split(event)
            if outcome is None:
                assert isinstance(event, LabelEvent)
                outcome = self.fold.apply(entry.offset, entry.key, event)
            for table, row in self._rows(entry, outcome, before):
                if entry.offset >= start:
                    rows[table].append(row)

    def _split(self, event: Any) -> str | None:
        record = self.fold.records.get(getattr(event, "record_id", ""))
        return record.split if record else None

    def _rows(self, entry: Entry, outcome: Outcome, split: str | None) -> Any:
        event: Any = entry.event
        place = {
            "partition": entry.partition,
            "offset": entry.offset,
            "epoch": self.epoch,
            "timestamp_ms": _CLOCK + entry.offset,
        }
        if outcome.refused:
            known = isinstance(event, LabelEvent)
            yield "refusals", self._refusal(place, event if known else None, outcome)
            return
        about = {"item_id": event.item_id, "record_id": event.record_id}
        common = {**place, "actor": event.actor, "said_under": event.contract_version, **about}
        record = self.fold.records[event.record_id]
        if isinstance(event, CorrectionProposed):
            self.proposed[event.record_id, event.correction_id] = entry.offset
            yield "corrections", common | _proposal(event)
        if isinstance(event, ReviewDecided | CorrectionWithdrawn):
            withdrawn = isinstance(event, CorrectionWithdrawn)
            yield (
                "reviews",
                common
                | {
                    "correction_offset": self.proposed[event.record_id, event.correction_id],
                    "correction_id": event.correction_id,
                    "decision": "withdraw" if withdrawn else event.decision,
                    "outcome": outcome.value,
                    "rationale": event.reason if withdrawn else event.rationale,
                },
            )
        if outcome in _SET:
            yield "changes", common | self._change(event, outcome, record, split, entry.offset)

    def _refusal(self, place: dict[str, Any], event: Any, outcome: Outcome) -> dict[str, Any]:
        row = {**place, "outcome": outcome.value, "event": None, "record_id": None}
        row |= {"item_id": None, "actor": None, "said_under": None}
        if event is not None:
            record = self.fold.records.get(event.record_id)
            late = record is not None and event.event_id in record.void_event_ids
            row |= {
                "event": type(event).__name__,
                "record_id": event.record_id,
                "item_id": event.item_id,
                "actor": event.actor,
            }
            if outcome not in _UNCOUNTED and not late:
                row["said_under"] = event.contract_version
        return row

    def _change(
        self, event: Any, outcome: Outcome, record: Record, split: str | None, offset: int
    ) -> dict[str, Any]:
        item = record.items[event.item_id]
        key = event.record_id, event.item_id
        self.made.setdefault(key, offset)
        label, unresolved = item.label, None
        if isinstance(label, Unresolved):
            label, unresolved = label
        registered = isinstance(event, ItemRegistered)
        return {
            "outcome": outcome.value,
            "item_offset": self.made[key],
            "label": label,
            "unresolved": unresolved,
            "contract": item.contract_version,
            "geometry_type": item.geometry.type if item.geometry else None,
            "coordinates": list(item.geometry.coordinates) if item.geometry else None,
            "split": record.split if split is None else None,
            "attributes": json.dumps(event.attributes, sort_keys=True)
            if registered and event.attributes
            else None,
            "content": event.content if registered else None,
            "source": event.source if registered else None,
            "correction_offset": None
            if registered
            else self.proposed[event.record_id, event.correction_id],
        }


def _proposal(event: CorrectionProposed) -> dict[str, Any]:
    names = ("reason", "source", "confidence", "model_version", "audit_run_id", "patch_id")
    return {
        "correction_id": event.correction_id,
        "from_label": event.from_label,
        "to_label": event.to_label,
        "from_geometry": _json(event.from_geometry),
        "to_geometry": _json(event.to_geometry),
        "segment": event.segment,
        **{name: getattr(event, name) for name in names},
    }


def _json(geometry: Geometry | None) -> str | None:
    return None if geometry is None else json.dumps(plain(geometry))
