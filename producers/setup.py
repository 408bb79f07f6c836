"""`errata init`: set a dataset up."""

from __future__ import annotations

import click

from ledger.cli import acting, note, settings, shared, who
from ledger.ledger import PARTITIONS_DEFAULT, Ledger


@click.command()
@shared
@click.option(
    "--partitions",
    default=PARTITIONS_DEFAULT,
    show_default=True,
    help="Partitions of the label topic. Fixed from then on.",
)
@click.option("--class", "classes", multiple=True, help="A class of the contract; may be repeated.")
@acting
def init(*, partitions: int, classes: tuple[str, ...], actor: str | None) -> None:
    """Set a dataset up: topics, schemas and, if given, the contract's first classes.

    Running it again on a dataset that is there with this many partitions changes nothing.
    """
    loaded = settings()
    with Ledger.create_from(loaded, partitions) as ledger:
        missing = [name for name in classes if name not in ledger.governance.contract.classes]
        if missing:
            ledger.add_classes(missing, actor=who(actor))
        contract = ledger.governance.contract
        note(
            f"dataset {loaded.dataset!r} at {loaded.log}: {partitions} label partitions, "
            f"contract version {contract.version}, {len(contract.classes)} classes"
        )
        click.echo(ledger.resolve().text())
