from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ledger.core.events import ClassAdded, Event, Geometry
from ledger.core.position import Position
from ledger.core.validity import problem
from tests.core.history import EPOCH, History, box

NAN, INFINITY, SURROGATE = float("nan"), float("inf"), "\ud800"


def examples() -> dict[str, Event]:
    """One valid event of each type."""
    history = History()
    proposal = history.propose("r#1", "a", "b", box(1, 1), box(2, 2))
    entries = [
        history.item("r#1", "a", box(1, 1), split="test", attributes={"n": 1.0, "s": "x"}),
        proposal,
        history.vote(proposal),
        history.withdraw(proposal),
        history.schema(add=["a"], split={"a": {"b": "n > 1"}}),
        history.policy(approvals=2, roles={"admin": ("ann", "bob")}, thresholds={"k": 0.7}),
        history.tag("labels-v1.0", Position((1,), 2)),
        history.rollback(Position((0,), 1)),
    ]
    return {type(entry.event).__name__: entry.event for entry in entries}


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_honest_event_has_no_problem(name: str):
    """What an honest writer appends passes."""
    assert problem(EXAMPLES[name]) is None


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"event_id": ""}, "event_id is empty"),
        ({"actor": ""}, "actor is empty"),
        ({"actor": "a" + SURROGATE}, "actor holds a lone surrogate"),
        ({"contract_version": -1}, "contract_version -1 is negative"),
        ({"contract_version": 2**63}, "contract_version is 9223372036854775808"),
        ({"occurred_at": EPOCH.replace(tzinfo=None)}, "not in UTC"),
        ({"occurred_at": EPOCH.astimezone(timezone(timedelta(hours=2)))}, "not in UTC"),
    ],
    ids=str,
)
def test_what_every_event_must_satisfy(name: str, change: Mapping[str, Any], says: str):
    """Ids are there, time is UTC, numbers fit, text is text: whatever the event."""
    assert says in str(problem(replace(EXAMPLES[name], **change)))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("ItemRegistered", {"record_id": ""}, "record_id"),
        ("ItemRegistered", {"record_id": "r#1"}, "record_id"),
        ("ItemRegistered", {"item_id": "s"}, "item_id"),
        ("ItemRegistered", {"item_id": "r#"}, "item_id"),
        ("ItemRegistered", {"item_id": "r1"}, "item_id"),
        ("ItemRegistered", {"item_id": ""}, "item_id"),
        ("ItemRegistered", {"label": ""}, "label is empty"),
        ("ItemRegistered", {"split": ""}, "split is empty"),
        ("ItemRegistered", {"label": SURROGATE}, "label holds a lone surrogate"),
        ("ItemRegistered", {"attributes": {"n": NAN}}, "attributes['n'] is nan"),
        ("ItemRegistered", {"attributes": {"n": -INFINITY}}, "attributes['n'] is -inf"),
        ("ItemRegistered", {"attributes": {SURROGATE: 1.0}}, "a key of attributes"),
        ("ItemRegistered", {"attributes": {"": 1.0}}, "attributes holds an empty name"),
        ("ItemRegistered", {"geometry": box(1, NAN)}, "geometry.coordinates[3] is nan"),
        ("ItemRegistered", {"geometry": Geometry("bbox", (1, 2, 3))}, "takes 4 numbers, not 3"),
        ("ItemRegistered", {"geometry": Geometry("span", (1,))}, "takes 2 numbers, not 1"),
        ("ItemRegistered", {"geometry": Geometry("polygon", (1, 2, 3))}, "pairs"),
        ("CorrectionProposed", {"correction_id": ""}, "correction_id is empty"),
        ("CorrectionProposed", {"to_label": ""}, "to_label is empty"),
        ("CorrectionProposed", {"from_label": ""}, "from_label is empty"),
        ("CorrectionProposed", {"to_geometry": Geometry("bbox", ())}, "to_geometry"),
        ("CorrectionProposed", {"from_geometry": Geometry("span", ())}, "from_geometry"),
        ("CorrectionProposed", {"confidence": NAN}, "confidence is nan"),
        ("CorrectionProposed", {"based_on": Position((), 1)}, "based_on.labels is empty"),
        ("CorrectionProposed", {"based_on": Position((1,), -1)}, "based_on.governance"),
        ("ReviewDecided", {"correction_id": ""}, "correction_id is empty"),
        ("CorrectionWithdrawn", {"correction_id": ""}, "correction_id is empty"),
        ("SchemaChanged", {"version": 0}, "version 0"),
        ("SchemaChanged", {"at": ()}, "at is empty"),
        ("SchemaChanged", {"at": (-1,)}, "at holds -1"),
        ("SchemaChanged", {"add": (ClassAdded(""),)}, "add holds an empty name"),
        ("SchemaChanged", {"deprecate": ("",)}, "deprecate holds an empty name"),
        ("SchemaChanged", {"rename": {"a": ""}}, "rename holds an empty name"),
        ("SchemaChanged", {"merge": {"": "a"}}, "merge holds an empty name"),
        ("SchemaChanged", {"split": {"a": {"": "n > 1"}}}, "split holds an empty name"),
        ("SchemaChanged", {"split": {"a": {"b": "n >"}}}, "column 4"),
        ("PolicyChanged", {"version": -1}, "version -1"),
        ("PolicyChanged", {"approvals_required": 0}, "approvals_required 0"),
        ("PolicyChanged", {"roles": {"admin": ("",)}}, "roles holds an empty name"),
        ("PolicyChanged", {"roles": {"": ("a",)}}, "roles holds an empty name"),
        ("PolicyChanged", {"expert_classes": ("",)}, "expert_classes holds an empty name"),
        ("PolicyChanged", {"thresholds": {"k": INFINITY}}, "thresholds['k'] is inf"),
        ("VersionTagged", {"name": ""}, "name ''"),
        ("VersionTagged", {"name": "head"}, "name 'head'"),
        ("VersionTagged", {"name": "a b"}, "name 'a b'"),
        ("VersionTagged", {"name": "labels=1;governance=2"}, "name"),
        ("VersionTagged", {"name": "v" * 201}, "name"),
        ("VersionTagged", {"position": Position((), 0)}, "position.labels is empty"),
        ("RolledBack", {"to": Position((-1,), 0)}, "to.labels holds -1"),
        ("RolledBack", {"at": Position((1,), 2**63)}, "at.governance is 9223372036854775808"),
    ],
    ids=str,
)
def test_what_an_event_must_satisfy_by_itself(name: str, change: Mapping[str, Any], says: str):
    """The problem names the field and the value."""
    assert says in str(problem(replace(EXAMPLES[name], **change)))


@pytest.mark.parametrize("item_id", ["r", "r#1", "r#1#2", "r##"])
def test_an_item_is_its_record_or_a_region_of_it(item_id: str):
    """`record_id` or `record_id#region`; only record ids hold no '#'."""
    change: dict[str, Any] = {"item_id": item_id}
    assert problem(replace(EXAMPLES["ItemRegistered"], **change)) is None


def test_a_time_before_the_epoch_is_a_time():
    """UTC is all that is asked of `occurred_at`."""
    old = datetime(1, 1, 1, tzinfo=EPOCH.tzinfo)
    assert problem(replace(EXAMPLES["ItemRegistered"], occurred_at=old)) is None
