"""Whether two views say the same, table by table: one that was kept as the log grew, and one that
was made from the log beside it. The rows at a place are the same whoever wrote them, so that any
difference is damage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ledger.views.file import Connection
from ledger.views.schema import PARTITION, TABLES

SHOWN_MAX = 5
"""So many rows of a table are named."""
_SCHEMA = "SELECT type, name, tbl_name, sql FROM {of}.sqlite_schema"
_NAMES = ("item_id", "correction_id", "record_id")


class _Table(NamedTuple):
    name: str
    keys: list[str]
    others: list[str]


def differences(connection: Connection, beside: Path, moving: Collection[int]) -> Iterator[str]:
    """What is wrong with a view, in sentences.

    Args:
        connection: to the view, with no other file attached.
        beside: the file of a view that is right.
        moving: partitions that are not looked at.

    Raises:
        ViewsDamaged: it cannot even be read.
    """
    checked = connection.rows(f"PRAGMA main.integrity_check({SHOWN_MAX})")
    yield from (f"SQLite finds: {said}" for (said,) in checked if said != "ok")
    connection.rows("ATTACH ? AS beside", (f"file:{quote(str(beside))}?mode=ro",))
    one, other = (sorted(connection.rows(_SCHEMA.format(of=of))) for of in ("main", "beside"))
    if one != other:
        yield "its tables, indexes and views are not those that were made"
        return
    for name in TABLES:
        columns = connection.rows("SELECT name, pk FROM pragma_table_info(?)", (name,))
        table = _Table(name, [c for c, key in columns if key], [c for c, key in columns if not key])
        yield from _of_table(connection, table, moving)


def _of_table(connection: Connection, table: _Table, moving: Collection[int]) -> Iterator[str]:
    for here, there, said in (
        ("main", "beside", "has {row}, which the log does not make"),
        ("beside", "main", "lacks {row}"),
    ):
        yield from _said(table, said, connection.rows(_query(table, here, there, moving)))
    if table.others:
        rows = connection.rows(_query(table, "main", "beside", moving, differing=True))
        yield from _said(table, "has {row} other than the log makes it", rows)


def _query(
    table: _Table, here: str, there: str, moving: Collection[int], *, differing: bool = False
) -> str:
    """The keys of rows that are here and not there; or of those that are other there."""
    on = " AND ".join(f"a.{key} = b.{key}" for key in table.keys)
    one, other = (", ".join(f"{of}.{column}" for column in table.others) for of in ("a", "b"))
    where = f"({one}) IS NOT ({other})" if differing else f"b.{table.keys[0]} IS NULL"
    name = next((f"a.{each}" for each in _NAMES if each in table.others), "NULL")
    shown = ", ".join(f"a.{key}" for key in table.keys)
    return (
        f"SELECT {name}, {shown} FROM {here}.{table.name} AS a"
        f" {'' if differing else 'LEFT '}JOIN {there}.{table.name} AS b ON {on}"
        f" WHERE {where} AND {_settled(table, moving)} LIMIT {SHOWN_MAX + 1}"
    )


def _settled(table: _Table, moving: Collection[int]) -> str:
    """Whether a row is of no partition that is moving."""
    listed = ", ".join(str(int(each)) for each in moving)
    if table.keys == ["id"]:
        return f"a.id / {PARTITION} NOT IN ({listed})"
    return f"a.partition NOT IN ({listed})" if "partition" in table.keys else "TRUE"


def _said(table: _Table, said: str, rows: list[tuple[object, ...]]) -> Iterator[str]:
    for name, *keys in rows[:SHOWN_MAX]:
        row = f"the row {_key(table, keys)}" + (f" ({name})" if name is not None else "")
        yield f"the table {table.name} {said.format(row=row)}"
    if len(rows) > SHOWN_MAX:
        yield f"the table {table.name} {said.format(row='more such rows')}"


def _key(table: _Table, keys: list[object]) -> str:
    if table.keys == ["id"] and isinstance(keys[0], int):
        return "labels/{}@{}".format(*divmod(keys[0], PARTITION))
    return ", ".join(f"{name} {key}" for name, key in zip(table.keys, keys, strict=True))
