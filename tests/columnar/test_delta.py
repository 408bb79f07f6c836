"""The rows of a batch say what the reference fold says of each of its events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")


from ledger.columnar import delta as rows
from ledger.columnar.delta import SCHEMAS, Delta, delta
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Reader
from ledger.core.contract import Unresolved
from ledger.core.events import CorrectionProposed, CorrectionWithdrawn, ItemRegistered, LabelEvent
from ledger.core.fold import PartitionFold
from ledger.core.outcome import Outcome
from tests.columnar.batches import CODEC, batch_of
from tests.columnar.test_equality import PATIENT, SIZES, SPECIAL, pieces
from tests.core.history import Entry, History
from tests.core.strategies import Plan, anything, play, wild_plans

few = settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=PATIENT)
many = settings(few, max_examples=150)
FRAMES = Delta._fields
Row = dict[str, Any]


def expected_of(fold: PartitionFold, entry: Entry, epoch: int) -> dict[str, Row]:
    """Fold one entry, and say what it changed: the rows by frame."""
    event = entry.event
    assert isinstance(event, LabelEvent)
    record = fold.records.get(event.record_id)
    split = record.split if record else None
    late = record is not None and event.event_id in record.void_event_ids
    outcome = fold.apply(entry.offset, entry.key, event)
    place: Row = {
        "partition": fold.partition,
        "offset": entry.offset,
        "epoch": epoch,
        "timestamp_ms": 1000 * (entry.offset + 1),
        "actor": event.actor,
        "said_under": event.contract_version,
        "item_id": event.item_id,
        "record_id": event.record_id,
    }
    if outcome.refused:
        lost = late or outcome in (Outcome.MISPLACED, Outcome.UNKNOWN_CONTRACT)
        row = {**place, "outcome": outcome, "event": type(event).__name__}
        return {"refusals": {**row, "said_under": None if lost else event.contract_version}}
    record = fold.records[event.record_id]
    found: dict[str, Row] = {}
    at = None
    if isinstance(event, CorrectionProposed):
        names = [name for name in rows.CORRECTIONS if name not in place]
        own: Row = {name: getattr(event, name) for name in names}
        for name in ("from_geometry", "to_geometry"):
            own[name] = own[name] and json.dumps(
                {"type": own[name].type, "coordinates": [float(x) for x in own[name].coordinates]}
            )
        found["corrections"] = {**place, **own}
    elif not isinstance(event, ItemRegistered):
        vote: Any = event
        withdrawn = isinstance(event, CorrectionWithdrawn)
        at = record.corrections[vote.correction_id].offset
        found["reviews"] = {
            **place,
            "correction_offset": at,
            "correction_id": vote.correction_id,
            "decision": "withdraw" if withdrawn else vote.decision,
            "outcome": outcome,
            "rationale": vote.reason if withdrawn else vote.rationale,
        }
    if outcome in (Outcome.REGISTERED, Outcome.FILLED, Outcome.APPLIED):
        item = record.items[event.item_id]
        geometry, label = item.geometry, item.label
        registration = event if isinstance(event, ItemRegistered) else None
        attributes = registration and dict(registration.attributes)
        found["changes"] = {
            **place,
            "outcome": outcome,
            "item_offset": item.offset,
            "label": label.label_class if isinstance(label, Unresolved) else label,
            "unresolved": label.version if isinstance(label, Unresolved) else None,
            "contract": item.contract_version,
            "geometry_type": geometry and geometry.type,
            "coordinates": geometry and list(geometry.coordinates),
            "split": record.split if split is None else None,
            "attributes": json.dumps(attributes, sort_keys=True, ensure_ascii=False)
            if attributes
            else None,
            "content": registration and registration.content,
            "source": registration and registration.source,
            "correction_offset": at,
        }
    return found


def check(history: History, sizes: Sequence[int]) -> None:
    """Every live event of the history, in batches of these sizes."""
    governance = history.governed()
    reader = Reader(CODEC)
    for partition, log in enumerate(history.label_logs):
        fold = ColumnarPartition(governance.contracts, partition, history.partitions, CODEC)
        reference = PartitionFold(governance.contracts, partition, history.partitions)
        for span in governance.spans(partition, len(log)):
            for entries in pieces(log[span.start : span.stop], sizes):
                batch = batch_of(entries, partition)
                frame = reader.frame(batch.offsets, batch.keys, batch.values)
                if not span.live:
                    fold.void(frame)
                    for entry in entries:
                        assert isinstance(entry.event, LabelEvent)
                        reference.void(entry.key, entry.event)
                    continue
                found = delta(batch, frame, fold.judge(frame), fold, 3)
                expected: dict[str, list[Row]] = {name: [] for name in FRAMES}
                for entry in entries:
                    for name, row in expected_of(reference, entry, 3).items():
                        expected[name].append(row)
                for name, frame_, schema in zip(FRAMES, found, SCHEMAS, strict=True):
                    assert frame_.schema == schema
                    assert frame_.to_dicts() == expected[name], name


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("sizes", [[1], [7], [1000]])
def test_special_histories(name: str, sizes: list[int]):
    check(SPECIAL[name](), sizes)


@many
@given(wild_plans(), SIZES, st.integers(1, 3))
def test_every_history(plan: Plan, sizes: list[int], partitions: int):
    check(play(plan, partitions), sizes)


@few
@given(st.lists(anything, max_size=12), SIZES)
def test_any_events(plan: Plan, sizes: list[int]):
    check(play(plan, 2), sizes)
