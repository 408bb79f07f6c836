"""Labels as they were given, read under a later contract: columns of them at a time."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from ledger.columnar.forward import places_of
from ledger.columnar.shapes import areas_of
from ledger.core.contract import Contracts
from ledger.core.events import Attributes, Geometry
from ledger.core.fold import attributes_of

READ = ("label", "unresolved", "contract", "geometry_type", "coordinates", "attributes")
"""The columns of a frame that `labels_now` reads, as `ledger.columnar.delta` has them;
`attributes` are all that the item has.
"""


def labels_now(frame: pl.DataFrame, contracts: Contracts, version: int) -> pl.Series:
    """Each row's label under a contract version; null where it is none, or unresolved.

    All are read once for each class and contract that occur; where a label was split on its way,
    once for all items besides that no rule tells apart.
    """
    pairs = frame.select("label", "contract").drop_nulls().unique().rows()
    by_item = [pair for pair in pairs if contracts.asks(pair[0], pair[1], version)]
    plain = [
        (label, contract, named(contracts.forward(label, contract, version, {})))
        for label, contract in pairs
        if (label, contract) not in by_item
    ]
    types = {"label": frame.schema["label"], "contract": frame.schema["contract"]}
    table = pl.DataFrame(plain, schema={**types, "now": pl.String}, orient="row")
    now = (
        frame.select("label", "contract", "unresolved")
        .join(table, on=("label", "contract"), how="left", maintain_order="left")
        .select(pl.when(pl.col("unresolved").is_null()).then("now"))
        .to_series()
    )
    if not by_item:
        return now
    asked = pl.DataFrame(by_item, schema=types, orient="row").with_columns(asked=True)
    marked = frame.select(*READ).join(
        asked, on=("label", "contract"), how="left", maintain_order="left"
    )
    rows = marked.with_row_index().filter(
        pl.col("asked").is_not_null() & pl.col("unresolved").is_null()
    )
    return now.scatter(rows["index"], _by_item(rows, contracts, version))


def _by_item(rows: pl.DataFrame, contracts: Contracts, version: int) -> pl.Series:
    """The labels of rows whose attributes decide."""
    areas = areas_of(rows["geometry_type"], rows["coordinates"])
    rows = rows.with_columns(place=pl.Series(places_of(contracts, areas)))
    alike = ("label", "contract", "attributes", "place")
    groups = rows.unique(alike, keep="first")
    found = [
        named(contracts.forward(label, contract, version, attributes(text, kind, numbers)))
        for label, contract, kind, numbers, text in groups.select(
            "label", "contract", "geometry_type", "coordinates", "attributes"
        ).iter_rows()
    ]
    made = groups.select(*alike, now=pl.Series(found, dtype=pl.String))
    return rows.join(made, on=alike, how="left", nulls_equal=True, maintain_order="left")["now"]


def named(label: Any) -> str | None:
    """A label that a snapshot shows; None for none and for an unresolved one."""
    return label if isinstance(label, str) else None


def attributes(text: str | None, kind: Any, numbers: list[float] | None) -> Attributes:
    """What split rules see of an item with these attributes (JSON) and this geometry."""
    geometry = Geometry(kind, tuple(numbers or ())) if kind else None
    return attributes_of(json.loads(text) if text else {}, geometry)
