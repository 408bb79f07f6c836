"""Geometry that no model can learn from: polygons, boxes and spans, item by item.

Bounds are the numeric attributes `width` and `height` of the record, in the units of the
coordinates, where it has them; a span's are the characters of the record's text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ledger.core.events import Attributes, GeometryType
from ledger.errors import ConfigurationError
from ledger.replay import State

if TYPE_CHECKING:
    import polars as pl

SIDES = ("width", "height")
"""The attributes of a record that bound what is drawn in it."""


class Bad(NamedTuple):
    """An item that fails, and why."""

    item_id: str
    problem: str


class Drawn(NamedTuple):
    """A labelled item with a geometry, and what bounds it.

    Attributes:
        item_id: the item.
        coordinates: as `Geometry` has them.
        record: the attributes of its record.
        text: what a span is part of; None where it is not known, and for other geometries.
    """

    item_id: str
    coordinates: Sequence[float]
    record: Attributes
    text: str | None = None


def in_state(state: State, kind: GeometryType) -> Iterator[Drawn]:
    """The labelled items of a state with a geometry of this kind."""
    for record, item in state.items():
        geometry = item.geometry
        if geometry and geometry.type == kind and isinstance(state.label(item), str):
            whole = record.items.get(item.record_id)
            text = item.content if whole is None or whole.content is None else whole.content
            yield Drawn(item.item_id, geometry.coordinates, whole.attributes if whole else {}, text)


def in_columns(
    items: pl.DataFrame, kind: GeometryType, attributes: Callable[[], pl.DataFrame]
) -> Iterator[Drawn]:
    """The same of a snapshot's frame; of boxes only those that break a rule.

    Args:
        items: labelled, with the columns of a snapshot.
        kind: `bbox` or `polygon`: what a span is part of is in no frame.
        attributes: those of the items that have any, as JSON: columns `id` and `attributes`.
    """
    import polars as pl

    items = items.filter(pl.col("geometry_type") == kind)
    if not len(items):
        return
    bounds = _bounds(attributes())
    items = items.select("id", "record", "coordinates").join(
        bounds, left_on="record", right_on="id", how="left", maintain_order="left"
    )
    if kind == "bbox":
        items = items.filter(_odd_box())
    for item_id, _, numbers, width, height in items.iter_rows():
        sizes = {"width": width, "height": height}
        yield Drawn(item_id, numbers, {name: x for name, x in sizes.items() if x is not None})


def _bounds(attributes: pl.DataFrame) -> pl.DataFrame:
    """Columns `id`, and `width` and `height` as far as they are numbers."""
    import polars as pl

    texts: list[str] = attributes["attributes"].unique().to_list()
    told = [(text, json.loads(text)) for text in texts]
    rows = [
        (text, *(x if isinstance(x := known.get(name), float) else None for name in SIDES))
        for text, known in told
    ]
    schema = {"attributes": pl.String(), **dict.fromkeys(SIDES, pl.Float64())}
    sizes = pl.DataFrame(rows, schema=schema, orient="row")
    return attributes.join(sizes, on="attributes", how="left").select("id", *SIDES)


def _odd_box() -> pl.Expr:
    """Whether a box has no size, or leaves its record."""
    import polars as pl

    numbers = pl.col("coordinates").list
    odd = pl.lit(value=False)
    for i, name in enumerate(SIDES):
        start, size, most = numbers.get(i), numbers.get(i + 2), pl.col(name)
        stop = start + size
        beyond = (start < 0) | (stop < 0) | (start > most) | (stop > most)
        odd |= (size <= 0) | (most.is_not_null() & beyond)
    return odd


def bad_polygons(drawn: Iterable[Drawn]) -> list[Bad]:
    """Polygons without an area, that cross themselves, or that leave their record."""
    polygons = list(drawn)
    if not polygons:
        return []
    problems = _polygon_problems([each.coordinates for each in polygons])
    found = (
        (each, problem or _beyond(each, each.coordinates[0::2], each.coordinates[1::2]))
        for each, problem in zip(polygons, problems, strict=True)
    )
    return [Bad(each.item_id, problem) for each, problem in found if problem]


def bad_boxes(drawn: Iterable[Drawn]) -> list[Bad]:
    """Boxes without a size, or that leave their record."""
    found: list[Bad] = []
    for each in drawn:
        x, y, width, height = each.coordinates
        sized = width > 0 and height > 0
        corners = (x, x + width), (y, y + height)
        problem = _beyond(each, *corners) if sized else f"is {width:g} by {height:g}"
        if problem:
            found.append(Bad(each.item_id, problem))
    return found


def bad_spans(drawn: Iterable[Drawn]) -> list[Bad]:
    """Spans that hold nothing, or that leave their text; where the text is not known, only what no
    text could hold.
    """
    found: list[Bad] = []
    for each in drawn:
        start, end = each.coordinates
        if start >= end:
            found.append(Bad(each.item_id, f"is empty: [{start:g}, {end:g})"))
        elif start < 0 or (each.text is not None and end > len(each.text)):
            size = "" if each.text is None else f" of {len(each.text)}"
            found.append(Bad(each.item_id, f"is [{start:g}, {end:g}){size} characters"))
    return found


def _beyond(each: Drawn, *corners: Sequence[float]) -> str | None:
    """How a box or polygon leaves its record, if it does and the record's size is known."""
    for name, values in zip(SIDES, corners, strict=True):
        size = each.record.get(name)
        if isinstance(size, float | int) and (min(values) < 0 or max(values) > size):
            return f"reaches from {min(values):g} to {max(values):g} of {name} {size:g}"
    return None


def _polygon_problems(polygons: Sequence[Sequence[float]]) -> list[str | None]:
    """What is wrong with each polygon, given as `[x1, y1, x2, y2, ...]`."""
    try:
        import shapely
    except ImportError as error:
        raise ConfigurationError(
            "checking polygons needs the extra `releases`: pip install 'errata[releases]'"
        ) from error
    found: list[str | None] = []
    for numbers in polygons:
        points = list(zip(numbers[0::2], numbers[1::2], strict=True))
        if len(set(points)) < 3:
            found.append(f"has {len(set(points))} corners")
            continue
        polygon = shapely.Polygon(points)
        if polygon.area == 0:
            found.append("has no area")
        else:
            found.append(None if polygon.is_valid else "crosses itself")
    return found
