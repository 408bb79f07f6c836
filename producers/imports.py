"""`errata import`: register the items of a JSON Lines or CSV file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import click

from ledger.cli import (
    Progress,
    acting,
    as_json,
    note,
    open_ledger,
    position_fields,
    print_json,
    shared,
    who,
)
from ledger.core.events import ItemRegistered, record_of
from ledger.core.outcome import Outcome
from ledger.dataset import Entry
from ledger.door import read_line
from ledger.errors import InvalidRequest, LogUnavailable
from ledger.ledger import Ledger
from producers.sources import (
    Source,
    at_line,
    csv_rows,
    header_of,
    lines,
    open_source,
    rereadable,
    size_of,
)

_HARMLESS = (Outcome.REGISTERED, Outcome.FILLED, Outcome.DUPLICATE)
_NAMED_MAX = 5
# A number as JSON writes it: `nan`, `1_000` and `007` are texts.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column, or key, holds what."""

    id: str
    label: str
    content: str
    split: str
    attributes: Sequence[str]
    ignored: Sequence[str]

    def known(self) -> set[str]:
        """Every column that has a meaning."""
        fixed = (self.id, self.label, self.content, self.split, "record", "geometry", "attributes")
        return {*fixed, *self.attributes, *self.ignored}


@click.command("import")
@shared
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv"]),
    help="[default: by the file's ending, else jsonl]",
)
@click.option("--delimiter", default=",", show_default=True, help="Between the cells of a CSV.")
@click.option("--id", "id_", default="id", show_default=True, help="Column of the item id.")
@click.option("--label", default="label", show_default=True, help="Column of the label.")
@click.option("--content", default="content", show_default=True, help="Column of the text.")
@click.option("--split", default="split", show_default=True, help="Column of the split.")
@click.option("--attribute", "attributes", multiple=True, help="A column to keep; repeatable.")
@click.option("--ignore", "ignored", multiple=True, help="A column to leave out; repeatable.")
@click.option("--add-classes", is_flag=True, help="Add labels that the contract lacks as classes.")
@click.option("--approved-by", metavar="WHO", help="The second person who adds the classes.")
@click.option("--source", help="Where the labels come from [default: the file's name].")
@acting
@as_json
def import_(
    *,
    file: Path,
    kind: str | None,
    delimiter: str,
    id_: str,
    label: str,
    content: str,
    split: str,
    attributes: tuple[str, ...],
    ignored: tuple[str, ...],
    add_classes: bool,
    approved_by: str | None,
    source: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Register the items of a JSON Lines or CSV file; - is standard input.

    Each has an id and, if given, a label, text, split, record, geometry {type, coordinates} and
    attributes {name: value}; an exported snapshot can be imported as it is. In CSV an empty cell
    is absent, an --attribute that reads as a number is one, and a geometry stands in the columns
    geometry_type and coordinates. The file is checked whole first. Items that are registered
    already are left as they are.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise click.UsageError(f"--delimiter {delimiter!r}: one character, such as ';'")
    ledger, person = open_ledger(), who(actor)
    opened = open_source(file)
    with opened.file, rereadable(opened).file as rows:
        again = Source(opened.name, rows)
        with Progress(f"importing {file}", 2 * size_of(again)) as progress:
            items = Items(
                again,
                Columns(id_, label, content, split, attributes, ignored),
                delimiter if (kind or file.suffix.lower().lstrip(".")) == "csv" else None,
                {"actor": person, "source": source or file.name},
                progress,
            )
            missing = _check(ledger, items, add_classes=add_classes)
            if missing:
                ledger.add_classes(missing, actor=person, approved_by=approved_by)
            places = _append(ledger, items)
    _report(ledger, opened.name, places, as_json=as_json)


@dataclass
class Items:
    """The registrations of a source; knows the line that it gave last.

    Attributes:
        source: can be read again.
        columns: which column holds what.
        delimiter: of a CSV; None where the source is JSON lines.
        constant: fields that all of them share.
        progress: is told of the bytes read.
        line: of the registration given last.
    """

    source: Source
    columns: Columns
    delimiter: str | None
    constant: Row
    progress: Progress
    line: int = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One registration per row, from the first.

        Raises:
            InvalidRequest: names the rule; `line` is where.
        """
        self.source.file.seek(0)
        rows = self._json_rows() if self.delimiter is None else self._csv_rows(self.delimiter)
        read = 0
        for row in rows:
            yield self._event(row)
            here = self.source.file.tell()
            self.progress.advance(here - read)
            read = here

    def _json_rows(self) -> Iterator[Row]:
        for group in lines(self.source):
            for self.line, line in group:
                yield read_line(line)

    def _csv_rows(self, delimiter: str) -> Iterator[Row]:
        rows = csv_rows(self.source, delimiter)
        self.line = 1
        header = header_of(rows)
        if header and self.columns.id not in header:
            names = ", ".join(repr(name) for name in header)
            raise InvalidRequest(
                f"there is no column {self.columns.id!r}, the columns are {names}: say with --id "
                "which holds the item's id, or with --delimiter what stands between cells"
            )
        for self.line, cells in rows:
            if len(cells) != len(header):
                raise InvalidRequest(
                    f"the row has {len(cells)} cells and the header {len(header)} columns"
                )
            yield self._typed(
                {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            )

    def _typed(self, row: dict[str, Any]) -> Row:
        """The row with numbers, geometry and attributes as such."""
        for name in self.columns.attributes:
            if name in row and _NUMBER.fullmatch(row[name]):
                row[name] = float(row[name])
        for name in ("attributes", "coordinates"):
            if name in row and name not in self.columns.ignored:
                try:
                    row[name] = json.loads(row[name])
                except ValueError as error:
                    raise InvalidRequest(f"{name} is no JSON: {row[name][:60]!r}") from error
        named = {"geometry_type": "type", "coordinates": "coordinates"}
        if named.keys() & row.keys() and not named.keys() & {*self.columns.ignored}:
            row["geometry"] = {named[name]: row.pop(name) for name in named if name in row}
        return row

    def _event(self, row: Row) -> dict[str, Any]:
        columns = self.columns
        unused = row.keys() - columns.known()
        if unused:
            name = min(unused)
            raise InvalidRequest(
                f"{name!r} has no meaning here; keep it with --attribute {name} or leave it out "
                f"with --ignore {name}"
            )
        row = {name: value for name, value in row.items() if name not in columns.ignored}
        item_id = row.get(columns.id)
        if not isinstance(item_id, str) or not item_id:
            raise InvalidRequest(
                f"{columns.id!r} must be the item's id, a text in quotes that is not empty; it is "
                f"{item_id!r}"
            )
        attributes: Any = row.get("attributes")
        if attributes is not None and not isinstance(attributes, dict):
            raise InvalidRequest(f"attributes must be an object {{name: value}}: {attributes!r}")
        kept = {name: row[name] for name in columns.attributes if row.get(name) is not None}
        return {
            "type": ItemRegistered.__name__,
            "item_id": item_id,
            "record_id": row.get("record") or record_of(item_id),
            "label": row.get(columns.label),
            "content": row.get(columns.content),
            "split": row.get(columns.split),
            "geometry": row.get("geometry"),
            "attributes": {**cast("dict[str, Any]", attributes or {}), **kept},
            **self.constant,
        }


def _check(ledger: Ledger, items: Items, *, add_classes: bool) -> list[str]:
    """Refuse the first item that could not be registered; return the classes to be added."""
    contract = ledger.governance.contract
    seen: dict[str, int] = {}
    missing: dict[str, None] = {}
    try:
        for event in items:
            ledger.check([event])
            before = seen.setdefault(event["item_id"], items.line)
            if before != items.line:
                _refuse(f"item {event['item_id']!r} stands on line {before} too")
            label = event["label"]
            if label is not None and not contract.takes(label):
                if not add_classes:
                    _refuse(
                        f"the label {label!r} is no class of contract version {contract.version}; "
                        "add the classes first, or give --add-classes"
                    )
                missing[label] = None
    except InvalidRequest as error:
        raise InvalidRequest(
            f"{at_line(items.source, items.line, error)}. Nothing was appended"
        ) from error
    return list(missing)


def _refuse(rule: str) -> NoReturn:
    raise InvalidRequest(rule)


def _append(ledger: Ledger, items: Items) -> set[tuple[int, int]]:
    """Append all; the partition and offset of each."""
    try:
        places = ledger.append_all(items).places
    except LogUnavailable as error:
        raise LogUnavailable(
            f"{error}. {error.acknowledged} items of {items.source.name} are registered; import it "
            "again, they are left as they are",
            acknowledged=error.acknowledged,
        ) from error
    return {(partition, offset) for _, partition, offset in places}


def _report(ledger: Ledger, name: str, places: set[tuple[int, int]], *, as_json: bool) -> None:
    """Tell what became of the registrations at these places."""
    counts: Counter[Outcome] = Counter()
    refused: list[str] = []

    def observe(entry: Entry, outcome: Outcome) -> None:
        event = entry.event
        if isinstance(event, ItemRegistered) and (entry.partition, entry.offset) in places:
            counts[outcome] += 1
            if outcome not in _HARMLESS:
                refused.append(f"{event.item_id!r} ({outcome})")

    position = ledger.resolve()
    since = [
        min((at for number, at in places if number == partition), default=stop)
        for partition, stop in enumerate(position.labels)
    ]
    ledger.state(position, observe, since)
    if as_json:
        print_json({"outcomes": counts, **position_fields(position)})
    else:
        found = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        note(found or f"{name} holds no item")
        click.echo(position.text())
    if refused:
        named = ", ".join(refused[:_NAMED_MAX]) + (", ..." if len(refused) > _NAMED_MAX else "")
        raise InvalidRequest(
            f"{len(refused)} of the items of {name} are refused and stay what they were: {named}. "
            "Change an item with `errata correct`"
        )
