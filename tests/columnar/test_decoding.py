"""Both decoders agree on which bytes are undecodable, and on what the others say."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger.codec import Codec, Undecodable, plain, shipped_schemas
from ledger.columnar import attributes, shapes
from ledger.columnar.avro import layout_of
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import ODD, Reader
from ledger.columnar.state import OUTCOMES
from ledger.columnar.strings import joined, partitions_of
from ledger.core.contract import Contracts
from ledger.core.events import (
    ClassAdded,
    CorrectionProposed,
    Event,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ReviewDecided,
    SchemaChanged,
)
from ledger.core.fold import PartitionFold
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from tests.core.history import EPOCH
from tests.core.strategies import any_events
from tests.registries import MemoryRegistry

REGISTRY = MemoryRegistry()
CODEC = Codec(REGISTRY)
CODEC.register_all()
FOREIGN = REGISTRY.id_of("", '{"type": "record", "name": "Other", "fields": []}')
COMMON: dict[str, Any] = {"actor": "ann", "occurred_at": EPOCH, "contract_version": 1}
IDS: dict[str, Any] = {**COMMON, "item_id": "r0", "record_id": "r0"}


def region(number: int) -> dict[str, Any]:
    return {**IDS, "item_id": f"r0#{number}"}


BOB: dict[str, Any] = {**IDS, "actor": "bob"}
PLAIN: Sequence[LabelEvent] = (
    ItemRegistered(event_id="e1", **IDS, label="a", split="train", content="süß"),
    CorrectionProposed(
        event_id="e2",
        **IDS,
        correction_id="c0",
        from_label="a",
        to_label="b",
        source="audit",
        confidence=0.5,
        based_on=Position((1, 200, 70_000), 4, (1,), None, (2,)),
    ),
    ReviewDecided(event_id="e3", **BOB, correction_id="c0", decision="accept"),
    ItemRegistered(event_id="e4", **region(1), label="b"),
    ItemRegistered(
        event_id="e5",
        **region(2),
        label="b",
        geometry=Geometry("bbox", (0.1, -0.0, 2.5, 1e16)),
        attributes={"höhe": -0.0, "kind": "größer", "n": 1e300},
    ),
    ItemRegistered(event_id="e6", **region(3), geometry=Geometry("polygon", ())),
    ItemRegistered(
        event_id="e7",
        **region(4),
        geometry=Geometry("polygon", (1 / 3,) * 66),
        source="a file",
    ),
    ItemRegistered(event_id="e8", **region(5), geometry=Geometry("span", (0, 9))),
)
CONTRACTS = Contracts(
    [
        SchemaChanged(
            event_id="s",
            actor="max",
            occurred_at=EPOCH,
            contract_version=0,
            version=1,
            at=(0,),
            add=tuple(map(ClassAdded, ("a", "b", "c"))),
        )
    ]
)
patient = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


def written(event: Event) -> bytes:
    """The event's bytes, whatever rule it breaks."""
    schema = shipped_schemas().latest[type(event).__name__]
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, plain(event))
    schema_id = REGISTRY.id_of(schema.subject, schema.text)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


Message = tuple[bytes | None, bytes | None]


def agree(messages: Sequence[Message], size: int) -> ColumnarPartition:
    """Fold the same messages in both ways."""
    ours = ColumnarPartition(CONTRACTS, 0, 1, CODEC)
    theirs = PartitionFold(CONTRACTS, 0, 1)
    reader = Reader(CODEC)
    expected: list[Outcome] = []
    for offset, (key, value) in enumerate(messages):
        event = CODEC.decode(value)
        known = isinstance(event, LabelEvent)
        expected.append(theirs.apply(offset, key, event) if known else Outcome.UNDECODABLE)
    found: list[Outcome] = []
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        offsets = range(start, start + len(part))
        frame = reader.frame(offsets, [key for key, _ in part], [value for _, value in part])
        found += [OUTCOMES[code] for code in ours.apply(frame).tolist()]
    assert found == expected

    def fetch(offsets: Sequence[int]) -> list[tuple[int, Event]]:
        events = [(offset, CODEC.decode(messages[offset][1])) for offset in offsets]
        return [(offset, event) for offset, event in events if not isinstance(event, Undecodable)]

    assert ours.records(fetch) == theirs.records
    return ours


