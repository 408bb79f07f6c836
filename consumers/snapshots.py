"""`errata snapshot` and `diff`: the labels at a position, and what changed between two."""

from __future__ import annotations

from pathlib import Path
from typing import cast

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
from ledger.cli import output as standard_output
from ledger.errors import InvalidRequest
from ledger.snapshot import Format, Row

_FORMATS = ("jsonl", "parquet", "csv")


@click.command()
@shared
@at_position
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    help="[default: by the ending of FILE, else jsonl]",
)
@click.option("--content", is_flag=True, help="With text and attributes, for training.")
@as_json
def snapshot(
    *, at: str, output: Path | None, format_: str | None, content: bool, as_json: bool
) -> None:
    """Print the labels at a position, or write them to FILE.

    The lines are canonical JSON, and their SHA-256 is the snapshot's content hash. With --json and
    without FILE, print what the snapshot is instead of its lines. FILE appears once it is whole;
    - is standard output.
    """
    if output == Path("-"):
        output = None
    taken = open_ledger().snapshot(at)
    ending = output.suffix.lower().lstrip(".") if output else ""
    chosen = cast("Format", format_ or (ending if ending in _FORMATS else "jsonl"))
    if output is not None:
        try:
            taken.save(output, chosen, content=content)
        except OSError as error:
            raise InvalidRequest(
                f"{output}: {error.strerror or error}; the snapshot was not saved"
            ) from error
    elif not as_json:
        taken.write(standard_output(), chosen, content=content)
    if as_json:
        print_json(
            {
                **position_fields(taken.position),
                "sha256": taken.sha256,
                "items": len(taken),
                "contract_version": taken.contract.version,
                "labels": dict(taken.labels()),
            }
        )
    elif output is not None:
        note(f"{len(taken)} items at {taken.position}, sha256 {taken.sha256}")


@click.command()
@shared
@click.argument("before")
@click.argument("after", default="head")
@as_json
def diff(*, before: str, after: str, as_json: bool) -> None:
    """List the items that differ between two positions, sorted by id."""
    changes = open_ledger().diff(before, after)
    if as_json:
        for change in changes:
            print_json(
                {
                    "id": change.item_id,
                    "change": change.kind,
                    "before": change.before.fields() if change.before else None,
                    "after": change.after.fields() if change.after else None,
                }
            )
        return
    rows = [(change.item_id, _text(change.before), _text(change.after)) for change in changes]
    if rows:
        print_table(rows, ["item", "before", "after"])
    note("1 item differs" if len(rows) == 1 else f"{len(rows)} items differ")


def _text(row: Row | None) -> str:
    """The label, and whatever else the canonical line says of the item."""
    if row is None:
        return "-"
    parts = [row.label]
    if row.geometry is not None:
        numbers = ", ".join(repr(x).removesuffix(".0") for x in row.geometry.coordinates)
        parts.append(f"{row.geometry.type} [{numbers}]")
    if row.split:
        parts.append(row.split)
    return " ".join(parts)
