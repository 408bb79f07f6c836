"""The labels at any covered position, from resident change rows and without a fold.

The last live row of an item says what was set last; what a snapshot shows of it is its label
mapped forward to the contract in force at the position. That is looked up once for each kind of
label, not for each item; where a split of a class asks for attributes, once for all items that it
does not tell apart. What no correction changes, ids above all, are Arrow arrays that snapshots
share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ledger.checkpoints.rows import (
    Kind,
    Last,
    Rows,
    Slices,
    Small,
    rest,
    slices_of,
    split_rows,
)
from ledger.columnar.now import labels_now
from ledger.columnar.snapshot import (
    ColumnarDifference,
    arrow_schema,
    difference_schema,
    exact,
    indexed,
)
from ledger.core.contract import Contracts
from ledger.core.epochs import live
from ledger.core.events import Attributes
from ledger.core.governance import Governance
from ledger.core.position import Position

_KIND: Mapping[str, Any] = {"label": pl.String, "unresolved": pl.Int32, "contract": pl.Int32}
_TOLD: Mapping[str, Any] = {
    "geometry_type": pl.String,
    "coordinates": pl.List(pl.Float64),
    "attributes": pl.String,
}
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class _Asked(Mapping[str, float | str]):
    """Attributes that note whether a rule asks for any."""

    def __init__(self) -> None:
        self.asked = False

    def __getitem__(self, key: str) -> float | str:
        self.asked = True
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        self.asked = True
        return False

    def __iter__(self) -> Iterator[str]:
        self.asked = True
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True)
class _View:
    """The items at one position, as the contract there reads them.

    `names` gives each kind's label, None where an item of it is in no snapshot; `depends` says of
    which kinds that is so only without attributes.
    """

    slices: Slices
    contracts: Contracts
    names: NDArray[Any]
    depends: Bools


class Timeline:
    """Snapshots and differences of covered positions.

    Args:
        rows: every change row of the dataset, live and void.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._kinds = Last(rows, rows.kind)
        self._nowhere = np.broadcast_to(np.int32(rows.count), len(rows.ids))
        self._splits: tuple[Any, NDArray[Any]] | None = None
        self._still: tuple[Any, Bools, dict[str, Any]] | None = None

    def snapshot(self, governance: Governance, position: Position) -> pa.Table:
        """The labelled items at a covered position, with `ledger.snapshot`'s columns.

        Args:
            governance: the state at the position's governance offset.
            position: covered by the rows.
        """
        view = self._view(governance, position)
        last = self._last(view)
        codes, names = self._labels(view, last)
        shown = _all_but(codes, [code for code, name in enumerate(names) if name is None])
        columns = dict(self._what_stays(view, shown))
        codes = codes if shown.all() else codes[shown]
        columns["label"] = indexed(codes, names, list(governance.contract.classes))
        assert not columns["label"].null_count, "a snapshot shows classes of its contract only"
        if self.rows.geometry_type is not None:
            columns |= self._geometry(last.row[shown])
        return _table(arrow_schema(), columns, len(codes))

    def diff(
        self, before: tuple[Governance, Position], after: tuple[Governance, Position]
    ) -> ColumnarDifference:
        """The items whose canonical line differs between two covered positions, sorted by id."""
        views = self._view(*before), self._view(*after)
        items, lasts = self._between(*views) or self._touched(*views)
        sides = [self._side(*each, items) for each in zip(views, lasts, strict=True)]
        codes: dict[str | None, int] = {None: 0}
        labels = [
            np.array([codes.setdefault(name, len(codes)) for name in side.names])[side.kinds]
            for side in sides
        ]
        same = (labels[0] == labels[1]) & (sides[0].split == sides[1].split)
        if self.rows.geometry_type is not None:
            same &= _equal(*(side.geometry for side in sides))
        left = np.nonzero(~same & (labels[0] + labels[1] > 0))[0]
        kind = np.where(labels[0][left] == 0, 0, np.where(labels[1][left] == 0, 1, 2))
        columns: dict[str, Any] = {
            "id": self.rows.ids.take(pa.array(items[left])),
            "change": _decoded(kind, ("added", "removed", "changed")),
        }
        for name, side, label in zip(("before", "after"), sides, labels, strict=True):
            found = side.columns(left, label[left] > 0, self.rows.splits)
            columns |= {f"{name}_{column}": each for column, each in found.items()}
        return ColumnarDifference(_table(difference_schema(), columns, len(left)))

    def _view(self, governance: Governance, position: Position) -> _View:
        spans = [live(governance, i, stop) for i, stop in enumerate(position.labels)]
        slices = slices_of(self.rows, spans)
        names = np.empty(len(self.rows.kinds), object)
        depends = np.zeros(len(names), np.bool_)
        for number, kind in enumerate(self.rows.kinds):
            attributes = _Asked()
            names[number] = _forward(governance.contracts, kind, attributes)
            depends[number] = attributes.asked
        return _View(slices, governance.contracts, names, depends)

    def _last(self, view: _View) -> _Found:
        """The last row of each item; which one it is, is asked only where there are geometries."""
        plain = self.rows.geometry_type is None
        row = self._nowhere if plain else self._numbers.at(view.slices)
        return _Found(row, self._kinds.at(view.slices))

    @cached_property
    def _numbers(self) -> Last:
        return Last(self.rows, np.arange(self.rows.count + 1, dtype=np.int32))

    def _between(self, old: _View, new: _View) -> tuple[Ints, list[_Found]] | None:
        """The items with a row between the positions, and the last rows of each at both. None where
        the way from one to the other is not that plain, or is long.
        """
        rows, left = self.rows, rest(new.slices, old.slices)
        if left is None or sum(stop - start for _, start, stop in left) > len(rows.ids) // 4:
            return None
        if self._moved(old, new).any() or split_rows(rows, old.slices) != split_rows(
            rows, new.slices
        ):
            return None
        there = np.concatenate([np.arange(0), *(np.arange(*each[1:]) for each in left)])
        items, first = np.unique(rows.item[there], return_index=True)
        last = len(there) - 1 - np.unique(rows.item[there[::-1]], return_index=True)[1]
        before = self._row_before[there[first]]
        live = sorted(each for mine in old.slices for each in mine)
        edges = np.array(live, np.int64).reshape(-1)
        while len(void := np.nonzero(_outside(before, edges))[0]):
            before[void] = self._row_before[before[void]]
        before[before < 0] = rows.count
        found = [before, there[last].astype(np.int32)]
        return items.astype(np.int64), [_Found(row, rows.kind[row]) for row in found]

    @cached_property
    def _row_before(self) -> Small:
        """The row of the same item before each row, live or not; -1 where it is the first."""
        order = np.argsort(self.rows.item, kind="stable").astype(np.int32)
        item, before = self.rows.item[order], np.full(len(order), -1, np.int32)
        again = np.nonzero(item[1:] == item[:-1])[0]
        before[order[again + 1]] = order[again]
        return before

    def _moved(self, old: _View, new: _View) -> Bools:
        """The kinds whose label is another one, or may be."""
        moved = old.names != new.names
        if old.contracts.versions != new.contracts.versions:
            moved |= old.depends | new.depends
        return moved

    def _touched(self, old: _View, new: _View) -> tuple[Ints, list[_Found]]:
        """The items of which anything may differ, and the last rows of each at both positions."""
        one, two = (self._numbers.at(each.slices) for each in (old, new))
        touched, moved = one != two, self._moved(old, new)
        if moved.any():
            touched |= moved[self._kinds.at(new.slices)]
        if split_rows(self.rows, old.slices) != split_rows(self.rows, new.slices):
            touched |= self._split_codes(old) != self._split_codes(new)
        items = np.nonzero(touched)[0]
        return items, [_Found(row, self.rows.kind[row]) for row in (one[items], two[items])]

    def _side(self, view: _View, last: _Found, items: Ints) -> _Side:
        """What a snapshot says of these items."""
        kinds, names = self._labels(view, last, items)
        split = self._split_codes(view)[items] if self.rows.splits else np.zeros(len(items), int)
        return _Side(kinds, names, split, self._geometry(last.row))

    def _labels(
        self, view: _View, last: _Found, items: Ints | None = None
    ) -> tuple[NDArray[Any], Sequence[str | None]]:
        """The label of each item, as an index into names.

        Args:
            view: where.
            last: the last rows of the items.
            items: which items; all of them by default.
        """
        names: list[str | None] = view.names.tolist()
        if not view.depends.any():
            return last.kind, names
        open_ = np.nonzero(view.depends[last.kind])[0]
        codes = last.kind.astype(np.int32)
        where = open_ if items is None else items[open_]
        found = self._decided(view, _Found(last.row[open_], last.kind[open_]), where)
        for name in found.unique():
            codes[open_[found.eq_missing(name).to_numpy()]] = len(names)
            names.append(name)
        return codes, names

    def _decided(self, view: _View, last: _Found, items: Ints) -> pl.Series:
        """The labels of items whose attributes decide."""
        said = pl.DataFrame(self.rows.kinds, schema=_KIND, orient="row")[last.kind.astype(np.int64)]
        told = {**self._geometry(last.row), "attributes": self._attributes(view.slices, items)}
        columns = [
            pl.Series(name, pa.nulls(len(items)) if told[name] is None else told[name]).cast(kind)
            for name, kind in _TOLD.items()
        ]
        contracts = view.contracts
        return labels_now(said.with_columns(columns), contracts, contracts.in_force.version)

    def _attributes(self, slices: Slices, items: Ints) -> Any:
        """The attributes of items, as JSON; one live event at most brought each item's."""
        rows = self.rows
        if rows.attributes is None:
            return None
        brought = np.full(len(rows.ids), rows.count, np.int64)
        for mine in slices:
            for start, stop in mine:
                some = np.nonzero(self._with_attributes[start:stop])[0] + start
                brought[rows.item[some]] = some
        found = brought[items]
        return rows.attributes.take(pa.array(found, mask=found == rows.count))

    @cached_property
    def _with_attributes(self) -> Bools:
        return self.rows.attributes.is_valid().to_numpy(zero_copy_only=False)

    def _what_stays(self, view: _View, shown: Bools) -> dict[str, Any]:
        """Ids, records and splits of the items shown: what was answered last is kept."""
        rows, key, known = self.rows, split_rows(self.rows, view.slices), self._still
        if known and known[0] == key and np.array_equal(known[1], shown):
            return known[2]
        chosen = None if shown.all() else pa.array(shown)
        ids = rows.ids if chosen is None else rows.ids.filter(chosen)
        columns = {"id": ids, "record": ids}
        if rows.records is not rows.ids:
            columns["record"] = rows.records if chosen is None else rows.records.filter(chosen)
        if key:
            codes = self._split_codes(view)[shown]
            given = [name for code, name in enumerate(rows.splits) if (codes == code).any()]
            columns["split"] = indexed(codes, [*rows.splits, None], given)
        self._still = key, shown, columns
        return columns

    def _split_codes(self, view: _View) -> NDArray[Any]:
        """The split of every item: the first that a live row gave its record, an index into
        `Rows.splits`; behind its end is none.
        """
        rows, key = self.rows, split_rows(self.rows, view.slices)
        if self._splits is None or self._splits[0] != key:
            none = len(rows.splits)
            given = np.full(len(rows.ids), none, np.min_scalar_type(none))
            own = rows.records is rows.ids
            for start, stop in sorted(key.values(), reverse=True):  # the first one stays
                item = rows.item[rows.split_row[start:stop]].astype(np.intp)
                record = item if own else rows.record[item]
                given[record[::-1]] = rows.split[start:stop][::-1]
            self._splits = key, given if own else given[rows.record]
        return self._splits[1]

    def _geometry(self, last: Small) -> dict[str, Any]:
        rows = self.rows
        if rows.geometry_type is None:
            return {"geometry_type": None, "coordinates": None}
        chosen = pa.array(last, mask=last == rows.count)
        return {
            "geometry_type": rows.geometry_type.take(chosen),
            "coordinates": rows.coordinates.take(chosen),
        }


