"""`errata correct`, `review` and `withdraw`: what people say about labels."""

from __future__ import annotations

from typing import Any, get_args

import click

from ledger.cli import (
    acting,
    as_json,
    note,
    open_ledger,
    print_json,
    print_table,
    shared,
    who,
)
from ledger.contracts.unresolved import in_state
from ledger.core.contract import Unresolved
from ledger.core.events import CorrectionProposed, CorrectionSource, Decision, Geometry
from ledger.core.outcome import Outcome
from ledger.door import admit_geometry, as_fields
from ledger.errors import InvalidRequest
from ledger.history import label_text
from ledger.ledger import Ledger
from ledger.service_levels import deadlines
from ledger.stand_in import LOST
from producers.relabelling import print_waiting, waiting_fields

_MEANING = {
    Outcome.VOTED: "the contract asks for more approvals",
    Outcome.ESCALATED: "an expert decides",
    Outcome.STALE: "the item no longer is what the correction corrects, so nothing changed",
}
_record = click.option("--record", help="The record, where several have a correction of this id.")


@click.command()
@shared
@click.argument("item")
@click.option("--to", metavar="LABEL", help="The right label.")
@click.option("--remove", is_flag=True, help="The item has no label.")
@click.option("--add", is_flag=True, help="The item need not exist yet.")
@click.option("--geometry", metavar="JSON", help='{"type": "bbox", "coordinates": [x, y, w, h]}')
@click.option("--reason", help="Why.")
@click.option("--source", type=click.Choice(get_args(CorrectionSource)), default="annotator")
@acting
@as_json
def correct(
    *,
    item: str,
    to: str | None,
    remove: bool,
    add: bool,
    geometry: str | None,
    reason: str | None,
    source: CorrectionSource,
    actor: str | None,
    as_json: bool,
) -> None:
    """Say that ITEM's label or geometry is wrong.

    Prints the correction's id; a second person reviews it. With --geometry alone the label stays.
    """
    if to is not None and remove:
        raise click.UsageError("--to LABEL and --remove exclude each other")
    if to is None and not remove and (geometry is None or add):
        raise click.UsageError("give the right label with --to LABEL, or --remove")
    right = _geometry(geometry)
    ledger, person = open_ledger(), who(actor)
    if to is None and not remove:
        to = _label_now(ledger, item)
    correction_id, outcome = ledger.correct(
        item, to=to, actor=person, reason=reason, source=source, to_geometry=right, add=add
    )
    what = f"the correction of {item!r} to {to!r} by {person!r}"
    if outcome is Outcome.CLASS_NOT_IN_CONTRACT:
        contract = ledger.governance.contract
        classes = ", ".join(repr(name) for name in contract.classes if contract.takes(name))
        what += f" under contract version {contract.version} (its classes: {classes or 'none'})"
    _tell(None if outcome.refused else correction_id, outcome, what, as_json=as_json)


def _geometry(text: str | None) -> Geometry | None:
    try:
        return None if text is None else admit_geometry(text)
    except InvalidRequest as error:
        raise click.BadParameter(str(error), param_hint="--geometry") from error


def _label_now(ledger: Ledger, item: str) -> str | None:
    label = ledger.history(item).label
    if isinstance(label, Unresolved):
        raise InvalidRequest(f"item {item!r} is {label_text(label)}: give its label with --to")
    return label


@click.command()
@shared
@click.argument("correction", required=False)
@click.argument("decision", required=False, type=click.Choice(get_args(Decision)))
@click.option("--rationale", help="Why.")
@_record
@acting
@as_json
def review(
    *,
    correction: str | None,
    decision: Decision | None,
    rationale: str | None,
    record: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Decide on a correction, or list the open ones.

    Accept CORRECTION, keep the label as it is, or escalate to an expert. The list says what is in
    conflict or overdue, and names the items too that a split left without a label.
    """
    ledger = open_ledger()
    if correction is None:
        _list_open(ledger, as_json=as_json)
        return
    if decision is None:
        raise click.UsageError("say what you decide: accept, keep or escalate")
    person = who(actor)
    outcome = ledger.review(
        correction, decision, actor=person, rationale=rationale, record_id=record
    )
    what = f"{decision} of correction {correction!r} by {person!r}"
    _tell(correction, outcome, what, as_json=as_json)


@click.command()
@shared
@click.argument("correction")
@click.option("--reason", help="Why.")
@_record
@acting
@as_json
def withdraw(
    *, correction: str, reason: str | None, record: str | None, actor: str | None, as_json: bool
) -> None:
    """Take a correction back; only who proposed it may."""
    person = who(actor)
    outcome = open_ledger().withdraw(correction, actor=person, reason=reason, record_id=record)
    _tell(
        correction,
        outcome,
        f"withdrawal of correction {correction!r} by {person!r}",
        as_json=as_json,
    )


def _tell(correction_id: str | None, outcome: Outcome, what: str, *, as_json: bool) -> None:
    reason = outcome.reason or _MEANING.get(outcome)
    if as_json:
        print_json({"correction_id": correction_id, "outcome": outcome.value, "reason": reason})
    if outcome.refused:
        raise InvalidRequest(f"{what} is refused as {outcome}: {reason}; nothing changed")
    if not as_json:
        click.echo(correction_id)
        note(f"{outcome}: {reason}" if reason else outcome.value)


def _known(proposal: CorrectionProposed) -> dict[str, Any]:
    """Its fields, without those that are lost where only a checkpoint tells of it."""
    fields = as_fields(proposal)
    if proposal.event_id == LOST:
        for name in ("event_id", "occurred_at", "based_on"):
            fields.pop(name, None)
    return fields


def _list_open(ledger: Ledger, *, as_json: bool) -> None:
    state = ledger.state()
    promised = deadlines(ledger.dataset, state)
    rows: list[tuple[str, ...]] = []
    for each in state.corrections():
        if not each.open:
            continue
        proposal, conflict = each.proposal, state.conflict(each)
        deadline = promised.get((proposal.record_id, proposal.correction_id))
        late = deadline is not None and deadline.overdue
        if as_json:
            status = {"status": each.status.value, "votes": each.votes, "conflict": conflict}
            due_at = deadline.due_at.isoformat() if deadline else None
            print_json({**_known(proposal), **status, "due_at": due_at, "overdue": late})
        rows.append(
            (
                proposal.correction_id,
                proposal.item_id,
                label_text(proposal.from_label),
                label_text(proposal.to_label),
                proposal.actor,
                each.status.value + ", conflict" * conflict + ", overdue" * late,
                ", ".join(f"{who} {decision}" for who, decision in each.votes.items()),
            )
        )
    waiting = sorted(in_state(state), key=lambda item: item.item_id.encode())
    if as_json:
        for item in waiting:
            print_json(waiting_fields(item))
        return
    if rows:
        print_table(rows, ["correction", "item", "from", "to", "by", "status", "votes"])
    else:
        note("no correction is open")
    if waiting:
        print_waiting(waiting)
        note("say what each of them is: errata correct ITEM --to CLASS")
