"""The labels at any covered position, from resident change rows and without a fold.

The last live row of an item says what was set last; what a snapshot shows of it is its label
mapped forward to the contract in force at the position. That is looked up once for each kind of
label, not for each item; only where a split of a class asks for attributes are items looked at one
by one. Ids, which no position changes, are one Arrow array that every snapshot shares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ledger.checkpoints.rows import COLUMNS, Kind, Last, Rows, Slices, Small, rows_of, split_rows
from ledger.columnar.snapshot import ColumnarDifference, arrow_schema
from ledger.core.contract import Contracts
from ledger.core.epochs import live
from ledger.core.events import Attributes, Geometry
from ledger.core.fold import attributes_of
from ledger.core.governance import Governance
from ledger.core.position import Position

__all__ = ["COLUMNS", "Timeline", "rows_of"]

_NO_LABEL = -1
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
class _Reading:
    """The rows as one contract reads them.

    `label` gives each kind's index into `labels` (`_NO_LABEL` where an item of it is in no
    snapshot); `depends` says for which kinds that is so only without attributes.
    """

    contracts: Contracts
    labels: Sequence[str]
    label: Small
    depends: Bools


@dataclass
class _View:
    """The items at one position."""

    slices: Slices
    last: Small
    reading: _Reading


class Timeline:
    """Snapshots and differences of covered positions.

    Args:
        rows: every change row of the dataset, live and void.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._last = Last(rows)
        self._splits: tuple[Any, Small] | None = None
        self._split_column: tuple[Any, Any] | None = None
        self._shown: tuple[Bools, dict[str, Any]] | None = None

    def snapshot(self, governance: Governance, position: Position) -> pa.Table:
        """The labelled items at a covered position, with `ledger.snapshot`'s columns.

        Args:
            governance: the state at the position's governance offset.
            position: covered by the rows.
        """
        view = self._view(governance, position)
        label = self._labels(view)
        shown = label.codes != _NO_LABEL
        columns = self._still(shown) | {"label": label.column(shown)}
        split = self._split(view)
        columns["split"] = split if split is None or shown.all() else split.filter(pa.array(shown))
        columns |= self._geometry(view.last[shown] if self.rows.geometry_type else view.last[:0])
        return _table(columns, int(np.count_nonzero(shown)))

    def diff(
        self, before: tuple[Governance, Position], after: tuple[Governance, Position]
    ) -> ColumnarDifference:
        """The items whose canonical line differs between two covered positions, sorted by id."""
        old, new = self._view(*before), self._view(*after)
        items = self._touched(old, new)
        one, two = (pl.from_arrow(self._part(view, items)) for view in (old, new))
        assert isinstance(one, pl.DataFrame)
        assert isinstance(two, pl.DataFrame)
        return ColumnarDifference(one, two)

    def _view(self, governance: Governance, position: Position) -> _View:
        spans = [live(governance, i, stop) for i, stop in enumerate(position.labels)]
        slices = self._last.slices(spans)
        return _View(slices, self._last.at(slices), self._read(governance.contracts))

    def _read(self, contracts: Contracts) -> _Reading:
        codes: dict[str, int] = {}
        label = np.full(len(self.rows.kinds), _NO_LABEL, np.int32)
        depends = np.zeros(len(label), np.bool_)
        for number, kind in enumerate(self.rows.kinds):
            attributes = _Asked()
            name = _forward(contracts, kind, attributes)
            depends[number] = attributes.asked
            if name is not None:
                label[number] = codes.setdefault(name, len(codes))
        return _Reading(contracts, list(codes), label, depends)

    def _touched(self, old: _View, new: _View) -> Ints:
        """The items of which anything may differ."""
        touched = old.last != new.last
        one, two = old.reading, new.reading
        if one.contracts.in_force.version != two.contracts.in_force.version or (
            one.contracts.versions != two.contracts.versions
        ):
            names = [
                np.array([*reading.labels, None], object)[reading.label] for reading in (one, two)
            ]
            moved = (names[0] != names[1]) | one.depends | two.depends
            if moved.any():
                touched |= moved[self.rows.kind[new.last]]
        if split_rows(self.rows, old.slices) != split_rows(self.rows, new.slices):
            touched |= self._split_codes(old) != self._split_codes(new)
        return np.nonzero(touched)[0]

    def _part(self, view: _View, items: Ints) -> pa.Table:
        """What a snapshot shows of these items; those it does not show are there without label."""
        last = view.last[items]
        part = _View(view.slices, last, view.reading)
        rows = self.rows
        chosen = pa.array(items)
        ids = rows.ids.take(chosen)
        columns = {
            "id": ids,
            "record": ids if rows.records is rows.ids else rows.records.take(chosen),
            "label": self._labels(part, items).column(np.ones(len(items), np.bool_)),
            **self._geometry(last),
        }
        if rows.splits:
            codes = self._split_codes(view)[items]
            columns["split"] = _decoded(codes, rows.splits)
        return _table(columns, len(items))

    def _labels(self, view: _View, items: Ints | None = None) -> _Labels:
        reading = view.reading
        kinds = self.rows.kind[view.last]
        codes, names = reading.label[kinds], list(reading.labels)
        if reading.depends.any():
            open_ = np.nonzero(reading.depends[kinds])[0]
            known = {name: code for code, name in enumerate(names)}
            where = open_ if items is None else items[open_]
            for at, name in zip(open_.tolist(), self._one_by_one(view, open_, where), strict=True):
                codes[at] = _NO_LABEL if name is None else known.setdefault(name, len(known))
            names = list(known)
        return _Labels(codes, names)

    def _one_by_one(self, view: _View, rows: Ints, items: Ints) -> Iterator[str | None]:
        """The labels of items whose attributes decide."""
        last = view.last[rows]
        singles = self._attributes(view.slices, items)
        geometries = self._geometry(last)
        kinds: list[int] = self.rows.kind[last].tolist()
        boxes, numbers = (
            [None] * len(rows) if column is None else column.to_pylist()
            for column in geometries.values()
        )
        for kind, single, box, coordinates in zip(kinds, singles, boxes, numbers, strict=True):
            geometry = Geometry(box, tuple(coordinates)) if box and coordinates else None
            attributes = attributes_of(json.loads(single) if single else {}, geometry)
            yield _forward(view.reading.contracts, self.rows.kinds[kind], attributes)

    def _attributes(self, slices: Slices, items: Ints) -> list[str | None]:
        """The attributes of items, as JSON; one live event at most brought each item's."""
        rows = self.rows
        if rows.attributes is None:
            return [None] * len(items)
        brought = np.full(len(rows.ids), rows.count, np.int64)
        for mine in slices:
            for start, stop in mine:
                some = np.nonzero(self._with_attributes[start:stop])[0] + start
                brought[rows.item[some]] = some
        found = brought[items]
        known = found < rows.count
        return rows.attributes.take(pa.array(found, mask=~known)).to_pylist()

    @cached_property
    def _with_attributes(self) -> Bools:
        return self.rows.attributes.is_valid().to_numpy(zero_copy_only=False)

    def _still(self, shown: Bools) -> dict[str, Any]:
        """Ids and records of the items shown; all of them are shared, the last choice is kept."""
        rows = self.rows
        if shown.all():
            return {"id": rows.ids, "record": rows.records}
        if self._shown is None or not np.array_equal(self._shown[0], shown):
            chosen = pa.array(shown)
            ids = rows.ids.filter(chosen)
            records = ids if rows.records is rows.ids else rows.records.filter(chosen)
            self._shown = shown, {"id": ids, "record": records}
        return dict(self._shown[1])

    def _split(self, view: _View) -> Any:
        """The split of every item as Arrow strings; None where none is given."""
        key = split_rows(self.rows, view.slices)
        if not key:
            return None
        if self._split_column is None or self._split_column[0] != key:
            self._split_column = key, _decoded(self._split_codes(view), self.rows.splits)
        return self._split_column[1]

    def _split_codes(self, view: _View) -> Small:
        """The split of every item: the first that a live row gave its record; -1 is none."""
        rows, key = self.rows, split_rows(self.rows, view.slices)
        if self._splits is None or self._splits[0] != key:
            given = np.full(len(rows.ids), -1, np.int32)
            for start, stop in sorted(key.values(), reverse=True):  # the first one stays
                record = rows.record[rows.item[rows.split_row[start:stop]]]
                given[record[::-1]] = rows.split[start:stop][::-1]
            self._splits = key, given[rows.record]
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


