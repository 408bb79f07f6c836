"""Events to bytes and back, and bytes that are no event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import Codec, Undecodable
from ledger.door import admit, as_fields, read_line
from ledger.errors import InvalidRequest
from tests.events import item, proposal, schema, vote
from tests.registries import MemoryRegistry, stamps

ZERO = {"labels": [0, 0], "governance": 0}
EXAMPLES: list[dict[str, Any]] = [
    item(
        "a", "cat", geometry={"type": "span", "coordinates": [0, 3]}, attributes={"n": 1, "s": "x"}
    ),
    proposal("c", "a#1", None, "cat", based_on={**ZERO, "feedback": [1, 2]}, confidence=0.5),
    vote("c", "a", "escalate", rationale="hm"),
    {**vote("c", "a"), "type": "CorrectionWithdrawn", "reason": "oh"},
    schema(1, "cat", rename={"a": "b"}, split={"dog": {"s": "area < 8000", "l": "area >= 8000"}}),
    {
        "type": "PolicyChanged",
        "actor": "ann",
        "version": 2,
        "approvals_required": 2,
        "roles": {"admin": ["ann", "bob"], "reviewer": ["*"]},
        "expert_classes": ["cat"],
        "thresholds": {"kappa": 0.7},
        "service_levels": {"escalated": 3600},
        "approved_by": "bob",
    },
    {"type": "VersionTagged", "actor": "ann", "name": "v1", "position": ZERO, "content_hash": "ab"},
    {"type": "RolledBack", "actor": "ann", "to": ZERO, "at": ZERO, "reason": "r"},
    {"type": "PatchProposed", "actor": "ann", "patch_id": "p", "sha256": "ab" * 32, "count": 2},
    {"type": "PatchDecided", "actor": "bob", "patch_id": "p", "decision": "keep", "start": [0]},
    {
        "type": "ModelRegistered",
        "actor": "ann",
        "name": "m1",
        "label_version": "v1",
        "split_version": "test-v1",
        "metrics": {"f1": 0.92},
    },
    {
        "type": "WaiverGranted",
        "actor": "ann",
        "version": "v2",
        "check": "orphan_classes",
        "reason": "known",
        "approved_by": "bob",
    },
]
for _example in EXAMPLES:
    for _extra in ("decision", "rationale"):
        if _example["type"] == "CorrectionWithdrawn":
            _example.pop(_extra, None)
ids = [str(example["type"]) for example in EXAMPLES]


@pytest.mark.parametrize("fields", EXAMPLES, ids=ids)
def test_round_trip(fields: dict[str, Any]) -> None:
    """JSON to event to bytes to event to JSON loses and adds nothing."""
    event = admit(fields, stamps(1))
    codec = Codec(MemoryRegistry())
    decoded = codec.decode(codec.encode(event))
    assert decoded == event
    assert not isinstance(decoded, Undecodable)
    assert admit(as_fields(decoded), stamps(99)) == event


@pytest.mark.parametrize("fields", EXAMPLES, ids=ids)
def test_truncated_and_trailing_bytes_are_undecodable(fields: dict[str, Any]) -> None:
    """Every proper prefix of an event's bytes, and the bytes with one more, are no event."""
    codec = Codec(MemoryRegistry())
    value = codec.encode(admit(fields, stamps()))
    for length in range(len(value)):
        assert isinstance(codec.decode(value[:length]), Undecodable), length
    trailing = codec.decode(value + b"\0")
    assert isinstance(trailing, Undecodable)
    assert "1 bytes trail" in trailing.reason


@given(st.binary(max_size=80), st.integers(0, 12))
def test_random_bytes_never_raise(body: bytes, schema_id: int) -> None:
    """Whatever stands on a topic is decoded or undecodable with a reason, never an exception."""
    codec = Codec(MemoryRegistry())
    codec.register_all()
    for value in (body, b"\0" + schema_id.to_bytes(4, "big") + body):
        decoded = codec.decode(value)
        assert not isinstance(decoded, Undecodable) or decoded.reason


def test_tombstones_unknown_ids_and_foreign_schemas_are_undecodable() -> None:
    """No value, an id that the registry lacks, and somebody else's schema each give a reason."""
    registry = MemoryRegistry()
    foreign = registry.id_of("x", '{"type": "record", "name": "org.Other", "fields": []}')
    text = registry.id_of("y", '"string"')
    protobuf = registry.id_of("z", 'syntax = "proto3";')
    reasons = [
        Codec(registry).decode(value)
        for value in (
            None,
            b"{}",
            b"\0" + (99).to_bytes(4, "big"),
            b"\0" + foreign.to_bytes(4, "big"),
            b"\0" + text.to_bytes(4, "big"),
            b"\0" + protobuf.to_bytes(4, "big"),
        )
    ]
    words = ("tombstone", "frame", "unknown", "org.Other", "not ours", "no Avro schema")
    for reason, word in zip(reasons, words, strict=True):
        assert isinstance(reason, Undecodable)
        assert word in reason.reason


