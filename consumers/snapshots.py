"""`errata snapshot` and `diff`: the labels at a position, and what changed between two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click

from ledger.cli import (
    as_json,
    at_position,
    note,
    open_ledger,
    print_json,
    print_table,
    shared,
)
from ledger.errors import InvalidRequest
from ledger.snapshot import Format, Row

_FORMATS = ("jsonl", "parquet", "csv")


@click.command()
@shared
@at_position
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
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
    """Print the labels at a position as canonical JSON lines, or write them to FILE.

    The SHA-256 of the canonical lines is the snapshot's content hash. With --json and without
    FILE, print what the snapshot is instead of its lines.
    """
    taken = open_ledger().snapshot(at)
    ending = output.suffix.lstrip(".") if output else ""
    chosen = cast("Format", format_ or (ending if ending in _FORMATS else "jsonl"))
    summary = {
        "position": taken.position.text(),
        "sha256": taken.sha256,
        "items": len(taken),
        "contract_version": taken.contract_version,
        "labels": dict(taken.labels()),
    }
    if output is not None:
        try:
            taken.save(output, chosen, content=content)
        except OSError as error:
            raise InvalidRequest(f"{output}: {error.strerror}; nothing was written") from error
    elif not as_json:
        taken.write(sys.stdout.buffer, chosen, content=content)
    if as_json:
        print_json(summary)
    elif output is not None:
        note(f"{len(taken)} items at {taken.position}, sha256 {taken.sha256}")


@click.command()
@shared
@click.argument("before")
@click.argument("after", default="head")
@as_json
def diff(*, before: str, after: str, as_json: bool) -> None:
    """List the items that differ between the positions BEFORE and AFTER, sorted by id."""
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
    print_table(rows, ["item", "before", "after"])
    note(f"{len(changes)} items differ")


def _text(row: Row | None) -> str:
    """The label, and whatever else the canonical line says of the item."""
    if row is None:
        return "-"
    parts = [row.label]
    if row.geometry is not None:
        numbers = ", ".join(f"{number:g}" for number in row.geometry.coordinates)
        parts.append(f"{row.geometry.type} [{numbers}]")
    if row.split:
        parts.append(row.split)
    return " ".join(parts)
