"""The charts of the report as shapes: numbers go in, places in pixels come out.

The template only draws what stands here. Every coordinate is a text with one decimal, so that the
same numbers give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

WIDTH = 560
HUES = 10
"""Classes take one of so many colours, in turn."""
NEW, GONE = "new", "gone"
_ROWS_MAX, _FLOWS_MAX = 12, 12
_ROW, _BAR_FROM, _BAR_TO = 36, 150, 470
_NODE, _GAP, _NODE_MIN = 12, 18, 14
_FLOW_FROM, _FLOW_TO = 132, WIDTH - 132
_LABEL_MAX = 20


class ClassRow(NamedTuple):
    """One class: a bar for the base, one for the version, and the difference."""

    label: str
    name: str
    y: str
    before: str
    after: str
    before_count: int | None
    after_count: int
    delta: int
    hue: int


class Distribution(NamedTuple):
    """Bars of classes, the largest first."""

    height: int
    rows: list[ClassRow]


class Node(NamedTuple):
    """A class on one side of the flow."""

    label: str
    name: str
    items: int
    x: str
    y: str
    height: str
    middle: str
    hue: int | None


class Flow(NamedTuple):
    """Items that went from one class to another: a ribbon."""

    title: str
    path: str
    hue: int | None


class Flows(NamedTuple):
    """Which class became which: nodes on both sides, ribbons in between, and what is left out."""

    height: int
    left: list[Node]
    right: list[Node]
    flows: list[Flow]
    rest: int


class Part(NamedTuple):
    """A part of a stacked bar."""

    name: str
    items: int
    x: str
    width: str


class Bar(NamedTuple):
    """A bar of its own: its width, and of its marked part."""

    name: str
    items: int
    width: str
    marked: str


def hues(classes: Iterable[str]) -> dict[str, int]:
    """The colour of each class, by its place among all of them."""
    return {name: place % HUES for place, name in enumerate(sorted(set(classes)))}


def short(name: str, most: int = _LABEL_MAX) -> str:
    """A name that fits its place."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def distribution(
    before: Mapping[str, int] | None, after: Mapping[str, int], colours: Mapping[str, int]
) -> Distribution:
    """Bars of the classes before and after; beyond twelve, the smallest share one row."""
    old = before or {}
    names = sorted(old.keys() | after.keys(), key=lambda n: (-after.get(n, 0), -old.get(n, 0), n))
    shown = names if len(names) <= _ROWS_MAX else names[: _ROWS_MAX - 1]
    counts = [(name, old.get(name, 0), after.get(name, 0), colours[name]) for name in shown]
    if rest := names[len(shown) :]:
        one, two = (sum(each.get(name, 0) for name in rest) for each in (old, after))
        counts.append((f"{len(rest)} more classes", one, two, 0))
    most = max((max(one, two) for _, one, two, _ in counts), default=0) or 1
    length = _BAR_TO - _BAR_FROM
    rows = [
        ClassRow(
            short(name),
            name,
            str(place * _ROW),
            _px(length * one / most),
            _px(length * two / most),
            None if before is None else one,
            two,
            two - one,
            hue,
        )
        for place, (name, one, two, hue) in enumerate(counts)
    ]
    return Distribution(len(rows) * _ROW, rows)


def flows(
    transitions: Mapping[tuple[str | None, str | None], int], colours: Mapping[str, int]
) -> Flows:
    """Ribbons between the classes before and after, the largest twelve."""
    chosen = dict(list(transitions.items())[:_FLOWS_MAX])
    rest = sum(transitions.values()) - sum(chosen.values())
    left = _totals((old, count) for (old, _), count in chosen.items())
    right = _totals((new, count) for (_, new), count in chosen.items())
    height = max(max(len(left), len(right)) * 46, 150)
    sides = (
        _nodes(left, height, _FLOW_FROM - _NODE, NEW, colours),
        _nodes(right, height, _FLOW_TO, GONE, colours),
    )
    ribbons = _ribbons(chosen, *sides)
    return Flows(height, list(sides[0].values()), list(sides[1].values()), ribbons, rest)


