"""`errata gate`: are the labels good enough?"""

from __future__ import annotations

import click

from ledger.cli import (
    acting,
    as_json,
    at_position,
    note,
    open_ledger,
    print_json,
    print_line,
    print_table,
    shared,
    who,
)
from ledger.errors import GateFailed
from ledger.gating import Gate, Verdict

_PASSED = {True: "passed", False: "FAILED", None: "-"}


@click.command()
@shared
@at_position
@click.option("--model", metavar="NAME", help="Whose metrics may not fall below its base's.")
@click.option("--base", metavar="VERSION", help="[default: the version before]")
@click.option("--prove", is_flag=True, help="Rebuild the version and hold it against its hash.")
@click.option(
    "--rollback",
    "take_back",
    is_flag=True,
    help="Roll a version that fails back to its base, if the contract's auto_rollback is 1.",
)
@click.option("--approved-by", metavar="WHO", help="The second person of that rollback.")
@acting
@as_json
def gate(
    *,
    at: str,
    model: str | None,
    base: str | None,
    prove: bool,
    take_back: bool,
    approved_by: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Hold the labels at a position against the contract's thresholds.

    Exits with 1 if a check fails, so that a pipeline stops there.
    """
    if approved_by is not None and not take_back:
        raise click.UsageError("--approved-by goes with --rollback")
    if take_back and not approved_by:
        raise click.UsageError("a rollback takes two people: --approved-by WHO")
    book = open_ledger()
    is_version = at.strip() in book.governance.tags
    if (take_back or prove) and not is_version:
        flag = "--rollback" if take_back else "--prove"
        raise click.UsageError(f"{flag} needs a version: --at VERSION, and {at!r} is none")
    person = who(actor) if take_back else ""
    verdict = Gate(book).judge(at.strip(), base=base, model=model, prove=prove)
    if approved_by:
        verdict = Gate(book).take_back(verdict, actor=person, approved_by=approved_by)
    if as_json:
        print_json(verdict.as_dict())
    else:
        _print(verdict)
    if not verdict.passed:
        failed = ", ".join(check.name for check in verdict.failed)
        raise GateFailed(f"the labels at {verdict.at} fail the gate: {failed}")


def _print(verdict: Verdict) -> None:
    rows = [
        (
            check.name,
            _PASSED[check.passed],
            _number(check.value),
            _number(check.threshold),
            check.why,
        )
        for check in verdict.checks
    ]
    print_table(rows, ["check", "verdict", "value", "threshold", "why"])
    if verdict.rollback is not None:
        print_line(("" if verdict.rollback.done else "not rolled back: ") + verdict.rollback.why)
    if verdict.passed:
        note(f"the labels at {verdict.at} pass the gate of contract {verdict.contract_version}")


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value[:12] if isinstance(value, str) else f"{value:.4g}"
