"""`errata receipt`: what became of a correction that somebody sent."""

from __future__ import annotations

import click

from ledger.cli import as_json, open_ledger, print_fields, print_json, shared
from ledger.history import label_text
from ledger.receipts import Receipt
from ledger.receipts import receipt as receipt_of

_WORDS = {
    "in_review": "in review",
    "escalated": "an expert decides",
    "applied": "applied",
    "stale": "stale",
    "kept": "the label was kept",
    "withdrawn": "withdrawn",
    "rolled_back": "rolled back",
    "refused": "refused",
}


@click.command()
@shared
@click.argument("correction")
@click.option("--record", help="The record, where several have a correction of this id.")
@as_json
def receipt(*, correction: str, record: str | None, as_json: bool) -> None:
    """Tell what became of CORRECTION since it was sent.

    Where the log holds it, whether it is in review, applied (and in which version first), kept,
    stale, withdrawn, rolled back or refused, and why.
    """
    found = receipt_of(open_ledger(), correction, record)
    if as_json:
        print_json(found.as_dict())
    else:
        print_fields((name, value) for name, value in _fields(found).items() if value)


def _fields(found: Receipt) -> dict[str, str]:
    sent = found.proposal
    partition, offset = found.place
    votes = ", ".join(f"{who} {decision}" for who, decision in sorted(found.votes.items()))
    asked = f" ({found.approvals_required} asked for)" if found.approvals_required else ""
    return {
        "correction": sent.correction_id,
        "item": sent.item_id,
        "says": f"{label_text(sent.from_label)} -> {label_text(sent.to_label)}",
        "by": sent.actor,
        "received": f"{found.received_at:%Y-%m-%d %H:%M:%S} at labels/{partition}@{offset}",
        "status": f"{_WORDS[found.status]} since {found.since:%Y-%m-%d %H:%M:%S}",
        "votes": votes + asked if votes or asked else "",
        "due": f"{found.due_at:%Y-%m-%d %H:%M:%S}" if found.due_at else "",
        "first in": found.version or "",
        "why": found.reason or "",
    }
