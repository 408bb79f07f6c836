"""`errata correct`, `review` and `withdraw`: what people say about labels."""

from __future__ import annotations

from typing import get_args

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
from ledger.core.events import CorrectionSource, Decision, Geometry
from ledger.core.outcome import Outcome
from ledger.door import admit_geometry, as_fields
from ledger.history import label_text
from ledger.replay import State

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
    """Say that ITEM's label is wrong. Prints the correction's id; a second person reviews it."""
    if sum((to is not None, remove)) != 1:
        raise click.UsageError("give the right label with --to LABEL, or --remove")
    right: Geometry | None = admit_geometry(geometry) if geometry else None
    correction_id, outcome = open_ledger().correct(
        item, to=to, actor=who(actor), reason=reason, source=source, to_geometry=right, add=add
    )
    _tell(correction_id, outcome, as_json=as_json)


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
    """Decide on CORRECTION: accept it, keep the label, or escalate. Alone: list what is open."""
    ledger = open_ledger()
    if correction is None:
        _list_open(ledger.state(), as_json=as_json)
        return
    if decision is None:
        raise click.UsageError("say what you decide: accept, keep or escalate")
    outcome = ledger.review(
        correction, decision, actor=who(actor), rationale=rationale, record_id=record
    )
    _tell(correction, outcome, as_json=as_json)


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
    """Take CORRECTION back; only who proposed it may."""
    outcome = open_ledger().withdraw(correction, actor=who(actor), reason=reason, record_id=record)
    _tell(correction, outcome, as_json=as_json)


def _tell(correction_id: str, outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json({"correction_id": correction_id, "outcome": outcome.value})
    else:
        if not outcome.refused:
            click.echo(correction_id)
        note(f"{outcome.value}: {outcome.reason}" if outcome.refused else outcome.value)
    if outcome.refused:
        click.get_current_context().exit(1)


def _list_open(state: State, *, as_json: bool) -> None:
    rows: list[tuple[str, ...]] = []
    for each in state.corrections():
        if not each.open:
            continue
        proposal, conflict = each.proposal, state.conflict(each)
        if as_json:
            status = {"status": each.status.value, "votes": each.votes, "conflict": conflict}
            print_json({**as_fields(proposal), **status})
        rows.append(
            (
                proposal.correction_id,
                proposal.item_id,
                label_text(proposal.from_label),
                label_text(proposal.to_label),
                proposal.actor,
                each.status.value + (", conflict" if conflict else ""),
                ", ".join(f"{who} {decision}" for who, decision in each.votes.items()),
            )
        )
    if not as_json:
        print_table(rows, ["correction", "item", "from", "to", "by", "status", "votes"])
