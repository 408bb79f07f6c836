"""`errata copy`: a dataset to another log, or into another number of partitions."""

from __future__ import annotations

import click

from ledger.cli import (
    Progress,
    as_json,
    note,
    open_ledger,
    position_fields,
    print_json,
    settings,
    shared,
)
from ledger.copying import check_source
from ledger.copying import copy as copy_dataset
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger
from ledger.logs.base import Topic


@click.command()
@shared
@click.option("--to", "to_log", metavar="LOG", help="The other log [default: the same].")
@click.option("--to-dataset", metavar="NAME", help="Its name there [default: the same].")
@click.option("--to-registry", metavar="URL", help="The other log's schema registry.")
@click.option("--partitions", type=int, help="How many partitions [default: as many].")
@as_json
def copy(
    *,
    to_log: str | None,
    to_dataset: str | None,
    to_registry: str | None,
    partitions: int | None,
    as_json: bool,
) -> None:
    """Copy the dataset into a new one, in any number of partitions.

    Every version keeps its hash, which is proved at the end. Event ids and timestamps stay;
    positions are rewritten to what they are in the copy.
    """
    source = open_ledger()
    here = settings()
    there = here.model_copy(
        update={
            "log": to_log or here.log,
            "dataset": to_dataset or here.dataset,
            "registry": to_registry,
        }
    )
    if (there.log, there.dataset) == (here.log, here.dataset):
        raise InvalidRequest("a copy needs another log (--to) or another name (--to-dataset)")
    check_source(source.dataset)
    count = source.dataset.partitions if partitions is None else partitions
    with Ledger.create_from(there, count) as target:
        size = sum(source.dataset.log.ends(Topic.LABELS))
        with Progress(f"copying {here.dataset}", size) as progress:
            end = copy_dataset(source.dataset, target.dataset, progress.advance)
        versions = len(target.governance.tags)
    if as_json:
        print_json({"versions": versions, **position_fields(end)})
    else:
        note(f"copied to {there.dataset!r} at {there.log}; {versions} versions proved")
        click.echo(end.text())