def _totals(pairs: Iterable[tuple[str | None, int]]) -> dict[str | None, int]:
    """Items of each class of one side, the most first."""
    totals = Counter[str | None]()
    for name, count in pairs:
        totals[name] += count
    return dict(sorted(totals.items(), key=lambda pair: (-pair[1], pair[0] or "")))


def _nodes(
    totals: Mapping[str | None, int],
    height: int,
    x: int,
    nothing: str,
    colours: Mapping[str, int],
) -> dict[str | None, Node]:
    """The classes of one side, one under the other, as high as they have items."""
    fixed = _GAP * (len(totals) - 1) + _NODE_MIN * len(totals)
    scale = max(height - fixed, 0) / (sum(totals.values()) or 1)
    y, found = 0.0, dict[str | None, Node]()
    for name, count in totals.items():
        tall = _NODE_MIN + count * scale
        places = (_px(x), _px(y), _px(tall), _px(y + tall / 2))
        label = nothing if name is None else name
        hue = None if name is None else colours[name]
        found[name] = Node(short(label, 16), label, count, *places, hue)
        y += tall + _GAP
    return found


def _ribbons(
    counts: Mapping[tuple[str | None, str | None], int],
    left: Mapping[str | None, Node],
    right: Mapping[str | None, Node],
) -> list[Flow]:
    """A ribbon for each pair of classes, as they follow each other on both sides."""
    places = [{name: place for place, name in enumerate(side)} for side in (left, right)]
    pairs = sorted(counts, key=lambda pair: (places[0][pair[0]], places[1][pair[1]]))
    used = (dict.fromkeys(left, 0.0), dict.fromkeys(right, 0.0))
    found: list[Flow] = []
    for old, new in pairs:
        ends: list[tuple[float, float]] = []
        for node, done, name in ((left[old], used[0], old), (right[new], used[1], new)):
            tall = float(node.height) * counts[old, new] / node.items
            top = float(node.y) + done[name]
            done[name] += tall
            ends.append((top, top + tall))
        one, two = left[old], right[new]
        title = f"{one.name} → {two.name}: {counts[old, new]:,}"
        found.append(Flow(title, _ribbon(*ends), two.hue if one.hue is None else one.hue))
    return found


def _ribbon(start: tuple[float, float], end: tuple[float, float]) -> str:
    """The outline of a ribbon from the left nodes to the right ones."""
    middle = _px((_FLOW_FROM + _FLOW_TO) / 2)
    one, two = _px(_FLOW_FROM), _px(_FLOW_TO)
    tops, bottoms = (_px(start[0]), _px(end[0])), (_px(start[1]), _px(end[1]))
    return (
        f"M{one},{tops[0]} C{middle},{tops[0]} {middle},{tops[1]} {two},{tops[1]} "
        f"L{two},{bottoms[1]} C{middle},{bottoms[1]} {middle},{bottoms[0]} {one},{bottoms[0]} Z"
    )


def stacked(counts: Mapping[str, int], width: int = WIDTH) -> list[Part]:
    """One bar in parts, in the given order."""
    total, x = sum(counts.values()), 0.0
    found: list[Part] = []
    for name, count in counts.items():
        wide = width * count / total
        found.append(Part(name, count, _px(x), _px(wide)))
        x += wide
    return found


def bars(counts: Mapping[str, tuple[int, int]], width: int = WIDTH) -> list[Bar]:
    """Bars side by side, each with a marked part: `(whole, marked)` by name. What is there at all
    is seen: a part is two pixels wide at least.
    """
    most = max((whole for whole, _ in counts.values()), default=0) or 1
    return [
        Bar(name, whole, _visible(width * whole / most), _visible(width * marked / most))
        for name, (whole, marked) in counts.items()
    ]


def _visible(wide: float) -> str:
    return _px(max(wide, 2.0) if wide > 0 else 0.0)


def _px(value: float) -> str:
    return f"{value:.1f}"
