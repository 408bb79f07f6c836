"""The change rows of a dataset as resident arrays, and what the last row of each item at a position
says.

Rows stand by partition and offset, items by the bytes of their id. So the live rows below a
position are a few slices, and the state of every item there is what its last live row says. Which
offsets have a row is a set of bits: the number of a row is how many of them lie before it. Arrays
of what last rows say are kept: the next one starts from the nearest of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Small = NDArray[np.int32]
Slices = tuple[tuple[tuple[int, int], ...], ...]
"""By partition: slices `[start, stop)` of row numbers, ascending; neighbours are one."""

COLUMNS = (
    *("partition", "offset", "item_id", "label", "unresolved", "contract"),
    *("geometry_type", "coordinates", "split", "attributes"),
)
"""What of CHANGES a timeline reads."""
_STEP_MIN = 1 << 18
_KEPT_BYTES_MAX = 1 << 26
_KEPT_MIN = 2


class Kind(NamedTuple):
    """What a row says of its item's label; see `ledger.columnar.delta.CHANGES`."""

    label: str | None
    unresolved: int | None
    contract: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Change rows, by partition and offset. Row numbers count over all partitions."""

    ids: Any
    """Arrow strings: the item ids, sorted by their bytes."""
    records: Any
    """Arrow strings: the record of each item; the same object as `ids` where they are the same."""
    record: Small
    """A number of the record of each item."""
    bounds: NDArray[np.int64]
    """The first row of each partition, then the number of rows."""
    there: Sequence[NDArray[np.uint64]]
    """By partition: a bit for each offset, set where there is a row; the lowest one comes first."""
    item: Small
    kind: NDArray[Any]
    """An index into `kinds`; one entry more than there are rows, which says `no row`."""
    kinds: Sequence[Kind]
    """What there is, and as the last one what stands for no row: no label."""
    split_row: NDArray[np.int64]
    """The rows that give their record a split."""
    split: NDArray[Any]
    """What they give, as an index into `splits`."""
    splits: Sequence[str]
    geometry_type: Any
    """Arrow strings by row; None where no row has a geometry."""
    coordinates: Any
    attributes: Any
    """Arrow strings (JSON) by row; None where no row has any."""

    @property
    def count(self) -> int:
        """The number of rows, and the row number that stands for none."""
        return len(self.item)


def rows_of(frame: pl.DataFrame, partitions: int) -> Rows:
    """The change rows of all partitions, `COLUMNS` of them, in any order."""
    frame = frame.sort("partition", "offset")
    items = frame.select("item_id").unique().sort("item_id")
    ids = _strings(items["item_id"])
    records = items["item_id"].str.split_exact("#", 1).struct.field("field_0")
    own = bool((items["item_id"] == records).all())
    rank = items.with_row_index("item")
    item = frame.select("item_id").join(rank, on="item_id", how="left", maintain_order="left")
    kinds = frame.select("label", "unresolved", "contract").with_columns(
        kind=pl.struct("label", "unresolved", "contract").rank("dense").cast(pl.Int32) - 1
    )
    known = kinds.unique("kind").sort("kind")
    bounds = np.searchsorted(frame["partition"].to_numpy(), np.arange(partitions + 1))
    offset = frame["offset"].to_numpy()
    split_row = frame["split"].is_not_null().arg_true().to_numpy().astype(np.int64)
    given = frame["split"].drop_nulls()
    splits = sorted(set(given.unique()))
    codes = {name: code for code, name in enumerate(splits)}
    return Rows(
        ids=ids,
        records=ids if own else _strings(records),
        record=_numbers(records.rank("dense")) - 1,
        bounds=bounds,
        there=[_bits(offset[slice(*each)]) for each in pairwise(bounds.tolist())],
        item=_numbers(item["item"]),
        kind=_narrow(np.append(kinds["kind"].to_numpy(), len(known))),
        kinds=[*(Kind(*row[:3]) for row in known.rows()), Kind(None, None, 0)],
        split_row=split_row,
        split=_narrow(given.replace_strict(codes, return_dtype=pl.Int32).to_numpy())
        if splits
        else np.empty(0, np.uint8),
        splits=splits,
        geometry_type=_maybe(frame["geometry_type"], pa.string()),
        coordinates=_maybe(frame["coordinates"], pa.list_(pa.float64())),
        attributes=_maybe(frame["attributes"], pa.string()),
    )


def _strings(series: pl.Series) -> Any:
    return _maybe(series, pa.string(), empty=True)


def _numbers(series: pl.Series) -> Small:
    return series.to_numpy().astype(np.int32)


def _narrow(codes: NDArray[Any]) -> NDArray[Any]:
    """The codes in as few bytes as hold them."""
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0))))


def _bits(offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A bit for each of these offsets."""
    flags = np.zeros((int(offsets.max(initial=-1)) // 64 + 1) * 64, np.bool_)
    flags[offsets] = True
    return np.packbits(flags, bitorder="little").view("<u8")


def _rank(bits: NDArray[np.uint64], offset: int) -> int:
    """How many bits are set below an offset."""
    word, rest = divmod(offset, 64)
    count = int(np.bitwise_count(bits[:word]).sum())
    if word < len(bits):
        count += (int(bits[word]) & ((1 << rest) - 1)).bit_count()
    return count


def _maybe(series: pl.Series, kind: Any, *, empty: bool = False) -> Any:
    """As an Arrow array; None where all is null, unless that is wanted too."""
    if not empty and series.null_count() == len(series):
        return None
    whole: Any = series.rechunk()
    return whole.to_arrow().cast(kind)


class Last:
    """What the last live row of each item says, at any position.

    Args:
        rows: all of them.
        says: what each row says, and behind them what no row says.
    """

    def __init__(self, rows: Rows, says: NDArray[Any]) -> None:
        self._rows, self._says = rows, says
        self._none = np.full(len(rows.ids), says[-1])
        self._kept: dict[Slices, NDArray[Any]] = {}
        """By slices, the least recently used first."""
        self._kept_max = max(_KEPT_MIN, _KEPT_BYTES_MAX // max(1, self._none.nbytes))

    def at(self, slices: Slices) -> NDArray[Any]:
        """What the last row of each item among these says; read only."""
        _, left = self._nearest(slices)
        count = sum(stop - start for _, start, stop in left)
        steps = max(1, count // max(_STEP_MIN, len(self._none) // 4))
        for step in range(1, steps):  # on a long way, what lies on it is kept too
            self._grown(_shortened(slices, left, step / steps))
        return self._grown(slices)

    def _nearest(self, slices: Slices) -> tuple[NDArray[Any], list[tuple[int, int, int]]]:
        """The kept array that leaves fewest rows, and those, by partition."""
        best, found = rest(slices, ((),) * len(slices)) or [], self._none
        least = sum(stop - start for _, start, stop in best)
        chosen: Slices | None = None
        for known in self._kept:
            left = rest(slices, known)
            count = None if left is None else sum(stop - start for _, start, stop in left)
            if left is not None and count is not None and count <= least:
                best, least, chosen = left, count, known
        if chosen is not None:
            found = self._kept[chosen] = self._kept.pop(chosen)
        return found, best

    def _grown(self, slices: Slices) -> NDArray[Any]:
        base, left = self._nearest(slices)
        if not left:
            return base
        grown = base.copy()
        for _, start, stop in left:  # of one item's rows the last one stays
            items = self._rows.item[start:stop].astype(np.intp)  # as NumPy scatters fastest
            grown[items] = self._says[start:stop]
        self._kept[slices] = grown
        if len(self._kept) > self._kept_max:
            del self._kept[next(iter(self._kept))]
        return grown


def slices_of(rows: Rows, live: Sequence[Sequence[tuple[int, int]]]) -> Slices:
    """The rows at live offset ranges of each partition."""
    found: list[tuple[tuple[int, int], ...]] = []
    for first, bits, ranges in zip(rows.bounds[:-1].tolist(), rows.there, live, strict=True):
        ends = ((first + _rank(bits, start), first + _rank(bits, stop)) for start, stop in ranges)
        found.append(merged(ends))
    return tuple(found)


def merged(ranges: Iterator[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The ranges that are not empty; neighbours are one."""
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        if start < stop and found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        elif start < stop:
            found.append((start, stop))
    return tuple(found)


def rest(slices: Slices, known: Slices) -> list[tuple[int, int, int]] | None:
    """What of `slices` lies behind `known`, as (partition, start, stop); None where `known` is no
    beginning of it in every partition.
    """
    left: list[tuple[int, int, int]] = []
    for partition, (mine, theirs) in enumerate(zip(slices, known, strict=True)):
        done = len(theirs)
        if done and (
            done > len(mine)
            or mine[: done - 1] != theirs[:-1]
            or mine[done - 1][0] != theirs[-1][0]
            or mine[done - 1][1] < theirs[-1][1]
        ):
            return None
        if done and theirs[-1][1] < mine[done - 1][1]:
            left.append((partition, theirs[-1][1], mine[done - 1][1]))
        left += [(partition, *each) for each in mine[done:]]
    return left


def _shortened(slices: Slices, left: list[tuple[int, int, int]], share: float) -> Slices:
    """The slices without the last part of what is left, of which a share stays."""
    dropped: dict[int, int] = {}
    for partition, start, stop in left:
        dropped[partition] = dropped.get(partition, 0) + stop - start
    return tuple(
        _without(mine, dropped.get(partition, 0) - int(dropped.get(partition, 0) * share))
        for partition, mine in enumerate(slices)
    )


def _without(ranges: tuple[tuple[int, int], ...], count: int) -> tuple[tuple[int, int], ...]:
    """The ranges without their last `count` rows."""
    kept = list(ranges)
    while count and kept:
        start, stop = kept.pop()
        if stop - start > count:
            kept.append((start, stop - count))
            count = 0
        else:
            count -= stop - start
    return tuple(kept)


def attributes_in(rows: Rows, slices: Slices) -> pl.DataFrame:
    """What these rows bring, one of them at most to an item: columns `id` and `attributes`."""
    found = np.empty(0, np.int64)
    if rows.attributes is not None:
        told = np.nonzero(rows.attributes.is_valid().to_numpy(zero_copy_only=False))[0]
        inside = [told[(told >= start) & (told < stop)] for mine in slices for start, stop in mine]
        found = np.concatenate([found, *inside])
    empty: Any = pa.array([], pa.string())
    texts = empty if rows.attributes is None else rows.attributes.take(pa.array(found))
    ids = rows.ids.take(pa.array(rows.item[found]))
    return pl.DataFrame({"id": ids, "attributes": texts})


def split_rows(rows: Rows, slices: Slices) -> Mapping[int, tuple[int, int]]:
    """Where the split rows of each slice lie in `Rows.split_row`, by the slice's first row."""
    flat = [each for mine in slices for each in mine]
    ends = np.searchsorted(rows.split_row, np.array(flat, np.int64).reshape(-1)).tolist()
    return {
        flat[i][0]: (ends[2 * i], ends[2 * i + 1])
        for i in range(len(flat))
        if ends[2 * i] < ends[2 * i + 1]
    }
