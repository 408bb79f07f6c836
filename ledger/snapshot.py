"""The labels at one position: rows, canonical bytes and their hash, frames and files.

`jsonl` is the canonical form; its SHA-256 is the snapshot's content hash. Parquet and CSV hold the
same rows as columns `id, record, label, geometry_type, coordinates, split` (coordinates a list of
numbers; in CSV as JSON). With content, `content` and `attributes` (JSON, its keys sorted) follow,
for training.
In Arrow and Parquet `label` and `split` are dictionaries of strings, which pandas and Polars have
as categories: of all classes of the contract in its order, so that a label's index is the same in
every snapshot under one contract, and of the splits that occur, sorted.
CSV cells hold exactly what the items do, so that the file can be imported again: in a spreadsheet,
import them as text, or a label such as `=1+1` is computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, overload

from ledger.clock import new_id
from ledger.core import canonical
from ledger.core.contract import Contract
from ledger.core.events import Attributes, Geometry
from ledger.core.position import Position
from ledger.errors import ConfigurationError

if TYPE_CHECKING:
    import polars
    import pyarrow

Format = Literal["jsonl", "parquet", "csv"]


class Row(NamedTuple):
    """One labelled item."""

    item_id: str
    record_id: str
    label: str
    geometry: Geometry | None
    split: str | None
    attributes: Attributes
    content: str | None

    def line(self) -> bytes:
        """The canonical line."""
        return canonical.line(self.item_id, self.record_id, self.label, self.geometry, self.split)

    def fields(self) -> dict[str, Any]:
        """What the canonical line says, as a dictionary."""
        return json.loads(self.line())


class Change(NamedTuple):
    """How one item differs between two snapshots; `before` or `after` is None where it is not."""

    item_id: str
    before: Row | None
    after: Row | None

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What happened to the item."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


class Difference(Sequence[Change]):
    """The items whose canonical line differs between two positions, sorted by id."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._given = changes

    @property
    def changes(self) -> Sequence[Change]:
        """Every change."""
        return self._given

    def __len__(self) -> int:
        return len(self.changes)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self.changes[index]

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def to_arrow(self) -> pyarrow.Table:
        """The changes as an Arrow table: `id`, `change` (added, removed or changed), and `label`,
        `geometry_type`, `coordinates` and `split` twice, as `before_...` and `after_...`.
        """
        try:
            from ledger.columnar.snapshot import changes_as_arrow
        except ImportError as error:
            raise _missing_frames() from error
        return changes_as_arrow(self.changes)


