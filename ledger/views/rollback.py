"""The present after rows stopped being live, or began to be again: asked anew where it may differ.

Only records with a change, and corrections with a proposal or a review, in what was voided or
revived are looked at; the rows that are live now say what they are.
"""

from __future__ import annotations

import polars as pl

from ledger.columnar.delta import CHANGES, REVIEWS
from ledger.views import present
from ledger.views.file import Connection
from ledger.views.present import Spans
from ledger.views.tables import insert, settle

_ROWS = ("changes", "corrections", "reviews", "refusals")
_TOUCHED = """(touched AS t JOIN {table} AS c ON c.item_id = t.record_id
    OR (c.item_id > t.record_id || '#' AND c.item_id < t.record_id || '$'))"""
_CHANGES = {name: CHANGES[name] for name in present.NEEDED} | {"coordinates": pl.String}
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
    within = _within(changed)
    connection.rows(
        f"""CREATE TEMP TABLE touched AS SELECT DISTINCT record_id FROM changes
            WHERE partition = {partition} AND {within}"""
    )
    connection.rows(
        f"""CREATE TEMP TABLE decided AS
            SELECT offset FROM corrections WHERE partition = {partition} AND {within}
            UNION SELECT correction_offset FROM reviews WHERE partition = {partition} AND {within}
        """
    )
    for table in _ROWS:
        connection.rows(
            f"DELETE FROM {table} WHERE partition = ? AND offset >= ?", (partition, start)
        )
    _stand(connection, partition, spans)
    return _items(connection, partition, spans)


def _items(connection: Connection, partition: int, spans: Spans) -> pl.DataFrame:
    rows = connection.frame(
        _CHANGES,
        f"""(SELECT c.* FROM {_TOUCHED.format(table="changes")}
            WHERE c.partition = {partition} ORDER BY c.offset)""",
    )
    items = present.items(present.as_numbers(rows.filter(present.live(spans))))
    for table in ("split_items", "items"):
        connection.rows(
            f"""DELETE FROM {table} WHERE (partition, offset) IN
                (SELECT c.partition, c.offset FROM {_TOUCHED.format(table="items")})"""
        )
    insert(connection, "items", items)
    return items


def _stand(connection: Connection, partition: int, spans: Spans) -> None:
    """What became of the corrections whose standing may differ."""
    corrections = connection.frame(
        {"partition": pl.Int32, "offset": pl.Int64},
        f"corrections WHERE partition = {partition} AND offset IN (SELECT offset FROM decided)",
    )
    reviews = connection.frame(
        _REVIEWS,
        f"""(SELECT * FROM reviews WHERE partition = {partition}
            AND correction_offset IN (SELECT offset FROM decided) ORDER BY offset)""",
    )
    found = present.stand(corrections, reviews.filter(present.live(spans)))
    void = pl.when(present.live(spans))
    settle(
        connection,
        found.with_columns(
            void.then("status").otherwise(pl.lit("void")).alias("status"),
            *(void.then(name) for name in ("decided_by", "decided_offset", "decided_ms")),
        ).rename({"offset": "correction_offset"}),
    )


def _within(ranges: Spans) -> str:
    parts = [f"offset >= {start} AND offset < {stop}" for start, stop in ranges]
    return f"({' OR '.join(parts)})" if parts else "FALSE"
