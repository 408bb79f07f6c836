"""The rows of a timeline as one file, so that a fresh process need not sort a dataset's ids again.

It is made of the segments that certain manifests name, by whoever had them all at hand, and its
name says which manifests and what its bytes hash to. One that is damaged or of other manifests is
passed over and made again; nothing is lost with it. Columns stand in Arrow's stream format,
lightly compressed: whoever asks for one version waits until that is undone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import structlog
from numpy.typing import NDArray

from ledger.checkpoints.files import Files
from ledger.checkpoints.manifest import ours
from ledger.checkpoints.rows import Kind, Rows
from ledger.errors import CheckpointsUnavailable, InvalidSetting

_FORMAT = 3
_FOLDER = "timeline"
_NAME = re.compile(_FOLDER + r"/([0-9a-f]{16})-([0-9a-f]{16})\.arrow", re.ASCII)
_say = structlog.get_logger("errata.checkpoints")


def rows_at_hand(files: Files, manifests: Sequence[str], make: Callable[[], Rows]) -> Rows:
    """The rows of these manifests: from the file, or made, and then kept as the file.

    Args:
        files: where the checkpoints are.
        manifests: the names of the manifests.
        make: makes the rows of the segments.
    """
    key = hashlib.sha256("\n".join([str(_FORMAT), *manifests]).encode()).hexdigest()[:16]
    listed = list(files.list(_FOLDER))
    for name in listed:
        match = _NAME.fullmatch(name)
        if match and match[1] == key:
            data = files.read(name)
            if data is not None and hashlib.sha256(data).hexdigest()[:16] == match[2]:
                return load(data)
            _say.warning("timeline made again", why=f"{name} at {files.url} is damaged")
    rows = make()
    _keep(files, key, rows, listed)
    return rows


def _keep(files: Files, key: str, rows: Rows, before: Iterable[str]) -> None:
    """Write the file; a reader that may not write does without."""
    data = dump(rows)
    name = f"{_FOLDER}/{key}-{hashlib.sha256(data).hexdigest()[:16]}.arrow"
    try:
        files.put(name, data)
        for each in before:
            if each != name and ours(each):
                files.delete(each)
    except (CheckpointsUnavailable, InvalidSetting) as error:
        _say.debug("timeline not kept", why=str(error))


def dump(rows: Rows) -> bytes:
    """The rows as bytes."""
    about = {
        "bounds": rows.bounds.tolist(),
        "kinds": [list(kind) for kind in rows.kinds],
        "none": int(rows.kind[-1]),
        "splits": list(rows.splits),
        "words": [len(bits) for bits in rows.there],
    }
    items: dict[str, Any] = {"id": rows.ids}
    if rows.records is not rows.ids:
        items |= {"records": rows.records, "record": rows.record}
    changes: dict[str, Any] = {"item": rows.item, "kind": rows.kind[:-1]}
    if rows.splits:
        none = len(rows.splits)
        changes["split"] = np.full(rows.count, none, np.min_scalar_type(none))
        changes["split"][rows.split_row] = rows.split
    for name in ("geometry_type", "coordinates", "attributes"):
        column = getattr(rows, name)
        if column is not None:
            changes[name] = column
    there = {"bits": np.concatenate([np.empty(0, np.uint64), *rows.there])}
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    for columns, more in ((items, about), (changes, {}), (there, {})):
        table = pa.table(columns).replace_schema_metadata({"about": json.dumps(more)})
        with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
            stream.write_table(table)
    return sink.getvalue().to_pybytes()


def load(data: bytes) -> Rows:
    """The rows of bytes that `dump` made."""
    source = pa.BufferReader(data)
    items, changes, there = (pa.ipc.open_stream(source).read_all() for _ in range(3))
    about: dict[str, Any] = json.loads((items.schema.metadata or {})[b"about"])
    ids = _array(items, "id")
    own = "records" not in items.column_names
    kind = _numbers(changes, "kind")
    splits: list[str] = about["splits"]
    split = _numbers(changes, "split") if splits else np.empty(0, np.uint8)
    split_row = np.flatnonzero(split != len(splits))
    return Rows(
        ids=ids,
        records=ids if own else _array(items, "records"),
        record=np.arange(len(ids), dtype=np.int32) if own else _numbers(items, "record"),
        bounds=np.array(about["bounds"], np.int64),
        there=np.split(_numbers(there, "bits"), np.cumsum(about["words"])[:-1]),
        item=_numbers(changes, "item"),
        kind=np.append(kind, kind.dtype.type(about["none"])),
        kinds=[Kind(*each) for each in about["kinds"]],
        split_row=split_row,
        split=split[split_row],
        splits=splits,
        geometry_type=_array(changes, "geometry_type"),
        coordinates=_array(changes, "coordinates"),
        attributes=_array(changes, "attributes"),
    )


def _array(table: pa.Table, name: str) -> Any:
    if name not in table.column_names:
        return None
    column: Any = table.column(name)
    arrow: Any = pa
    if column.num_chunks == 1:
        return column.chunk(0)
    return arrow.concat_arrays([arrow.array([], column.type), *column.chunks])


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    return _array(table, name).to_numpy()
