"""What the live rows say of the present: the items, and what became of each correction.

Both are what the last live row says, so that one batch of rows is put on top of what is there, and
a rollback is answered by asking the remaining rows again. Frames here are those of
`ledger.columnar.delta`, or columns of them, in the order of partition and offset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from ledger.columnar.delta import CHANGES, Delta
from ledger.columnar.strings import Bools, Ints
from ledger.views.schema import PARTITION

Spans = list[tuple[int, int]]
"""The live ranges `[start, stop)` of a partition, ascending."""
FOREVER = PARTITION
"""The end of the last live range: whatever comes is live."""

_ITEM = ("partition", "offset")
_RECORD = ("partition", "record_id")
_SAID = ("partition", "offset", "item_id", "record_id", "label", "unresolved", "contract")
_SHOWN = ("geometry_type", "coordinates", "split", "attributes")
ITEMS: Mapping[str, Any] = {
    **{name: CHANGES[name] for name in (*_SAID, *_SHOWN)},
    "registered": CHANGES["offset"],
    "changed": CHANGES["offset"],
    "timestamp_ms": CHANGES["timestamp_ms"],
}
_FROM = {"offset": "item_offset", "registered": "offset", "changed": "offset"}
"""The columns of CHANGES that have other names in ITEMS."""
_BROUGHT = ("attributes", "registered")
"""What is the item's own of the change that made it."""
_NONE = {name: pl.Series([None], dtype=ITEMS[name]) for name in _BROUGHT}
_DECIDING = {
    "partition": "partition",
    "correction_offset": "correction_offset",
    "outcome": "status",
    "actor": "decided_by",
    "offset": "decided_offset",
    "timestamp_ms": "decided_ms",
}
"""What reviews say of their corrections, and how that is named there."""
CHANGED: Mapping[str, Any] = {
    name: kind for name, kind in CHANGES.items() if name in {"item_offset", "outcome", *ITEMS}
}
"""The columns of CHANGES that `items` reads."""


def items(changes: pl.DataFrame) -> pl.DataFrame:
    """The items that live changes make, by offset; what none of them says is null."""
    brought = changes["outcome"] != "applied"
    columns = {name: changes[_FROM.get(name, name)] for name in ITEMS}
    for name in _BROUGHT:
        columns[name] = columns[name].zip_with(brought, _NONE[name])
    # Column by column: Polars' engine takes longer to begin than one event may take altogether.
    said = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    if not all(said[name].n_unique() == len(said) for name in ("offset", "record_id")):
        said = _together(said)
    return said if said["offset"].is_sorted() else said.sort(_ITEM)


def _together(said: pl.DataFrame) -> pl.DataFrame:
    """The last change of each item, with what any of its changes brought, and any of its record
    said of the split.
    """
    ids = said["partition"].to_numpy().astype(np.int64) * PARTITION + said["offset"].to_numpy()
    order = np.argsort(ids, kind="stable")
    last = order[_lasts(ids[order])]
    items = said[last]
    given = items.drop(*_BROUGHT).hstack(_first(said, ids, ids[last], "registered", _BROUGHT))
    if items["record_id"].n_unique() == len(items):  # then a record's rows are its item's
        given = given.drop("split").hstack(_first(said, ids, ids[last], "split", ["split"]))
    else:
        splits = said.filter(pl.col("split").is_not_null()).unique(_RECORD, keep="first")
        said_of = splits.select(*_RECORD, "split")
        given = given.drop("split").join(said_of, on=_RECORD, how="left", maintain_order="left")
    return given[list(ITEMS)]


def _first(
    said: pl.DataFrame, ids: Ints, wanted: Ints, there: str, names: Sequence[str]
) -> pl.DataFrame:
    """Columns of the first row of each wanted item that has something there; null where none has.
    `ids` are the rows' items.
    """
    rows = np.nonzero(said[there].is_not_null().to_numpy())[0]
    known, first = np.unique(ids[rows], return_index=True)
    at, found = _places(known, wanted)
    if len(known):
        at = rows[first][at]
    return _picked(said[list(names)], at, found)


