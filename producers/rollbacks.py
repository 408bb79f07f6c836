"""`errata rollback` and `undo`: take back what came after a position, or only some corrections."""

from __future__ import annotations

from typing import Any, get_args

import click

from ledger.cli import (
    acting,
    as_json,
    note,
    open_ledger,
    position_fields,
    print_fields,
    print_json,
    print_table,
    shared,
    who,
)
from ledger.codec import plain
from ledger.core.events import CorrectionProposed, CorrectionSource
from ledger.door import as_fields
from ledger.history import label_text
from ledger.past import Past, Selection
from ledger.past.rolling import Undoing
from ledger.past.undo import Plan
from ledger.past.whatif import Move, moves
from ledger.patches.edit import Edit

_SHOWN_MAX = 50


@click.command()
@shared
@click.option("--to", required=True, metavar="POSITION", help="The position to go back to.")
@click.option("--reason", help="Why.")
@click.option("--approved-by", metavar="WHO", help="The second person.")
@click.option("--dry-run", is_flag=True, help="Only show what it would take back.")
@acting
@as_json
def rollback(
    *,
    to: str,
    reason: str | None,
    approved_by: str | None,
    dry_run: bool,
    actor: str | None,
    as_json: bool,
) -> None:
    """Go back to a position, with one event and by two people.

    The position reached is printed. Everything that came after the one given stays in the log and
    is void from here on; older positions still read it, and a rollback can be rolled back itself.
    """
    if reason is None and not dry_run:
        raise click.UsageError("say why with --reason, or try it with --dry-run")
    if approved_by is None and not dry_run:
        raise click.UsageError("a rollback takes two people: --approved-by WHO")
    ledger = open_ledger()
    undoing = Past(ledger).rollback_preview(to)
    if dry_run:
        _preview(undoing, moves(ledger.diff(undoing.at, undoing.to)), as_json=as_json)
        return
    assert approved_by is not None
    position = ledger.rollback(undoing.to, actor=who(actor), approved_by=approved_by, reason=reason)
    if as_json:
        print_json({**position_fields(position), "undone": _undoing_fields(undoing)})
    else:
        note(f"rolled back to {to}: {_in_short(undoing)}")
        click.echo(position.text())


def _undoing_fields(undoing: Undoing) -> dict[str, Any]:
    return {
        "events": dict(undoing.events),
        "restored": undoing.restored,
        "contract_versions": list(undoing.contracts),
        "rollbacks": undoing.rollbacks,
        "versions": list(undoing.versions),
        "patches": list(undoing.patches),
        "models": list(undoing.models),
    }


def _in_short(undoing: Undoing) -> str:
    counts = {
        "label event": sum(undoing.events.values()),
        "contract change": len(undoing.contracts),
        "rollback": undoing.rollbacks,
    }
    parts = [_count(count, name) for name, count in counts.items() if count]
    if undoing.patches:
        parts.append(f"{len(undoing.patches)} patch" + "es" * (len(undoing.patches) > 1))
    said = ", ".join(parts) + " taken back" if parts else "nothing taken back"
    if undoing.versions:
        said += f"; {', '.join(undoing.versions)} can still be read, aside of the head"
    return said


def _preview(undoing: Undoing, by_class: list[Move], *, as_json: bool) -> None:
    if as_json:
        fields = {
            "to": position_fields(undoing.to),
            **_undoing_fields(undoing),
            "items": sum(move.items for move in by_class),
            "by_class": [move._asdict() for move in by_class],
        }
        print_json(fields)
        return
    named = {
        "contract versions": [str(version) for version in undoing.contracts],
        "versions": undoing.versions,
        "patches": undoing.patches,
        "models": undoing.models,
    }
    print_fields(
        [
            ("to", undoing.to.text()),
            *((name, str(count)) for name, count in undoing.events.items()),
            *((name, ", ".join(each)) for name, each in named.items() if each),
            *((("rollbacks", str(undoing.rollbacks)),) if undoing.rollbacks else ()),
            *((("live again", str(undoing.restored)),) if undoing.restored else ()),
        ]
    )
    if by_class:
        print_table([(m.before or "-", m.after or "-", m.items) for m in by_class], _BY_CLASS)
    note(f"nothing was appended; `errata diff head '{undoing.to}'` names the items")


_BY_CLASS = ["before", "after", "items"]


