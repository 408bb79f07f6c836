"""What the live rows say of the present: the items, and what became of each correction.

Both are what the last live row says, so that one batch of rows is put on top of what is there, and
a rollback is answered by asking the remaining rows again. Frames here are those of
`ledger.columnar.delta`, or columns of them, in the order of partition and offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import polars as pl

from ledger.columnar.delta import CHANGES, Delta
from ledger.views.schema import PARTITION

Spans = list[tuple[int, int]]
"""The live ranges `[start, stop)` of a partition, ascending."""
FOREVER = PARTITION
"""The end of the last live range: whatever comes is live."""

_ITEM = ("partition", "item_offset")
_RECORD = ("partition", "record_id")
_SAID = ("partition", "offset", "item_id", "record_id", "label", "unresolved", "contract")
_SHOWN = ("geometry_type", "coordinates", "split", "attributes")
ITEMS: Mapping[str, Any] = {
    **{name: CHANGES[name] for name in (*_SAID, *_SHOWN)},
    "registered": CHANGES["offset"],
    "changed": CHANGES["offset"],
    "timestamp_ms": CHANGES["timestamp_ms"],
}
CHANGED: Mapping[str, Any] = {
    name: kind for name, kind in CHANGES.items() if name in {"item_offset", "outcome", *ITEMS}
}
"""The columns of CHANGES that `items` reads."""


def items(changes: pl.DataFrame) -> pl.DataFrame:
    """The items that live changes make, by offset; what none of them says is null."""
    brought = pl.col("outcome") != "applied"
    said = changes.select(
        pl.exclude("attributes", "split"),
        pl.col("split").alias("first"),
        pl.when(brought).then("attributes").alias("given"),
        pl.when(brought).then("offset").alias("registered"),
    )
    if not all(said[name].n_unique() == len(said) for name in ("item_offset", "record_id")):
        said = _together(said)
    return said.select(
        "partition",
        pl.col("item_offset").alias("offset"),
        *("item_id", "record_id", "label", "unresolved", "contract"),
        *("geometry_type", "coordinates", pl.col("first").alias("split")),
        pl.col("given").alias("attributes"),
        "registered",
        pl.col("offset").alias("changed"),
        "timestamp_ms",
    ).sort("partition", "offset")


def _together(said: pl.DataFrame) -> pl.DataFrame:
    """The last change of each item, with what any of its changes brought, and any of its record
    said of the split.
    """
    last = said.drop("given", "registered", "first").unique(_ITEM, keep="last", maintain_order=True)
    given = said.filter(pl.col("registered").is_not_null()).unique(_ITEM, keep="first")
    splits = said.filter(pl.col("first").is_not_null()).unique(_RECORD, keep="first")
    return last.join(given.select(*_ITEM, "given", "registered"), on=_ITEM, how="left").join(
        splits.select(*_RECORD, "first"), on=_RECORD, how="left"
    )


def telling(changes: pl.DataFrame) -> pl.DataFrame:
    """The changes that `items` still needs: registrations, and the last of each item."""
    last = changes.select(pl.struct(_ITEM).is_last_distinct()).to_series()
    return changes.filter(last | (pl.col("outcome") != "applied"))


def standing(reviews: pl.DataFrame) -> pl.DataFrame:
    """What live reviews make of their corrections, by the offset of each: partition,
    correction_offset, status, and by whom, where and when it was decided (null while it is open).
    """
    key = ("partition", "correction_offset")
    last = (
        reviews.filter(pl.col("outcome") != "voted")
        .unique(key, keep="last", maintain_order=True)
        .sort(key)
    )
    settled = pl.col("outcome") != "escalated"
    return last.select(
        *key,
        pl.col("outcome").alias("status"),
        pl.when(settled).then("actor").alias("decided_by"),
        pl.when(settled).then("offset").alias("decided_offset"),
        pl.when(settled).then("timestamp_ms").alias("decided_ms"),
    )


def earlier(delta: Delta) -> pl.DataFrame:
    """What the reviews of a batch make of corrections from before it, all of it live."""
    return standing(
        delta.reviews.join(
            delta.corrections, left_on="correction_offset", right_on="offset", how="anti"
        )
    )


def stand(corrections: pl.DataFrame, reviews: pl.DataFrame, spans: Spans) -> pl.DataFrame:
    """Corrections with what the reviews make of them, where both are live; `void` are others."""
    alive = live(spans)
    found = standing(reviews.filter(alive)).rename({"correction_offset": "offset"})
    joined = corrections.join(found, on=("partition", "offset"), how="left")
    status = pl.when(alive).then(pl.col("status").fill_null("proposed")).otherwise(pl.lit("void"))
    return joined.with_columns(status).sort("partition", "offset")


def live(spans: Spans) -> pl.Expr:
    """Whether a row's offset is in one of the spans."""
    found = pl.lit(value=False)
    for start, stop in spans:
        found |= pl.col("offset").is_between(start, stop, closed="left")
    return found


def apart(one: Spans, other: Spans) -> Spans:
    """The ranges that are in exactly one of the two."""
    edges = sorted({edge for span in (*one, *other) for edge in span})
    found: Spans = []
    for start, stop in pairwise(edges):
        if any(a <= start < b for a, b in one) != any(a <= start < b for a, b in other):
            found.append((start, stop))
    return found


def below(spans: Spans, stop: int) -> Spans:
    """The spans as far as they are below an offset."""
    return [(start, min(end, stop)) for start, end in spans if start < stop]


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Coordinates as JSON, which SQLite can hold and anybody read."""
    numbers = pl.col("coordinates").list.eval(pl.element().cast(pl.String)).list.join(",")
    return frame.with_columns(pl.concat_str(pl.lit("["), numbers, pl.lit("]")).alias("coordinates"))


def as_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """The inverse of `as_text`: exactly the same numbers."""
    text, kind = pl.col("coordinates"), pl.List(pl.Float64)
    numbers = text.str.strip_chars("[]").str.split(",").cast(kind, strict=False)
    none = pl.lit([], dtype=kind)
    return frame.with_columns(
        pl.when(text == "[]").then(none).otherwise(numbers).alias("coordinates")
    )
