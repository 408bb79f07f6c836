"""`errata show` and `blame`: one item, as it is and how it came to be so."""

from __future__ import annotations

import json
from typing import Any

import click

from ledger.cli import (
    as_json,
    at_position,
    open_ledger,
    position_fields,
    print_fields,
    print_json,
    print_line,
    print_table,
    shared,
)
from ledger.codec import plain
from ledger.core.events import CorrectionProposed, ItemRegistered, ReviewDecided, record_of
from ledger.errors import InvalidRequest
from ledger.history import History, Step, label_text
from ledger.record import state_of
from ledger.replay import State


@click.command()
@shared
@click.argument("item")
@at_position
@as_json
def show(*, item: str, at: str, as_json: bool) -> None:
    """Show one item: label, geometry, split, text, corrections."""
    ledger = open_ledger()
    state = state_of(ledger.dataset, [record_of(item)], ledger.resolve(at))
    fields = _item_fields(state, item)
    if as_json:
        print_json(fields)
        return
    shown = {**fields, "position": fields["position_text"]}
    del shown["position_text"], shown["corrections"]
    shown |= {f"correction {i}": each for i, each in enumerate(fields["corrections"], 1)}
    print_fields(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in shown.items()
        if value not in (None, [], {})
    )


def _item_fields(state: State, item_id: str) -> dict[str, Any]:
    record_id = record_of(item_id)
    record = state.record(record_id)
    item = record.items.get(item_id) if record else None
    if record is None or item is None:
        raise InvalidRequest(f"item {item_id!r} does not exist at position {state.position}")
    label = state.label(item)
    return {
        "id": item_id,
        "record": record_id,
        "label": label if isinstance(label, str) else None,
        "unresolved": None if label is None or isinstance(label, str) else label_text(label),
        "geometry": plain(item.geometry),
        "split": record.split,
        "attributes": dict(sorted(item.attributes.items())),
        "content": item.content,
        "source": item.source,
        "contract_version": state.governance.contract.version,
        **position_fields(state.position),
        "corrections": [
            {
                "correction_id": each.proposal.correction_id,
                "from": each.proposal.from_label,
                "to": each.proposal.to_label,
                "by": each.proposal.actor,
                "status": each.status.value,
                "votes": each.votes,
                "conflict": state.conflict(each),
            }
            for each in record.corrections.values()
            if each.proposal.item_id == item_id
        ],
    }


@click.command()
@shared
@click.argument("item")
@at_position
@as_json
def blame(*, item: str, at: str, as_json: bool) -> None:
    """Tell how an item came to have its label.

    Lists every event about it and what became of each. The event that the label stands by is
    marked with a star; what a rollback took back is void.
    """
    found = open_ledger().history(item, at)
    if not found.steps:
        raise InvalidRequest(f"item {item!r} has no history at position {found.position}")
    if as_json:
        print_json(_blame_fields(found))
        return
    rows = [
        (
            "*" if step.stands else "",
            f"labels/{step.entry.partition}@{step.entry.offset}",
            f"{step.event.occurred_at:%Y-%m-%d %H:%M:%S}",
            step.event.actor,
            _said(step),
            step.outcome.value,
        )
        for step in found.steps
    ]
    print_table(rows, ["", "place", "when", "who", "said", "outcome"])
    for version, label in found.mapped:
        print_line(f"contract {version} made it {label_text(label)}")
    print_line(f"{item} is {label_text(found.label)}")


def _blame_fields(found: History) -> dict[str, Any]:
    return {
        "id": found.item_id,
        **position_fields(found.position),
        "label": found.label if isinstance(found.label, str) else None,
        "exists": found.item is not None,
        "mapped": [
            {"contract_version": version, "label": label_text(label)}
            for version, label in found.mapped
        ],
        "history": [step.as_dict() for step in found.steps],
    }


def _said(step: Step) -> str:
    match step.event:
        case ItemRegistered(label=label):
            return f"is {label_text(label)}"
        case CorrectionProposed(from_label=before, to_label=after, correction_id=name, reason=why):
            because = f": {why}" if why else ""
            return f"{label_text(before)} -> {label_text(after)} ({name}){because}"
        case ReviewDecided(decision=decision, correction_id=name, rationale=why):
            because = f": {why}" if why else ""
            return f"{decision} ({name}){because}"
        case _:
            return "withdraws"