def _places(known: Ints, wanted: Ints) -> tuple[Ints, Bools]:
    """Where each number is in the ascending known ones, and whether it is there."""
    if not len(known):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return at, known[at] == wanted


def _picked(frame: pl.DataFrame, at: Ints, found: Bools) -> pl.DataFrame:
    """Rows of a frame by number; rows of nulls where none was found."""
    if not len(frame):
        return frame.clear(len(at))
    picked = frame[at]
    if found.all():
        return picked
    there = pl.Series(found)
    none = (pl.Series([None], dtype=kind) for kind in frame.dtypes)
    return pl.DataFrame([c.zip_with(there, null) for c, null in zip(picked, none, strict=True)])


def telling(changes: pl.DataFrame) -> pl.DataFrame:
    """The changes of one partition that `items` still needs: registrations, and the last of each
    item.
    """
    needed = (changes["outcome"] != "applied").to_numpy()
    of = changes["item_offset"].to_numpy()
    order = np.argsort(of, kind="stable")
    needed[order[_lasts(of[order])]] = True
    return changes[np.nonzero(needed)[0]]


def standing(reviews: pl.DataFrame) -> pl.DataFrame:
    """What live reviews make of their corrections, all of one partition, by the offset of each:
    partition, correction_offset, status, and by whom, where and when it was decided (null while it
    is open).
    """
    of, outcome = reviews["correction_offset"].to_numpy(), reviews["outcome"]
    rows = np.nonzero((outcome != "voted").to_numpy())[0]
    rows = rows[np.argsort(of[rows], kind="stable")]
    # Column by column, as in `items`.
    last = reviews[list(_DECIDING)][rows[_lasts(of[rows])]]
    last.columns = list(_DECIDING.values())
    settled = last["status"] != "escalated"
    if settled.all():
        return last
    return last.with_columns(
        pl.when(settled).then(name).alias(name) for name in _DECIDING.values() if "decided" in name
    )


def _lasts(ordered: Ints) -> Bools:
    """Which of ascending numbers are the last ones of their kind."""
    return np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))


def earlier(delta: Delta) -> pl.DataFrame:
    """What the reviews of a batch make of corrections from before it, all of it live."""
    if not len(delta.corrections):
        return standing(delta.reviews)
    before = (delta.reviews["correction_offset"] < delta.corrections["offset"][0]).to_numpy()
    return standing(delta.reviews[np.nonzero(before)[0]])


def stand(corrections: pl.DataFrame, reviews: pl.DataFrame, spans: Spans) -> pl.DataFrame:
    """Corrections of one partition with what the reviews make of them, where both are live; `void`
    are others.
    """
    found = standing(alive(reviews, spans))
    places = _places(found["correction_offset"].to_numpy(), corrections["offset"].to_numpy())
    whole = corrections.hstack(_picked(found.drop("partition", "correction_offset"), *places))
    if whole["status"].null_count():
        whole = whole.with_columns(pl.col("status").fill_null("proposed"))
    if len(alive(whole, spans)) < len(whole):
        status = pl.when(live(spans)).then("status").otherwise(pl.lit("void"))
        whole = whole.with_columns(status=status)
    return whole


def opened(corrections: pl.DataFrame) -> pl.DataFrame:
    """Corrections that nobody has decided on."""
    proposed = pl.Series("status", ["proposed"]).new_from_index(0, len(corrections))
    return corrections.hstack([proposed])


def alive(frame: pl.DataFrame, spans: Spans) -> pl.DataFrame:
    """The rows whose offsets are in the spans; the rows of a batch are most often all in one."""
    if len(frame):
        first, last = frame["offset"][0], frame["offset"][-1]
        if not any(start <= first and last < stop for start, stop in spans):
            return frame.filter(live(spans))
    return frame


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
