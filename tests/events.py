"""Events as the JSON fields that an author gives, for tests that go through the door."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]


def schema(version: int, *classes: str, actor: str = "ann", **more: Any) -> Fields:
    """A schema change that adds classes."""
    add = [{"name": name} for name in classes]
    return {"type": "SchemaChanged", "version": version, "add": add, "actor": actor, **more}


def item(item_id: str, label: str | None = None, *, actor: str = "ann", **more: Any) -> Fields:
    """A registration."""
    record_id = item_id.partition("#")[0]
    ids = {"item_id": item_id, "record_id": record_id}
    return {"type": "ItemRegistered", **ids, "label": label, "actor": actor, **more}


def proposal(
    name: str, item_id: str, before: str | None, after: str | None, actor: str = "bob", **more: Any
) -> Fields:
    """A correction."""
    ids = {"correction_id": name, "item_id": item_id, "record_id": item_id.partition("#")[0]}
    labels = {"from_label": before, "to_label": after}
    return {"type": "CorrectionProposed", **ids, **labels, "actor": actor, **more}


def vote(
    name: str, item_id: str, decision: str = "accept", actor: str = "ann", **more: Any
) -> Fields:
    """A reviewer's vote."""
    ids = {"correction_id": name, "item_id": item_id, "record_id": item_id.partition("#")[0]}
    return {"type": "ReviewDecided", **ids, "decision": decision, "actor": actor, **more}
