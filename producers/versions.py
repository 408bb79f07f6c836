"""`errata tag`: name a position."""

from __future__ import annotations

import click

from ledger.cli import (
    acting,
    as_json,
    at_position,
    note,
    open_ledger,
    print_json,
    print_table,
    shared,
    who,
)
from ledger.core.events import VersionTagged
from ledger.door import as_fields


@click.command()
@shared
@click.argument("name", required=False)
@at_position
@click.option("--reason", help="Why.")
@click.option("--guideline", help="The labeling guideline that holds.")
@click.option("--approved-by", "--reviewer", "reviewer", metavar="WHO", help="The second person.")
@acting
@as_json
def tag(
    *,
    name: str | None,
    at: str,
    reason: str | None,
    guideline: str | None,
    reviewer: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Give a position a version name, or list the versions.

    A version keeps the content hash of its snapshot. A name is given once.
    """
    ledger = open_ledger()
    if name is None:
        _list([each.event for each in ledger.governance.tags.values()], as_json=as_json)
        return
    made = ledger.tag(
        name, at, actor=who(actor), reviewer=reviewer, reason=reason, guideline=guideline
    )
    _list([made], as_json=as_json)


def _list(tags: list[VersionTagged], *, as_json: bool) -> None:
    if as_json:
        for each in tags:
            print_json(as_fields(each))
        return
    rows = [
        (each.name, each.position.prefix().text(), each.content_hash or "", each.actor)
        for each in tags
    ]
    if not rows:
        note("no version is tagged")
        return
    print_table(rows, ["version", "position", "sha256", "by"])
