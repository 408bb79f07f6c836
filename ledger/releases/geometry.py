"""Geometry that no model can learn from: polygons, boxes and spans, item by item.

Bounds are the numeric attributes `width` and `height` of the record, in the units of the
coordinates, where it has them; a span's are the characters of the record's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ledger.core.events import Attributes, Geometry, GeometryType
from ledger.core.fold import Item, Record
from ledger.errors import ConfigurationError
from ledger.replay import State


class Bad(NamedTuple):
    """An item that fails, and why."""

    item_id: str
    problem: str


class _Drawn(NamedTuple):
    record: Record
    item: Item
    geometry: Geometry


def bad_polygons(state: State) -> list[Bad]:
    """Polygons without an area, that cross themselves, or that leave their record."""
    polygons = list(_drawn(state, "polygon"))
    if not polygons:
        return []
    problems = _polygon_problems([each.geometry.coordinates for each in polygons])
    found = (
        (each, problem or _beyond(each)) for each, problem in zip(polygons, problems, strict=True)
    )
    return [Bad(each.item.item_id, problem) for each, problem in found if problem]


def bad_boxes(state: State) -> list[Bad]:
    """Boxes without a size, or that leave their record."""
    found: list[Bad] = []
    for each in _drawn(state, "bbox"):
        _, _, width, height = each.geometry.coordinates
        sized = width > 0 and height > 0
        problem = _beyond(each) if sized else f"is {width:g} by {height:g}"
        if problem:
            found.append(Bad(each.item.item_id, problem))
    return found


def bad_spans(state: State) -> list[Bad]:
    """Spans that hold nothing, or that leave their text; where the text is not known, only what no
    text could hold.
    """
    found: list[Bad] = []
    for each in _drawn(state, "span"):
        start, end = each.geometry.coordinates
        whole = each.record.items.get(each.item.record_id)
        text = each.item.content if whole is None or whole.content is None else whole.content
        if start >= end:
            found.append(Bad(each.item.item_id, f"is empty: [{start:g}, {end:g})"))
        elif start < 0 or (text is not None and end > len(text)):
            size = "" if text is None else f" of {len(text)}"
            found.append(Bad(each.item.item_id, f"is [{start:g}, {end:g}){size} characters"))
    return found


def _drawn(state: State, kind: GeometryType) -> Iterator[_Drawn]:
    """The labelled items with a geometry of this kind."""
    for record, item in state.items():
        geometry = item.geometry
        if geometry and geometry.type == kind and isinstance(state.label(item), str):
            yield _Drawn(record, item, geometry)


def _beyond(each: _Drawn) -> str | None:
    """How a box or polygon leaves its record, if it does and the record's size is known."""
    numbers = each.geometry.coordinates
    xs, ys = numbers[0::2], numbers[1::2]
    if each.geometry.type == "bbox":
        x, y, width, height = numbers
        xs, ys = (x, x + width), (y, y + height)
    whole = each.record.items.get(each.item.record_id)
    attributes: Attributes = whole.attributes if whole else {}
    for name, values in (("width", xs), ("height", ys)):
        size = attributes.get(name)
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