class _Found(NamedTuple):
    """What the last live rows of some items are; read only."""

    row: Small
    """Its number; `Rows.count` where there is none."""
    kind: NDArray[Any]
    """Its kind."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What a snapshot says of some items; `kinds` and `split` are indices into names."""

    kinds: NDArray[Any]
    names: Sequence[str | None]
    split: NDArray[Any]
    geometry: dict[str, Any]

    def columns(self, rows: Ints, shown: Bools, splits: Sequence[str]) -> dict[str, Any]:
        """Some of them as Arrow columns; nothing is said of those that are not shown."""
        found = {
            "label": _decoded(self.kinds[rows], self.names),
            "split": _decoded(self.split[rows], [*splits, None]) if splits else None,
        }
        for name, column in self.geometry.items():
            found[name] = None if column is None else column.take(pa.array(rows))
        if shown.all():
            return found
        hidden = pa.array(np.arange(len(rows)), mask=~shown)
        return {name: column and column.take(hidden) for name, column in found.items()}


def _forward(contracts: Contracts, kind: Kind, attributes: Attributes) -> str | None:
    """The label that a kind shows, None where it shows none."""
    if kind.label is None or kind.unresolved is not None:
        return None
    until = contracts.in_force.version
    label = contracts.forward(kind.label, kind.contract, until, attributes)
    return label if isinstance(label, str) else None


