"""The geometries of items as columns: read from Avro, kept, and shown.

What is kept of all of them is one array of numbers, and where each one's begin. As everywhere that
Avro is walked, what is not plainly a geometry that keeps our rules is left to the codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ledger.columnar.avro import Columns, Read, Walk, chosen
from ledger.columnar.strings import Bytes, Ints, longer, words
from ledger.core.events import Geometry, GeometryType

KINDS: Sequence[GeometryType] = get_args(GeometryType)
NONE = -1
"""No geometry: as a kind, and as the number of one that is kept."""
FIELD = "geometry"
LIST = pl.List(pl.Float64)
Floats = NDArray[np.float64]
Numbers = Ints | NDArray[np.int32]
"""Of geometries that are kept, or `NONE`."""
Kinds = NDArray[np.int8]

_BOX, _POLYGON = KINDS.index("bbox"), KINDS.index("polygon")
_COUNTS = np.array([{"bbox": 4, "span": 2}.get(kind, NONE) for kind in KINDS])
_COUNT_BYTES_MAX = 4
_PLAIN_FROM, _PLAIN_TO = 1e-4, 1e16
"""From here to there Python and Polars write numbers alike; beyond, powers of ten differ."""
_NAMES = pl.Series([*KINDS, None], dtype=pl.String)


class Drawn(NamedTuple):
    """The geometry of each row, as it lies in a buffer."""

    kind: Kinds
    """An index into `KINDS`, or `NONE`."""
    starts: Ints
    """The place of its first number."""
    counts: Ints
    """How many numbers it has, 8 bytes each."""

    @classmethod
    def none(cls, size: int) -> Drawn:
        """Rows without any."""
        zeros = np.zeros(size, np.int64)
        return cls(np.full(size, NONE, np.int8), zeros, zeros.copy())

    def put(self, rows: Ints, others: Drawn) -> None:
        """Let some rows be as others are."""
        for mine, theirs in zip(self, others, strict=True):
            mine[rows] = theirs

    def some(self, rows: Ints) -> Drawn:
        """Some of them."""
        return Drawn(self.kind[rows], self.starts[rows], self.counts[rows])

    def numbers(self, data: Bytes) -> Floats:
        """The numbers of all of them, one behind the other."""
        places = _spread(self.starts, self.counts, 8)
        return words(data, places, np.full_like(places, 8)).view("<f8")


def reader(kind: Any) -> Read:
    """Reads a field that is null or a geometry.

    Raises `NotImplementedError` where its type is another one.
    """
    match kind:
        case [
            "null",
            {"fields": [{"type": {"symbols": symbols}}, {"type": {"items": "double"}}]},
        ] if symbols == list(KINDS):
            return _read
        case _:
            raise NotImplementedError


def _read(walk: Walk, columns: Columns) -> None:
    drawn = columns.parts[FIELD] = Drawn.none(len(walk.at))
    rows = chosen(walk)
    if len(rows):
        part = walk.some(rows)
        found = _walked(part)
        _check(part, found)
        walk.join(rows, part)
        drawn.put(rows, found)


def _walked(walk: Walk) -> Drawn:
    """A kind, and numbers in one block."""
    kind = walk.byte()
    walk.odd |= (kind & 1 == 1) | (kind >= 2 * len(KINDS))
    size = walk.varint(_COUNT_BYTES_MAX)
    walk.odd |= size & 1 == 1
    counts, starts = size >> 1, walk.at.copy()
    walk.skip(8 * counts)
    filled = counts > 0
    walk.odd |= filled & (walk.data[walk.at] != 0)  # the block that ends an array
    walk.at = walk.at + filled
    kind, counts = (kind >> 1).astype(np.int8), np.where(walk.odd, 0, counts)
    kind[walk.odd] = NONE
    return Drawn(kind, starts, counts)


def _check(walk: Walk, drawn: Drawn) -> None:
    """The rules of `ledger.core.validity` for geometries."""
    kind, counts = drawn.kind, drawn.counts
    polygon = np.equal(kind, _POLYGON)
    walk.odd[np.where(polygon, np.bitwise_and(counts, 1) == 1, counts != _COUNTS[kind])] = True
    numbers = drawn.numbers(walk.data)
    walk.high += int(np.count_nonzero(numbers.view(np.uint8) >= 0x80))
    infinite = ~np.isfinite(numbers)
    if infinite.any():
        walk.odd[np.repeat(np.arange(len(counts)), counts)[infinite]] = True
    boxes = np.nonzero(np.equal(kind, _BOX) & ~walk.odd)[0]
    walk.odd[boxes[~np.isfinite(_area(numbers, (np.cumsum(counts) - counts)[boxes]))]] = True


def _area(numbers: Floats, first: Ints) -> Floats:
    with np.errstate(over="ignore"):
        return numbers[first + 2] * numbers[first + 3]


class Shapes:
    """Geometries by number, in the order in which they came."""

    def __init__(self) -> None:
        self.size = 0
        self._kind: Kinds = np.empty(0, np.int8)
        self._first: Ints = np.zeros(1, np.int64)
        """Where each one's numbers begin; behind them, where the next one's will."""
        self._numbers: Floats = np.empty(0, np.float64)

    def add(self, kinds: Kinds, counts: Ints, numbers: Floats) -> Ints:
        """Keep some, whose numbers stand one behind the other; their own numbers here."""
        start, stop = self.size, self.size + len(kinds)
        used = int(self._first[start])
        self._kind = longer(self._kind, stop)
        self._first = longer(self._first, stop + 1)
        self._numbers = longer(self._numbers, used + len(numbers))
        self._kind[start:stop] = kinds
        self._first[start + 1 : stop + 1] = used + np.cumsum(counts)
        self._numbers[used : used + len(numbers)] = numbers
        self.size = stop
        return np.arange(start, stop)

    def geometries(self, shapes: Numbers) -> Iterator[Geometry | None]:
        """Each as the reference fold has it."""
        for shape in shapes.tolist():
            if shape == NONE:
                yield None
            else:
                numbers = self._numbers[self._first[shape] : self._first[shape + 1]].tolist()
                yield Geometry(KINDS[int(self._kind[shape])], tuple(numbers))

    def areas(self, shapes: Numbers) -> Floats:
        """The area of each box; NaN for others, and where there is none."""
        found = np.full(len(shapes), np.nan)
        rows = np.nonzero(shapes != NONE)[0]
        rows = rows[self._kind[shapes[rows]] == _BOX]
        found[rows] = _area(self._numbers, self._first[shapes[rows]])
        return found

    def columns(self, shapes: Numbers) -> tuple[pl.Series, pl.Series]:
        """Their kinds and coordinates, null where there is none."""
        there = shapes != NONE
        if not there.any():
            kinds = pl.Series([None], dtype=pl.String).new_from_index(0, len(shapes))
            return kinds, kinds.cast(LIST)
        kind = np.full(len(shapes), len(KINDS))
        kind[there] = self._kind[shapes[there]]
        first = np.where(there, self._first[shapes], 0)
        counts = np.where(there, self._first[shapes + 1] - first, 0)
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
        numbers: Any = pa.array(self._numbers[_spread(first, counts)])
        lists: Any = pa.LargeListArray
        arrow: Any = pa
        made: Any = lists.from_arrays(
            pa.array(ends), numbers, mask=None if there.all() else arrow.array(~there)
        )
        return _NAMES.gather(kind), cast("pl.Series", pl.from_arrow(made))


def from_columns(kinds: pl.Series, coordinates: pl.Series) -> tuple[Kinds, Ints, Floats]:
    """What `Shapes.add` takes, of columns without nulls."""
    numbers: dict[str, int] = {kind: number for number, kind in enumerate(KINDS)}
    codes = kinds.cast(pl.String).replace_strict(numbers, return_dtype=pl.Int8).to_numpy()
    counts = coordinates.list.len().to_numpy().astype(np.int64)
    return codes, counts, _flat(coordinates).to_numpy()


def areas_of(kinds: pl.Series, coordinates: pl.Series) -> Floats:
    """As `Shapes.areas`, of columns."""
    sides = coordinates.list
    areas = sides.get(2, null_on_oob=True) * sides.get(3, null_on_oob=True)
    boxes = (kinds.cast(pl.String) == KINDS[_BOX]).fill_null(value=False)
    return np.where(boxes.to_numpy(), areas.fill_null(np.nan).to_numpy(), np.nan)


def as_json(kinds: pl.Series, coordinates: pl.Series) -> pl.Series:
    """As `canonical.geometry_json`; null where there is none."""
    counts = coordinates.list.len().fill_null(0).cast(pl.Int64)
    flat = _flat(coordinates)
    numbers, texts = flat.to_numpy(), flat.cast(pl.String)
    size = np.abs(numbers)
    other = np.nonzero(((size < _PLAIN_FROM) & (size != 0)) | (size >= _PLAIN_TO))[0]
    if len(other):
        exact = [repr(number) for number in numbers[other].tolist()]
        texts = texts.scatter(other, pl.Series(exact, dtype=pl.String))
    ends = cast("Any", pl.concat([pl.Series([0]), counts.cum_sum()]).to_arrow())
    lists: Any = pa.LargeListArray
    strings: Any = texts.rechunk().to_arrow().cast(pa.large_string())
    joined: Any = pl.from_arrow(lists.from_arrays(ends, strings))
    return pl.select(
        pl.concat_str(
            pl.lit('{"type":"'),
            kinds.cast(pl.String),
            pl.lit('","coordinates":['),
            joined.list.join(","),
            pl.lit("]}"),
        )
    ).to_series()


def _flat(coordinates: pl.Series) -> pl.Series:
    """All their numbers, one behind the other."""
    lists = cast("Any", coordinates.cast(LIST).rechunk().to_arrow())
    return cast("pl.Series", pl.from_arrow(lists.flatten()))


def _spread(first: Ints, counts: Ints, step: int = 1) -> Ints:
    """The places of so many neighbours from each first one on."""
    ends = np.cumsum(counts)
    return np.repeat(first - step * (ends - counts), counts) + step * np.arange(sum(ends[-1:]))