@dataclass(frozen=True, slots=True)
class _Labels:
    """The label of each item, as an index into `names`; `_NO_LABEL` where it has none."""

    codes: Small
    names: Sequence[str]

    def column(self, chosen: Bools) -> Any:
        """The labels of the items chosen as Arrow strings."""
        return _decoded(self.codes if chosen.all() else self.codes[chosen], self.names)


def _forward(contracts: Contracts, kind: Kind, attributes: Attributes) -> str | None:
    """The label that a kind shows, None where it shows none."""
    if kind.label is None or kind.unresolved is not None:
        return None
    until = contracts.in_force.version
    label = contracts.forward(kind.label, kind.contract, until, attributes)
    return label if isinstance(label, str) else None


def _decoded(codes: Small, names: Sequence[str]) -> Any:
    """Arrow strings from indices into `names`, null where one is negative."""
    absent = codes < 0
    indices: Any = pa.array(codes, mask=absent) if absent.any() else pa.array(codes)
    return pa.array(names, pa.string()).take(indices)


def _table(columns: Mapping[str, Any], count: int) -> pa.Table:
    schema: Any = arrow_schema()
    arrays: list[Any] = []
    for field in schema:
        given = columns.get(field.name)
        arrays.append(pa.nulls(count, field.type) if given is None else given)
    return pa.Table.from_arrays(arrays, schema=schema)


def timeline_of(frame: pl.DataFrame, partitions: int) -> Timeline:
    """The timeline of change rows (`COLUMNS` of them, in any order)."""
    return Timeline(rows_of(frame, partitions))