def keyed(event: Event, value: bytes) -> Message:
    return (event.record_id.encode() if isinstance(event, LabelEvent) else b"r0", value)


@st.composite
def damaged(draw: st.DrawFn) -> Message:
    """A plain event's bytes, cut, prolonged, flipped, or under another schema's id."""
    event = draw(st.sampled_from(PLAIN))
    value = bytearray(written(event))
    at = draw(st.integers(0, len(value) - 1))
    match draw(st.sampled_from(["cut", "more", "flip", "set", "id", "insert", "none", "key"])):
        case "cut":
            del value[at:]
        case "more":
            value += draw(st.binary(min_size=1, max_size=3))
        case "flip":
            value[at] ^= 1 << draw(st.integers(0, 7))
        case "set":
            value[at] = draw(st.sampled_from([0, 1, 2, 127, 128, 255, 35]))
        case "insert":
            value[at:at] = draw(st.binary(min_size=1, max_size=9))
        case "id":
            value[1:5] = draw(st.sampled_from([FOREIGN, 1, 2, 3, 999])).to_bytes(4, "big")
        case "key":
            return draw(st.sampled_from([None, b"", b"r", b"\xff", b"r0 "])), bytes(value)
        case _:
            return b"r0", draw(st.sampled_from([None, b"", b"\0", b"\0\0\0\0\3"]))
    return keyed(event, bytes(value))


whole = st.sampled_from([keyed(event, written(event)) for event in PLAIN])
lawless = any_events.map(lambda event: keyed(event, written(event)))


@patient
@given(st.lists(st.one_of(damaged(), whole), min_size=1, max_size=8), st.integers(1, 8))
def test_damaged_bytes(messages: list[Message], size: int):
    agree([*map(keyed, PLAIN[:1], map(written, PLAIN[:1])), *messages], size)


@pytest.mark.parametrize("event", PLAIN, ids=lambda event: event.event_id)
def test_a_row_that_is_cut_off_hides_nothing_of_the_next_one(event: LabelEvent):
    """Bytes that would be read beyond its end are the next one's, which is no UTF-8."""
    schema = shipped_schemas().latest["ItemRegistered"]
    others = [f"other {number}" for number in range(0x80)]
    high_id = [REGISTRY.id_of("", text) for text in (*others, schema.text + " ")][-1]
    bad = written(ItemRegistered(event_id="e9", **IDS, label="a", content="b?d"))
    bad = b"\0" + high_id.to_bytes(4, "big") + bad[5:].replace(b"?", b"\xff")
    for cut in range(5, len(value := written(event))):
        agree([keyed(event, value[:cut]), (b"r0", bad)], 2)


@patient
@given(st.lists(st.one_of(lawless, whole), min_size=1, max_size=6), st.integers(1, 6))
def test_events_that_break_rules(messages: list[Message], size: int):
    agree(messages, size)


OWN = {"attributes": attributes.reader, "geometry": shapes.reader}
NOT_PLAIN: Sequence[tuple[int, dict[str, Any]]] = [
    (0, {"event_id": ""}),
    (0, {"actor": ""}),
    (0, {"contract_version": -1}),
    (0, {"record_id": "r#0", "item_id": "r#0"}),
    (0, {"item_id": "r0#"}),
    (0, {"item_id": "x0"}),
    (0, {"item_id": "r1#1"}),
    (0, {"label": ""}),
    (0, {"split": ""}),
    (0, {"attributes": {"kind": "x"}}),
    (0, {"attributes": {"n": float("nan")}}),
    (0, {"geometry": Geometry("span", (1.0, float("inf")))}),
    (0, {"geometry": Geometry("span", (1.0,))}),
    (0, {"geometry": Geometry("bbox", (1.0, 2.0, float("nan"), 4.0))}),
    (0, {"geometry": Geometry("bbox", (1.0, 2.0, 1e200, 1e200))}),
    (0, {"geometry": Geometry("bbox", (1.0, 2.0, 3.0))}),
    (0, {"geometry": Geometry("polygon", (1.0, 2.0, 3.0))}),
    (0, {"attributes": {"": 1.0}}),
    (0, {"attributes": {str(i): "x" for i in range(65)}}),
    (1, {"confidence": float("nan")}),
    (1, {"confidence": float("-inf")}),
    (1, {"correction_id": ""}),
    (1, {"source": "udit?"}),
    (1, {"source": ""}),
    (1, {"from_label": ""}),
    (1, {"based_on": Position((), 0)}),
    (1, {"based_on": Position((1,), -1)}),
    (1, {"based_on": Position((-1,), 1)}),
    (0, {"occurred_at": datetime(1, 1, 1, tzinfo=UTC)}),
    (0, {"occurred_at": datetime(9999, 12, 31, tzinfo=UTC)}),
]