class Snapshot:
    """The labelled items at a closed position, sorted by the id's UTF-8 bytes.

    Args:
        position: where it was taken.
        contract: what its labels stand under.
        rows: the items.
    """

    def __init__(self, position: Position, contract: Contract, rows: Sequence[Row]) -> None:
        self.position = position
        self.contract = contract
        self._rows = rows

    @property
    def rows(self) -> Sequence[Row]:
        """Every item with its attributes and content."""
        return self._rows

    def __len__(self) -> int:
        return len(self.rows)

    def lines(self) -> Iterator[bytes]:
        """The canonical lines."""
        return (row.line() for row in self.rows)

    def diff(self, after: Snapshot) -> Difference:
        """The items whose canonical line is another one in `after`, sorted by id.

        Attributes and content are not compared, and need not be in the rows given.
        """
        return Difference(list(self._changes(after)))

    def _changes(self, after: Snapshot) -> Iterator[Change]:
        old = {row.item_id: row for row in self.rows}
        new = {row.item_id: row for row in after.rows}
        for item_id in sorted(old.keys() | new.keys(), key=str.encode):
            mine, theirs = old.get(item_id), new.get(item_id)
            if mine is None or theirs is None or mine.line() != theirs.line():
                yield Change(item_id, mine, theirs)

    @cached_property
    def sha256(self) -> str:
        """The content hash, hexadecimal."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def labels(self) -> Mapping[str, int]:
        """How many items have each label, by label."""
        return dict(sorted(Counter(row.label for row in self.rows).items()))

    def to_arrow(self, *, content: bool = False) -> pyarrow.Table:
        """The rows as an Arrow table (see the module for its columns)."""
        try:
            import pyarrow as pa

            from ledger.columnar.snapshot import as_arrow
        except ImportError as error:
            raise _missing_frames() from error
        columns: list[tuple[str, Any]] = [
            ("id", pa.string()),
            ("record", pa.string()),
            ("label", pa.string()),
            ("geometry_type", pa.string()),
            ("coordinates", pa.list_(pa.float64())),
            ("split", pa.string()),
        ]
        if content:
            columns += [("content", pa.string()), ("attributes", pa.string())]
        values = zip(*(_cells(row) for row in self.rows), strict=True)
        found = list(values) or [()] * 8
        table = pa.table(
            [pa.array(found[i], type=kind) for i, (_, kind) in enumerate(columns)],
            schema=pa.schema(columns),
        )
        return as_arrow(table, self.contract)

    def to_polars(self, *, content: bool = False) -> polars.DataFrame:
        """The rows as a Polars frame (see the module for its columns)."""
        try:
            import polars as pl
        except ImportError as error:
            raise _missing_frames() from error
        frame = pl.from_arrow(self.to_arrow(content=content))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def write(self, target: BinaryIO, format: Format = "jsonl", *, content: bool = False) -> None:
        """Write the rows to an open binary file.

        With content, JSON lines carry `content` and `attributes` too; they are then no longer the
        canonical bytes, which the content hash is of.
        """
        match format:
            case "jsonl":
                for row in self.rows:
                    target.write(_with_content(row) if content else row.line())
            case "parquet":
                table = self.to_arrow(content=content)
                import pyarrow.parquet as pq

                pq.write_table(table, target)
            case "csv":
                target.writelines(self._csv(content=content))

    def _csv(self, *, content: bool) -> Iterator[bytes]:
        names = ["id", "record", "label", "geometry_type", "coordinates", "split"]
        yield _csv_line(names + (["content", "attributes"] if content else []))
        for row in self.rows:
            cells = list(_cells(row))[: 8 if content else 6]
            cells[4] = None if cells[4] is None else json.dumps(cells[4])
            yield _csv_line(cells)

    def save(self, path: Path, format: Format = "jsonl", *, content: bool = False) -> None:
        """Write the rows to a file, which appears, or changes, only once it is whole.

        A link stays a link, and a pipe or a device is written into.
        """
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                self.write(file, format, content=content)
            return
        path = Path(os.path.realpath(path))
        partial = path.with_name(f".{new_id()}.partial")
        try:
            with partial.open("xb") as file:
                self.write(file, format, content=content)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _cells(row: Row) -> tuple[Any, ...]:
    geometry = row.geometry
    return (
        row.item_id,
        row.record_id,
        row.label,
        geometry.type if geometry else None,
        list(geometry.coordinates) if geometry else None,
        row.split,
        row.content,
        json.dumps(row.attributes, ensure_ascii=False, sort_keys=True) if row.attributes else None,
    )


_CSV_QUOTED = re.compile('[",\r\n]')


def _csv_line(cells: Iterable[str | None]) -> bytes:
    """One line as RFC 4180 quotes it; Python's writer leaves a lone carriage return bare, which
    no reader takes.
    """
    texts = ("" if cell is None else cell for cell in cells)
    quoted = (
        '"' + text.replace('"', '""') + '"' if _CSV_QUOTED.search(text) else text for text in texts
    )
    return (",".join(quoted) + "\n").encode()


def _with_content(row: Row) -> bytes:
    fields = row.fields()
    if row.content is not None:
        fields["content"] = row.content
    if row.attributes:
        fields["attributes"] = dict(sorted(row.attributes.items()))
    return (json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _missing_frames() -> ConfigurationError:
    return ConfigurationError(
        "frames and Parquet need the extra `frames`: pip install 'errata[frames]'"
    )
