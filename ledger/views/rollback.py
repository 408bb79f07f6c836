"""The present after rows stopped being live, or began to be again: asked anew where it may differ.

Only records with a change, and corrections with a proposal or a review, in what was voided or
revived are looked at; the rows that are live now say what they are.
"""

from __future__ import annotations

import polars as pl

from ledger.columnar.delta import REVIEWS
from ledger.views import present
from ledger.views.file import Connection
from ledger.views.present import Spans
from ledger.views.schema import PARTITION
from ledger.views.tables import insert, settle

_ROWS = ("changes", "corrections", "reviews", "refusals")
_TOUCHED = """(touched AS t JOIN {table} AS c ON c.item_id = t.record_id
    OR (c.item_id > t.record_id || '#' AND c.item_id < t.record_id || '$'))"""
_CHANGES = {**present.CHANGED, "coordinates": pl.String}
_REVIEWS = {
    name: REVIEWS[name]
    for name in ("partition", "offset", "timestamp_ms", "actor", "correction_offset", "outcome")
}


def align(
    connection: Connection, partition: int, changed: Spans, spans: Spans, start: int
) -> pl.DataFrame:
    """Drop the rows at `start` and beyond, and let the present follow from what is live.

    Args:
        connection: in a transaction.
        partition: the partition.
        changed: the ranges whose rows were live before, or are now, but not both.
        spans: what is live now.
        start: where the rows end now.

    Returns:
        The items that were asked anew.
    """
    for table in ("touched", "decided"):
        connection.rows(f"DROP TABLE IF EXISTS temp.{table}")
    within = _within(partition, changed)
    connection.rows(
        f"CREATE TEMP TABLE touched AS SELECT DISTINCT record_id FROM changes WHERE {within}"
    )
    connection.rows(
        f"""CREATE TEMP TABLE decided AS SELECT id FROM corrections WHERE {within}
            UNION SELECT correction FROM reviews WHERE {within}"""
    )
    for table in _ROWS:
        connection.rows(f"DELETE FROM {table} WHERE {_within(partition, [(start, PARTITION)])}")
    _stand(connection, partition, spans)
    return _items(connection, partition, spans)


def _items(connection: Connection, partition: int, spans: Spans) -> pl.DataFrame:
    rows = connection.frame(
        _CHANGES,
        f"""(SELECT c.*, c.item % {PARTITION} AS item_offset
            FROM {_TOUCHED.format(table="changes")} ORDER BY c.id)""",
    )
    items = present.items(present.as_numbers(rows.filter(present.live(spans))))
    for table in ("split_items", "items"):
        connection.rows(
            f"DELETE FROM {table} WHERE id IN (SELECT c.id FROM {_TOUCHED.format(table='items')})"
        )
    insert(connection, "items", partition, items)
    return items


def _stand(connection: Connection, partition: int, spans: Spans) -> None:
    """What became of the corrections whose standing may differ."""
    corrections = connection.frame(
        {"partition": pl.Int32, "offset": pl.Int64},
        "(SELECT * FROM corrections WHERE id IN (SELECT id FROM decided) ORDER BY id)",
    )
    reviews = connection.frame(
        _REVIEWS,
        f"""(SELECT *, correction % {PARTITION} AS correction_offset FROM reviews
            WHERE correction IN (SELECT id FROM decided) ORDER BY id)""",
    )
    found = present.stand(corrections, reviews, spans)
    settle(connection, partition, found.rename({"offset": "correction_offset"}))


def _within(partition: int, ranges: Spans) -> str:
    """Which ids are those of the ranges."""
    first = partition * PARTITION
    parts = [f"id >= {first + start} AND id < {first + stop}" for start, stop in ranges]
    return f"({' OR '.join(parts)})" if parts else "FALSE"