@pytest.mark.parametrize(("which", "fields"), NOT_PLAIN, ids=str)
def test_one_rule_at_a_time(which: int, fields: dict[str, Any]):
    """What columns do not plainly read is left to the codec."""
    schema = shipped_schemas().latest[type(PLAIN[which]).__name__]
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, plain(PLAIN[which]) | plain(fields))
    value = written(PLAIN[which])[:5] + body.getvalue()
    key = str(fields.get("record_id", "r0")).encode()
    agree([keyed(PLAIN[0], written(PLAIN[0]))] * which + [(key, value)], 1)


def test_plain_events_are_read_as_columns():
    """Non-ASCII text and the position that a correction is based on included."""
    count = len(PLAIN)
    frame = Reader(CODEC).frame(range(count), [b"r0"] * count, [written(e) for e in PLAIN])
    assert ODD not in frame.kind.tolist()
    assert agree([keyed(event, written(event)) for event in PLAIN], 8).fast_rows == count


MAP, POINTS = {"type": "map", "values": "string"}, {"type": "array", "items": "double"}
OTHER_TYPES: Sequence[tuple[str, Any]] = [
    *(("attributes", each) for each in ("string", MAP, ["null", MAP])),
    *(("geometry", each) for each in ("string", POINTS, ["null", "string"], ["null", POINTS])),
    ("geometry", ["null", {"type": "record", "name": "Point", "fields": []}]),
]


@pytest.mark.parametrize(("name", "kind"), OTHER_TYPES, ids=str)
def test_a_field_of_another_type_is_left_to_the_codec(name: str, kind: Any):
    """As it may be in a schema of a later version."""
    schema: Any = shipped_schemas().latest["ItemRegistered"].parsed
    assert layout_of(schema, OWN) is not None
    fields = [each | {"type": kind} if each["name"] == name else each for each in schema["fields"]]
    assert layout_of(schema | {"fields": fields}, OWN) is None


def test_any_field_can_be_asked_for():
    """In rows of whatever type, also one that lacks it."""
    frame = Reader(CODEC).frame(range(4), [b"r0"] * 4, [written(event) for event in PLAIN[:4]])
    rows = np.array([3, 1, 0])

    def told(name: str) -> list[str | None]:
        return [
            frame.data[start : start + length].tobytes().decode() if length >= 0 else None
            for start, length in zip(*frame.field(name, rows), strict=True)
        ]

    assert told("content") == [None, None, "süß"]
    assert told("source") == [None, "audit", None]
    assert told("event_id") == ["e4", "e2", "e1"]
    assert told("nothing") == [None] * 3
    found = frame.double("confidence", rows)
    assert np.array_equal(found, [np.nan, 0.5, np.nan], equal_nan=True)


@given(st.lists(st.binary(max_size=40), min_size=1), st.integers(1, 9))
@example([b"", b"a", b"ab", b"abc", b"abcd", b"abcdefgh", b"abcdefghi"], 7)
def test_partitions(keys: list[bytes], partitions: int):
    data, starts, lengths = joined(keys)
    found = partitions_of(data, starts, lengths, partitions)
    assert found.tolist() == [partition_of(key, partitions) for key in keys]
