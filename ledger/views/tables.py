"""What a view's writer says to SQLite: rows in, the present on top, and how far it came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from ledger.columnar.delta import SCHEMAS, Delta
from ledger.columnar.restore import NEEDED
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import ViewsDamaged
from ledger.logs.base import Topic
from ledger.views import present, schema
from ledger.views.file import APPLICATION_ID, Connection, filled
from ledger.views.present import Spans

_UPSERT = """ON CONFLICT (id) DO UPDATE SET
    label = excluded.label, unresolved = excluded.unresolved, contract = excluded.contract,
    geometry_type = excluded.geometry_type, coordinates = excluded.coordinates,
    split = coalesce(split, excluded.split),
    attributes = coalesce(attributes, excluded.attributes),
    registered = coalesce(registered, excluded.registered),
    changed = excluded.changed, timestamp_ms = excluded.timestamp_ms"""
_IDS = {
    "offset": "id",
    "item_offset": "item",
    "correction_offset": "correction",
    "registered": "registered",
    "changed": "changed",
    "decided_offset": "decided",
}
_ELSEWHERE = {
    "changes": ("partition", "record_id"),
    "corrections": ("partition", "record_id"),
    "reviews": ("partition", "record_id", "item_id", "correction_id"),
    "refusals": ("partition",),
    "items": ("partition", "record_id"),
}
# Items of a record: its own, and those whose ids begin with it and `#`, which `$` follows.
_SHARE = """UPDATE items SET split = ?1 WHERE split IS NULL
    AND (item_id = ?2 OR (item_id > ?2 || '#' AND item_id < ?2 || '$'))"""
_TAKE = """UPDATE items SET split = (SELECT of.split FROM items AS of WHERE of.split IS NOT NULL
    AND (of.item_id = ?1 OR (of.item_id > ?1 || '#' AND of.item_id < ?1 || '$')) LIMIT 1)
    WHERE id = {first} + ?2 AND ?2 >= {since}"""
_DECIDE = """UPDATE corrections SET status = ?1, decided_by = iif(?1 = 'escalated', NULL, ?2),
    decided = iif(?1 = 'escalated', NULL, {first} + ?3),
    decided_ms = iif(?1 = 'escalated', NULL, ?4) WHERE id = {first} + ?5 AND ?1 <> 'voted'"""

_SAME_FROM = 1_000
_WRITTEN_MAX = 100
ALL = [(0, present.FOREVER)]


class Place(NamedTuple):
    """How far a partition is folded."""

    offset: int
    """The next one to fold."""
    epoch: int
    governance: int
    """The end of the governance that is known in it."""


def create(connection: Connection, dataset: Dataset) -> None:
    """Make the tables, without what `schema.finish` adds, of a view that has read nothing yet."""
    connection.rows(f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in schema.tables():
        connection.rows(statement)
    for row in describe(dataset).items():
        connection.rows("INSERT INTO about VALUES (?, ?)", row)
    places = [(Topic.LABELS.value, partition) for partition in range(dataset.partitions)]
    for topic, partition in [(Topic.GOVERNANCE.value, 0), *places]:
        connection.rows("INSERT INTO progress VALUES (?, ?, 0, 0, 0)", (topic, partition))
    for partition in range(dataset.partitions):
        write_spans(connection, partition, ALL)


def describe(dataset: Dataset) -> dict[str, str]:
    """What a view is of: as long as all of it is the same, its rows are rows of this log."""
    topics = dataset.log.topic_ids()
    return {
        "dataset": dataset.log.dataset,
        "version of the tables": str(schema.VERSION),
        "partitions": str(dataset.partitions),
        "cluster": dataset.log.cluster_id(),
        **{f"topic {name}": topics[name] for name in (Topic.LABELS, Topic.GOVERNANCE)},
    }


def recognise(connection: Connection, dataset: Dataset) -> None:
    """Refuse a file that holds no view of this dataset.

    Raises:
        ViewsDamaged: what it is instead.
    """
    found = {str(name): str(value) for name, value in connection.rows("SELECT * FROM about")}
    for name, value in describe(dataset).items():
        if found.get(name) != value:
            raise ViewsDamaged(
                f"the views at {connection.file} are of {name} {found.get(name)!r}, and the log "
                f"at {dataset.log.url} has {value!r}. Name another file with ERRATA_VIEWS, or "
                "delete this one or run `errata rebuild`"
            )


def places(connection: Connection, partition: int) -> tuple[Place, Place]:
    """Where a partition stands, and governance."""
    rows = connection.rows(
        f"""SELECT offset, epoch, governance FROM progress
            WHERE (topic = '{Topic.LABELS}' AND partition = {partition:d})
                OR (topic = '{Topic.GOVERNANCE}' AND partition = 0) ORDER BY topic DESC"""
    )
    if len(rows) != 2:
        raise ViewsDamaged(f"the views at {connection.file} know no partition {partition}")
    return Place(*rows[0]), Place(*rows[1])


def position_of(connection: Connection) -> Position:
    """How far every partition stands, and governance. It need not be closed."""
    rows = connection.rows("SELECT topic, offset FROM progress ORDER BY partition")
    labels = tuple(offset for topic, offset in rows if topic == Topic.LABELS)
    return Position(labels, next(offset for topic, offset in rows if topic == Topic.GOVERNANCE))


def put_place(connection: Connection, topic: Topic, partition: int, place: Place) -> None:
    """Let a partition stand there."""
    connection.rows(
        """UPDATE progress SET offset = ?, epoch = ?, governance = ?
            WHERE topic = ? AND partition = ?""",
        (*place, topic.value, partition),
    )


def spans_of(connection: Connection, partition: int) -> Spans:
    """The live ranges of a partition."""
    query = "SELECT start, stop FROM spans WHERE partition = ? ORDER BY start"
    return [(start, stop) for start, stop in connection.rows(query, (partition,))]


def write_spans(connection: Connection, partition: int, spans: Spans) -> None:
    """Replace the live ranges of a partition."""
    connection.rows("DELETE FROM spans WHERE partition = ?", (partition,))
    for span in spans:
        connection.rows("INSERT INTO spans VALUES (?, ?, ?)", (partition, *span))


def add(connection: Connection, partition: int, delta: Delta) -> None:
    """Insert rows of one partition, all live, and let the present follow."""
    insert(connection, "changes", partition, delta.changes)
    insert(connection, "reviews", partition, delta.reviews)
    insert(connection, "refusals", partition, delta.refusals)
    if len(delta.corrections):
        insert(connection, "corrections", partition, present.opened(delta.corrections))
    _decide(connection, partition, delta.reviews)
    if len(delta.changes):
        items = present.items(delta.changes)
        insert(connection, "items", partition, items, _UPSERT)
        _share_splits(connection, partition, items, int(delta.changes["offset"][0]))


def rows(connection: Connection, partition: int, spans: Spans) -> Delta:
    """The rows of some ranges of a partition, as far as a fold is restored from them: the columns
    that `ledger.columnar.restore` needs.
    """
    return Delta(*(_rows(connection, table, partition, spans) for table in Delta._fields))


def _rows(connection: Connection, table: str, partition: int, spans: Spans) -> pl.DataFrame:
    kinds = dict(zip(Delta._fields, SCHEMAS, strict=True))[table]
    types = {name: kinds[name] for name in NEEDED[table]}
    stored = {name: pl.String() if name == "coordinates" else types[name] for name in types}
    first = partition * schema.PARTITION
    offsets = "".join(
        f", {name} % {schema.PARTITION} AS {offset}"
        for offset, name in _IDS.items()
        if offset in types and offset != "offset"
    )
    parts = [
        connection.frame(
            stored,
            f"(SELECT *{offsets} FROM {table} WHERE id >= ? AND id < ? ORDER BY id)",
            (first + start, first + stop),
        )
        for start, stop in spans
    ]
    found = pl.concat([pl.DataFrame(schema=stored), *parts])
    return present.as_numbers(found) if "coordinates" in types else found


def insert(
    connection: Connection, table: str, partition: int, frame: pl.DataFrame, more: str = ""
) -> None:
    """Insert rows of one partition. What the table computes, or finds elsewhere, is left out, and
    so are columns without any value.
    """
    names = [name for name in filled(frame) if name not in _ELSEWHERE[table]]
    if not names:
        return
    if "coordinates" in names:
        frame = present.as_text(frame)
    same = _same(frame, names)
    bound = [name for name in names if name not in same]
    first = partition * schema.PARTITION
    columns = ", ".join(_IDS.get(name, name) for name in names)
    cells = ((f"{first} + " if name in _IDS else "") + same.get(name, "?") for name in names)
    values = ", ".join(cells)
    connection.many(f"INSERT INTO {table} ({columns}) VALUES ({values}) {more}", frame[bound])


def _same(frame: pl.DataFrame, names: Iterable[str]) -> dict[str, str]:
    """As SQL, what columns say that say the same in every row: it is not bound for each, for time.
    Of few rows none is: to look takes longer.
    """
    if len(frame) < _SAME_FROM:
        return {}
    found: dict[str, str] = {}
    for name in names:
        column = frame[name]
        value = column[0]
        if value is None or value != column[-1] or column.null_count():
            continue
        written = _written(value)
        if written is not None and not (column != value).any():
            found[name] = written
    return found


def _written(value: object) -> str | None:
    """A value as SQL; None where that would be long, or is not exact."""
    if isinstance(value, str) and len(value) <= _WRITTEN_MAX and "\0" not in value:
        return "'" + value.replace("'", "''") + "'"
    return str(value) if isinstance(value, int) else None


def settle(connection: Connection, partition: int, standing: pl.DataFrame) -> None:
    """Say what became of corrections; `standing` has the columns of `present.standing`."""
    first = partition * schema.PARTITION
    connection.many(
        f"""UPDATE corrections SET status = ?, decided_by = ?, decided = {first} + ?,
            decided_ms = ? WHERE id = {first} + ?""",
        standing[["status", "decided_by", "decided_offset", "decided_ms", "correction_offset"]],
    )


def _decide(connection: Connection, partition: int, reviews: pl.DataFrame) -> None:
    """Let corrections follow reviews, all live, one after the other."""
    said = reviews[["outcome", "actor", "offset", "timestamp_ms", "correction_offset"]]
    connection.many(_DECIDE.format(first=partition * schema.PARTITION), said)


def _share_splits(connection: Connection, partition: int, items: pl.DataFrame, since: int) -> None:
    """A split is its record's: items of one record have the same, whichever event gave it.

    Args:
        connection: where the items are already.
        partition: theirs.
        items: those of a batch, with the splits that the batch gave.
        since: items made before this offset were there before the batch.
    """
    without, split = items["split"].null_count(), pl.col("split")
    gave = items.filter(split.is_not_null()) if 0 < without < len(items) else items
    if without < len(items):
        connection.many(_SHARE, gave[["split", "record_id"]])
    none = items.filter(split.is_null()) if 0 < without < len(items) else items
    if without:
        take = _TAKE.format(first=partition * schema.PARTITION, since=since)
        connection.many(take, none[["record_id", "offset"]])
