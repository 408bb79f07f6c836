"""`errata what-if` and `preview`: the labels as they would be."""

from __future__ import annotations

from typing import Any, get_args

import click

from ledger.cli import (
    as_json,
    at_position,
    note,
    open_ledger,
    position_fields,
    print_json,
    print_table,
    shared,
)
from ledger.core.events import CorrectionSource
from ledger.past import Past, Selection
from ledger.past.whatif import moves
from ledger.snapshot import Difference, Row

_SHOWN_MAX = 50
_WITHOUT = {
    "without_reviewer": "reviewer",
    "without_author": "author",
    "without_model": "model_version",
    "without_audit": "audit_run",
    "without_patch": "patch",
    "without_source": "source",
}


@click.command("what-if")
@shared
@click.option("--without-reviewer", metavar="WHO", help="Without this person's votes.")
@click.option("--without-author", metavar="WHO", help="Without the corrections they proposed.")
@click.option("--without-model", metavar="NAME", help="Without what this model proposed.")
@click.option("--without-audit", metavar="RUN", help="Without what this audit run proposed.")
@click.option("--without-patch", metavar="ID", help="Without this patch.")
@click.option(
    "--without-source", type=click.Choice(get_args(CorrectionSource)), help="Without this source."
)
@click.option("--since", metavar="POSITION", help="Only without what came at or after it.")
@click.option("--until", metavar="POSITION", help="Only without what came before it.")
@at_position
@as_json
def what_if(
    *, since: str | None, until: str | None, at: str, as_json: bool, **without: str | None
) -> None:
    """Show the labels as they would be without some events.

    Several --without are left out together. The items that differ are listed, as they are and as
    they would be.
    """
    window: dict[str, Any] = {"since": since, "until": until}
    selections = [
        Selection(**{_WITHOUT[name]: value}, **window)
        for name, value in without.items()
        if value is not None
    ]
    if not selections:
        raise click.UsageError("say without what, such as --without-reviewer WHO")
    found = Past(open_ledger()).what_if(*selections, at=at)
    counts = {"passed_over": found.passed_over, "records": found.records}
    if as_json:
        print_json({**position_fields(found.position), **counts, **_fields(found.difference)})
        return
    _tell(found.difference)
    note(
        f"events left out: {found.passed_over}, records they are about: {found.records}, "
        f"items that would differ: {len(found.difference)}"
    )


@click.command()
@shared
@at_position
@as_json
def preview(*, at: str, as_json: bool) -> None:
    """Show the labels with every open correction accepted.

    They are taken in the order in which they were proposed; one whose item is no longer what it
    corrects stays without effect.
    """
    found = Past(open_ledger()).preview(at)
    counts = {"applied": found.applied, "stale": found.stale}
    if as_json:
        print_json({**position_fields(found.position), **counts, **_fields(found.difference)})
        return
    _tell(found.difference)
    note(
        f"corrections that are open: {found.applied + found.stale}, in conflict: {found.stale}, "
        f"items that would differ: {len(found.difference)}"
    )


def _fields(difference: Difference) -> dict[str, Any]:
    return {
        "items": len(difference),
        "by_class": [move._asdict() for move in moves(difference)],
        "changes": [
            {
                "id": change.item_id,
                "before": change.before.fields() if change.before else None,
                "after": change.after.fields() if change.after else None,
            }
            for change in difference
        ],
    }


def _tell(difference: Difference) -> None:
    if not difference:
        return
    shown = difference[:_SHOWN_MAX]
    rows = [(each.item_id, _text(each.before), _text(each.after)) for each in shown]
    print_table(rows, ["item", "now", "then"])
    if len(difference) > len(rows):
        note(f"and {len(difference) - len(rows)} more; --json has all of them")
        by_class = [(m.before or "-", m.after or "-", m.items) for m in moves(difference)]
        print_table(by_class, ["now", "then", "items"])


def _text(row: Row | None) -> str:
    if row is None:
        return "-"
    return row.label + (f" {row.geometry.type}" if row.geometry else "")
