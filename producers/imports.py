"""`errata import`: register the items of a JSON Lines or CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import click

from ledger.cli import acting, as_json, note, open_ledger, print_json, shared, who
from ledger.core.outcome import Outcome
from ledger.door import read_line
from ledger.errors import InvalidRequest

_HARMLESS = (Outcome.REGISTERED, Outcome.FILLED, Outcome.DUPLICATE)


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
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--format", "kind", type=click.Choice(["jsonl", "csv"]), help="[default: by the file's ending]"
)
@click.option("--id", "id_", default="id", show_default=True, help="Column of the item id.")
@click.option("--label", default="label", show_default=True, help="Column of the label.")
@click.option("--content", default="content", show_default=True, help="Column of the text.")
@click.option("--split", default="split", show_default=True, help="Column of the split.")
@click.option("--attribute", "attributes", multiple=True, help="A column to keep; repeatable.")
@click.option("--ignore", "ignored", multiple=True, help="A column to leave out; repeatable.")
@click.option("--add-classes", is_flag=True, help="Add labels that the contract lacks as classes.")
@click.option("--source", help="Where the labels come from [default: the file's name].")
@acting
@as_json
def import_(
    *,
    file: Path,
    kind: Literal["jsonl", "csv"] | None,
    id_: str,
    label: str,
    content: str,
    split: str,
    attributes: tuple[str, ...],
    ignored: tuple[str, ...],
    add_classes: bool,
    source: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Register the items of FILE: an id each, and a label, text, split and attributes if given.

    JSON lines may also hold `record`, `geometry` {type, coordinates} and `attributes` {name:
    value}; an exported snapshot can be imported as it is. The file is checked whole first. Items
    that are registered already are left as they are.
    """
    columns = Columns(id_, label, content, split, attributes, ignored)
    read = _csv if (kind or file.suffix.lstrip(".")) == "csv" else _jsonl
    ledger, person = open_ledger(), who(actor)

    def events() -> Iterator[dict[str, Any]]:
        return _events(file, read, columns, {"actor": person, "source": source or file.name})

    labels: dict[str, int] = {}
    for number, event in enumerate(events(), 1):
        if event["label"] is not None:
            labels.setdefault(event["label"], number)
    ledger.check(events())
    contract = ledger.governance.contract
    missing = [name for name in labels if not contract.takes(name)]
    if missing and not add_classes:
        raise InvalidRequest(
            f"{file}: the label {missing[0]!r} of item {labels[missing[0]]} is no class of "
            f"contract version {contract.version}; add the classes first, or give --add-classes. "
            "Nothing was appended"
        )
    if missing:
        ledger.add_classes(missing, actor=person)
    before = ledger.resolve()
    ledger.append_all(events())
    outcomes = ledger.outcomes_after(before)
    position = ledger.resolve()
    if as_json:
        print_json({"outcomes": outcomes, "position": position.as_dict()})
    else:
        note(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
        click.echo(position.text())
    if any(outcome not in _HARMLESS for outcome in outcomes):
        click.get_current_context().exit(1)


Read = Callable[[Path, Columns], Iterator[tuple[int, Mapping[str, Any]]]]


def _events(
    file: Path, read: Read, columns: Columns, constant: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """One registration per row; errors name the file and the line."""
    for number, row in read(file, columns):
        unused = row.keys() - columns.known()
        if unused:
            name = min(unused, key=str)
            raise InvalidRequest(
                f"{file}, line {number}: {name!r} has no meaning here; keep it with --attribute "
                f"{name} or leave it out with --ignore {name}. Nothing was appended"
            )
        item_id = row.get(columns.id)
        if not isinstance(item_id, str) or not item_id:
            raise InvalidRequest(
                f"{file}, line {number}: {columns.id!r} must be the item's id, a non-empty text; "
                f"it is {item_id!r}. Nothing was appended"
            )
        attributes = {name: row[name] for name in columns.attributes if row.get(name) is not None}
        yield {
            "type": "ItemRegistered",
            "item_id": item_id,
            "record_id": row.get("record") or item_id.partition("#")[0],
            "label": row.get(columns.label),
            "content": row.get(columns.content),
            "split": row.get(columns.split),
            "geometry": row.get("geometry"),
            "attributes": {**cast("dict[str, Any]", row.get("attributes") or {}), **attributes},
            **constant,
        }


def _jsonl(file: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    del columns
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, read_line(line)
                except InvalidRequest as error:
                    message = f"{file}, line {number}: {error}. Nothing was appended"
                    raise InvalidRequest(message) from error


def _csv(file: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Empty cells are absent; an attribute that reads as a number is one."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise InvalidRequest(
                        f"{file}, line {reader.line_num}: the row does not have the columns of "
                        "the header. Nothing was appended"
                    )
                cells: dict[str, Any] = {name: cell for name, cell in row.items() if cell}
                for name in columns.attributes:
                    if name in cells:
                        cells[name] = _number(cells[name])
                yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidRequest(
                f"{file}, line {reader.line_num + 1}: {error}. Nothing was appended"
            ) from error


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