def _all_but(kinds: NDArray[Any], hidden: Sequence[int]) -> Bools:
    """Which are none of these."""
    shown = kinds != hidden[0]
    for code in hidden[1:]:
        shown &= kinds != code
    return shown


def _outside(rows: Small, edges: Ints) -> Bools:
    """Which rows lie in none of the ranges, whose starts and stops ascend in turn; not those that
    are none.
    """
    return (rows >= 0) & (np.searchsorted(edges, rows, side="right") % 2 == 0)


def _decoded(codes: NDArray[Any], names: Sequence[str | None]) -> Any:
    """Arrow strings from indices into names."""
    indices: Any = pa.array(codes)
    whole: Any = pa.DictionaryArray
    return whole.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> Bools:
    """Where all columns are the same, null being the same as null."""
    frames = [pl.DataFrame(dict(each)) for each in (one, other)]
    columns = (
        exact(mine).eq_missing(exact(theirs))
        for mine, theirs in zip(*(f.get_columns() for f in frames), strict=True)
    )
    return np.logical_and.reduce([each.to_numpy() for each in columns])


def _table(schema: Any, columns: Mapping[str, Any], count: int) -> pa.Table:
    arrays: list[Any] = []
    for field in schema:
        given = columns.get(field.name)
        arrays.append(pa.nulls(count, field.type) if given is None else given)
    return pa.Table.from_arrays(arrays, schema=schema)
