"""Snapshots read with other class names: the same items, each label replaced by a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from ledger.snapshot import Difference, Snapshot

if TYPE_CHECKING:
    import polars as pl

    from ledger.columnar.snapshot import ColumnarSnapshot

Counts = Mapping[tuple[str, str], int]
"""How many items there are of each (class, split); the split is `""` for none."""
Names = Mapping[str, str]


def columns_of(snapshot: Snapshot) -> pl.DataFrame | None:
    """The snapshot's frame, if it has columns: its rows need not be made then."""
    try:
        from ledger.columnar.snapshot import ColumnarSnapshot
    except ImportError:
        return None
    return snapshot.frame if isinstance(snapshot, ColumnarSnapshot) else None


def counts(snapshot: Snapshot) -> Counts:
    """How many items of each class and split a snapshot has, sorted."""
    frame = columns_of(snapshot)
    if frame is None:
        found = Counter((row.label, row.split or "") for row in snapshot.rows)
    else:
        found = Counter[tuple[str, str]]()
        for label, split, count in frame.group_by("label", "split").len().iter_rows():
            found[label, split or ""] += count
    return dict(sorted(found.items()))


def difference(before: Snapshot, after: Snapshot, old: Names, new: Names) -> Difference:
    """The items whose canonical line differs once both have common names.

    Args:
        before: one snapshot.
        after: the other.
        old: the names of its classes for those of `before`; a class that is not in it stays.
        new: the same for those of `after`.
    """
    if columns_of(before) is None and columns_of(after) is None:
        return _rows(before, old).diff(_rows(after, new))
    return _columns(before, old).diff(_columns(after, new))


def _rows(snapshot: Snapshot, names: Names) -> Snapshot:
    rows = [row._replace(label=names.get(row.label, row.label)) for row in snapshot.rows]
    return Snapshot(snapshot.position, snapshot.contract, rows)


def _columns(snapshot: Snapshot, names: Names) -> ColumnarSnapshot:
    import polars as pl

    from ledger.columnar.snapshot import ColumnarSnapshot

    frame = columns_of(snapshot)
    if frame is None:  # the shorter of two logs, folded one event at a time
        frame = snapshot.to_polars().with_columns(pl.col("label", "split").cast(pl.String))
    if names:
        frame = frame.with_columns(pl.col("label").replace(dict(names)))
    return ColumnarSnapshot(snapshot.position, snapshot.contract, frame, _nothing_else)


def _nothing_else() -> NoReturn:
    raise AssertionError("a difference asks for nothing but columns")