@click.command()
@shared
@click.option("--author", metavar="WHO", help="Who proposed the corrections.")
@click.option("--source", type=click.Choice(get_args(CorrectionSource)), help="Where from.")
@click.option("--patch", metavar="ID", help="The patch they belong to.")
@click.option("--audit-run", metavar="ID", help="The audit run that proposed them.")
@click.option("--model-version", metavar="NAME", help="The model that proposed them.")
@click.option("--segment", metavar="NAME", help="What they are about.")
@click.option("--since", metavar="POSITION", help="Only what was proposed at or after it.")
@click.option("--until", metavar="POSITION", help="Only what was proposed before it.")
@click.option("--with-dependants", is_flag=True, help="What stands on them as well.")
@click.option("--dry-run", is_flag=True, help="Only show what it would change.")
@click.option("--reason", help="Why.")
@click.option("--approved-by", metavar="WHO", help="The second person, a reviewer.")
@acting
@as_json
def undo(
    *,
    with_dependants: bool,
    dry_run: bool,
    reason: str | None,
    approved_by: str | None,
    actor: str | None,
    as_json: bool,
    **conditions: str | None,
) -> None:
    """Undo some corrections and keep every later good one.

    Takes the corrections for which all conditions hold. Later corrections that stand on them are
    listed first; they are kept, and their items with them, unless --with-dependants undoes them
    too. What changes is one bulk change, like a patch, which the second person settles.
    """
    given = {name for name, value in conditions.items() if value is not None}
    if given <= {"since", "until"}:
        raise click.UsageError("say which corrections, such as --author WHO or --patch ID")
    if approved_by is None and not dry_run:
        raise click.UsageError("name the second person with --approved-by, or use --dry-run")
    ledger = open_ledger()
    past = Past(ledger)
    plan = past.undo_plan(Selection(**conditions), with_dependants=with_dependants)
    if dry_run:
        _tell(plan, as_json=as_json)
        note(f"nothing was appended; {_count(len(plan.edits), 'item')} would change")
        return
    assert approved_by is not None
    person = who(actor)
    if not as_json:
        _tell(plan, as_json=False)
    undone = past.undo(plan, actor=person, approved_by=approved_by, reason=reason)
    settled = undone.settled
    if as_json:
        done = {"patch_id": settled.patch_id, "decided": settled.decided} if settled else {}
        print_json({**_plan_fields(undone.plan), **done})
    if settled is None:
        none = "" if plan.undone else ": no correction that was applied is one of these"
        note(f"nothing to undo{none}")
    elif settled.decided:
        note(f"{_count(len(plan.edits), 'item')} changed, as {settled.patch_id}")
    else:
        note(f"proposed as {settled.patch_id}: {'; '.join(settled.missing)}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" + ("" if number == 1 else "s")


def _plan_fields(plan: Plan) -> dict[str, Any]:
    return {
        "undone": [as_fields(each) for each in plan.undone],
        "dependants": [as_fields(each) for each in plan.dependants],
        "edits": [
            {"id": each.item_id, "from": each.from_label, "to": each.to_label}
            | ({"to_geometry": plain(each.to_geometry)} if each.to_geometry else {})
            for each in plan.edits
        ],
        "left": [{"id": each.item_id, "why": each.why} for each in plan.left],
        "open": plan.open,
    }


def _tell(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print_json(_plan_fields(plan))
        return
    if plan.dependants:
        fate = "undone too" if plan.with_dependants else "kept, and their items as they are"
        note(f"on what is undone stands {_count(len(plan.dependants), 'correction')} ({fate}):")
        _table([_correction(each) for each in plan.dependants], ["item", "from", "to", "by", "why"])
    if plan.left:
        note(f"left as it is: {_count(len(plan.left), 'item')} that no correction puts back:")
        _table(list(plan.left), ["item", "why"])
    if plan.edits:
        _table([_edit(each) for each in plan.edits], ["item", "now", "then"])
    if plan.open:
        note(f"still open, and for a reviewer: {_count(plan.open, 'correction')} of these")


def _table(rows: list[Any], headers: list[str]) -> None:
    print_table(rows[:_SHOWN_MAX], headers)
    if len(rows) > _SHOWN_MAX:
        note(f"and {len(rows) - _SHOWN_MAX} more; --json has all of them")


def _correction(proposal: CorrectionProposed) -> tuple[str, ...]:
    labels = label_text(proposal.from_label), label_text(proposal.to_label)
    return (proposal.item_id, *labels, proposal.actor, proposal.reason or "")


def _edit(edit: Edit) -> tuple[str, ...]:
    then = label_text(edit.to_label) + (", geometry" if edit.to_geometry else "")
    return edit.item_id, label_text(edit.from_label), then
