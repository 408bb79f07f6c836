"""`errata init`: set a dataset up."""

from __future__ import annotations

import click

from ledger.cli import acting, note, settings, shared, who
from ledger.ledger import PARTITIONS_DEFAULT, Ledger


@click.command()
@shared
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=PARTITIONS_DEFAULT,
    show_default=True,
    help="Partitions of the label topic. Fixed from then on.",
)
@click.option("--class", "classes", multiple=True, help="A class of the contract; may be repeated.")
@click.option("--approved-by", metavar="WHO", help="The second person who adds the classes.")
@acting
def init(
    *, partitions: int, classes: tuple[str, ...], approved_by: str | None, actor: str | None
) -> None:
    """Set a dataset up: topics, schemas and, if given, first classes.

    Running it again on a dataset that is there with this many partitions changes nothing, but
    adds classes that are new.
    """
    if "" in classes:
        raise click.UsageError("--class is empty: a class has a name")
    person = who(actor) if classes else ""  # before anything is set up
    loaded = settings()
    with Ledger.create_from(loaded, partitions) as ledger:
        known = ledger.governance.contract.classes
        missing = [name for name in dict.fromkeys(classes) if name not in known]
        if missing:
            ledger.add_classes(missing, actor=person, approved_by=approved_by)
        contract = ledger.governance.contract
        note(
            f"dataset {loaded.dataset!r} at {loaded.log}: {partitions} label partitions, "
            f"contract version {contract.version}, {len(contract.classes)} classes"
        )
        click.echo(ledger.resolve().text())