def test_an_event_that_breaks_a_rule_is_undecodable() -> None:
    """A foreign writer's NaN, or an item of another record, is decoded and refused for good."""
    codec = Codec(MemoryRegistry())
    good = codec.encode(admit(proposal("c", "rec", None, "cat", confidence=0.5), stamps()))
    import struct

    nan = good.replace(struct.pack("<d", 0.5), struct.pack("<d", float("nan")))
    other = good.replace(b"\x06rec\x06rec", b"\x06rec\x06abc")
    for value, word in ((nan, "confidence"), (other, "record id 'abc'")):
        decoded = codec.decode(value)
        assert isinstance(decoded, Undecodable)
        assert word in decoded.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labl": "cat"}, "labl is no field of it"),
        ({"label": 3}, "label is 3: Input should be a valid string"),
        ({"label": ""}, "label is empty"),
        ({"actor": ""}, "actor is empty"),
        ({"record_id": "b"}, "must be the record id 'b' or 'b#REGION'"),
        ({"record_id": "a#", "item_id": "a#"}, "hold no '#'"),
        ({"attributes": {"n": float("inf")}}, "Infinity|inf"),
        ({"attributes": {"n": True}}, "attributes.n"),
        ({"geometry": {"type": "bbox", "coordinates": [1, 2]}}, "takes 4 numbers, not 2"),
        ({"geometry": {"type": "polygon", "coordinates": [1, 2, 3]}}, "pairs"),
        ({"geometry": {"type": "circle", "coordinates": []}}, "'bbox', 'polygon' or 'span'"),
        ({"attributes": {"n": 2**60 + 1}}, "cannot hold exactly"),
        ({"geometry": {"type": "bbox", "coordinates": [0, 0, 1e200, 1e200]}}, "no number holds"),
        ({"content": "\ud800"}, "surrogate|hex escape"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "not in UTC"),
        ({"occurred_at": "yesterday"}, "occurred_at is 'yesterday'"),
        ({"contract_version": -1}, "negative"),
        ({"contract_version": 1 << 70}, "64 bits"),
        ({"contract_version": 1.5}, "contract_version is 1.5"),
        ({"actor": "ann "}, "actor is 'ann ', which begins or ends"),
        ({"actor": "ann\u200b"}, "which begins or ends with what can't be seen"),
        ({"actor": "e\u0301ve"}, "whose letters are put together of parts"),
        ({"type": "Nonsense"}, "unknown type 'Nonsense'"),
        ({"type": None}, "has no type"),
    ],
)
def test_the_door_names_field_rule_and_value(change: dict[str, Any], words: str) -> None:
    """Nothing is coerced, dropped or filled in; the refusal says what is wrong with which field."""
    fields = {**item("a", "cat"), **change}
    with pytest.raises(InvalidRequest, match=words):
        admit(fields, stamps())


def test_an_unknown_role_is_refused() -> None:
    """A mistyped role would take its holders' rights away, for ever if it is the admins'."""
    policy = {"type": "PolicyChanged", "actor": "ann", "version": 1, "roles": {"reviwer": ["bob"]}}
    with pytest.raises(InvalidRequest, match="'reviwer'; the roles are proposer, annotator"):
        admit(policy, stamps())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7"),
        (b"[" * 100_000, "recursion|nested|depth"),
    ],
)
def test_a_bad_line_is_refused_in_words(line: bytes, words: str) -> None:
    """Bad JSON, a key twice, NaN and bytes that are no UTF-8 are each named."""
    with pytest.raises(InvalidRequest, match=words):
        read_line(line)


def test_other_time_zones_are_turned_into_utc() -> None:
    """The same moment, given with another offset, is the same event."""
    there = admit({**item("a"), "occurred_at": "2026-01-02T04:04:05.000006+01:00"}, stamps())
    assert there == admit(item("a"), stamps())


def test_an_event_too_large_for_a_broker_is_refused() -> None:
    """An event that no broker would take is refused before it is appended anywhere."""
    event = admit(item("a", content="x" * 1_000_000), stamps())
    with pytest.raises(InvalidRequest, match="at most 950,000"):
        Codec(MemoryRegistry()).encode(event)
