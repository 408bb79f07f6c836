"""`errata remap`: whether two versions compare, and predictions under the names they share."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import click

from ledger.cli import as_json, note, open_ledger, output, print_json, shared
from ledger.contracts.common import Remap, Side
from ledger.door import read_line
from ledger.errors import InvalidRequest
from ledger.remap import Comparison, compare

_COLUMNS = ("label", "prediction", "predicted_label", "predicted", "class")


@click.command()
@shared
@click.argument("old")
@click.argument("new", default="head")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Rewrite labels or predictions (.csv or .jsonl) to standard output.",
)
@click.option("--column", help=f"Which to rewrite [default: the first of {', '.join(_COLUMNS)}].")
@click.option("--of", "side", type=click.Choice(["old", "new"]), help="Whose classes FILE names.")
@as_json
def remap(
    *,
    old: str,
    new: str,
    predictions: Path | None,
    column: str | None,
    side: Side | None,
    as_json: bool,
) -> None:
    """Say whether, and how, metrics of two versions compare.

    Prints the remap as JSON on standard output, to be kept beside the version; the verdict (fair,
    fair_after_remap, not_fair) and its reasons follow as remarks. With --json everything is one
    JSON object. With --predictions FILE a column of FILE is rewritten to the common classes.
    """
    found = compare(open_ledger(), old, new)
    if predictions is not None:
        _rewrite(predictions, found.remap, column, side)
        return
    if as_json:
        print_json(_fields(found))
        return
    print_json(found.remap.as_dict())
    note(found.verdict.replace("_", " "))
    for reason in found.reasons:
        note(f"- {reason}")


def _fields(found: Comparison) -> dict[str, Any]:
    return {
        **found.remap.as_dict(),
        "old": found.old,
        "new": found.new,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "changed_by_split": dict(found.changed_by_split),
        "by_split": dict(found.by_split),
    }


def _rewrite(path: Path, remap: Remap, column: str | None, side: Side | None) -> None:
    """Write the file again with one column under the names of the common classes; all of it or,
    where something is wrong with it, nothing.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rewrite = _csv if path.suffix.lower() == ".csv" else _jsonl
        made = rewrite(text, remap, column, side)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InvalidRequest(
            f"{path}: not UTF-8: byte {error.start} is 0x{byte:02x}; save the file as UTF-8"
        ) from error
    except (InvalidRequest, csv.Error) as error:
        raise InvalidRequest(f"{path}: {error}") from error
    output().write(made.encode())


def _csv(text: str, remap: Remap, column: str | None, side: Side | None) -> str:
    csv.field_size_limit(2**31 - 1)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    header = rows[0] if rows else []
    name = _column(column, header)
    if header.count(name) > 1:
        raise InvalidRequest(f"the header names {header.count(name)} columns {name!r}: rename one")
    at = header.index(name)
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise InvalidRequest(f"row {number + 1} has {len(row)} cells; the header {len(header)}")
    labels = iter(remap.apply([row[at] for row in rows[1:]], side))
    for row in rows[1:]:
        row[at] = next(labels)
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows)


def _cell(text: str) -> str:
    quoted = any(mark in text for mark in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if quoted else text


def _jsonl(text: str, remap: Remap, column: str | None, side: Side | None) -> str:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(read_line(line))
                _line(rows[-1])
            except InvalidRequest as error:
                raise InvalidRequest(f"line {number}: {error}") from error
    name = _column(column, [*rows[0]] if rows else [])
    given = [row for row in rows if row.get(name) is not None]
    for row in given:
        if not isinstance(row[name], str):
            raise InvalidRequest(f"{name} is {json.dumps(row[name])[:80]}, which names no class")
    for row, label in zip(given, remap.apply([row[name] for row in given], side), strict=True):
        row[name] = label
    return "".join(map(_line, rows))


def _line(row: dict[str, Any]) -> str:
    """The row as it is written, if that is JSON in UTF-8: what was read may hold `1e999`."""
    try:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        line.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("it holds a lone surrogate, which is no text") from error
    except ValueError as error:
        raise InvalidRequest("it holds a number too large to be read") from error
    return line


def _column(asked: str | None, there: list[str]) -> str:
    found = next((name for name in ((asked,) if asked else _COLUMNS) if name in there), None)
    if found is None:
        named = f"no column {asked!r}" if asked else "no column of a usual name"
        known = ", ".join(there) or "none"
        raise InvalidRequest(f"{named}; there are: {known}. Name it with --column")
    return found
