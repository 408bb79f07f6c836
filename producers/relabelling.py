"""Items that a split left without a label: the queue of what is to be labelled anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from ledger.cli import as_json, at_position, note, open_ledger, print_json, print_table, shared
from ledger.contracts.unresolved import Waiting
from ledger.contracts.unresolved import unresolved as waiting_at


@click.command()
@shared
@at_position
@as_json
def unresolved(*, at: str, as_json: bool) -> None:
    """List the items that a split left without a label.

    `errata correct ITEM --to CLASS` proposes one, and a second person reviews it.
    """
    waiting = waiting_at(open_ledger(), at)
    if as_json:
        for each in waiting:
            print_json(waiting_fields(each))
    elif waiting:
        print_waiting(waiting)
    note("1 item waits" if len(waiting) == 1 else f"{len(waiting)} items wait")


def waiting_fields(each: Waiting) -> dict[str, Any]:
    """An item that waits for a label, JSON-ready."""
    return {
        "type": "unresolved",
        "item_id": each.item_id,
        "record_id": each.record_id,
        "split": each.split,
        "class": each.label_class,
        "split_by": each.version,
    }


def print_waiting(waiting: Iterable[Waiting]) -> None:
    """Items that wait for a label, for people."""
    rows = [
        (each.item_id, each.label_class, f"contract {each.version}", each.split or "")
        for each in waiting
    ]
    print_table(rows, ["needs a label", "was", "split by", "split"])
