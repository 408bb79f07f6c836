"""`errata rollback`: go back to a position."""

from __future__ import annotations

import click

from ledger.cli import acting, as_json, note, open_ledger, position_fields, print_json, shared, who


@click.command()
@shared
@click.option("--to", required=True, metavar="POSITION", help="The position to go back to.")
@click.option("--reason", required=True, help="Why.")
@click.option("--approved-by", metavar="WHO", help="The second person.")
@acting
@as_json
def rollback(
    *, to: str, reason: str, approved_by: str | None, actor: str | None, as_json: bool
) -> None:
    """Go back to a position, with one event.

    The position reached is printed. Everything that came after the one given stays in the log and
    is void from here on; older positions still read it, and a rollback can be rolled back itself.
    """
    ledger = open_ledger()
    position = ledger.rollback(to, actor=who(actor), approved_by=approved_by, reason=reason)
    if as_json:
        print_json(position_fields(position))
    else:
        note(f"rolled back to {to}")
        click.echo(position.text())
