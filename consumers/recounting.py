"""Checkpoints held against the log: every stored row beside the row that the fold makes."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from consumers.follower import Follower, Piece
from ledger.checkpoints.manifest import Segment
from ledger.checkpoints.segments import TABLES
from ledger.checkpoints.store import Partition, Store
from ledger.core.epochs import Epochs
from ledger.core.governance import Governance
from ledger.dataset import Dataset

_SHOWN_MAX = 20


def wrong_rows(dataset: Dataset, store: Store, governance: Governance) -> Iterator[str]:
    """What is stored other than the log makes it, as sentences: the first rows by place and item,
    and how many there are.

    Args:
        dataset: the log.
        store: its checkpoints.
        governance: the state at the log's end.
    """
    count = 0
    for place, item in _apart(dataset, store, governance):
        count += 1
        if count <= _SHOWN_MAX:
            yield f"{place} ({item}) is other than the log makes it"
    if count > _SHOWN_MAX:
        yield f"and {count - _SHOWN_MAX} more rows"


def _apart(dataset: Dataset, store: Store, governance: Governance) -> Iterator[tuple[str, str]]:
    epochs = Epochs(governance)
    for partition, stored in enumerate(store.partitions()):
        if stored is None:
            continue
        kept = _Kept(stored)
        for piece in Follower(dataset, partition).advance(governance, stored.valid(epochs)):
            assert isinstance(piece, Piece)
            for table, made in zip(TABLES, piece.delta, strict=True):
                found = kept.rows(table, piece.start, piece.stop)
                for offset, item in _rows_apart(made, found):
                    yield f"{table} labels/{partition}@{offset}", item


class _Kept:
    """What is stored of a partition, read in offset order: each segment once, for it holds many
    pieces of the fold.
    """

    def __init__(self, stored: Partition) -> None:
        self._stored = stored
        self._last: dict[str, tuple[Segment, pl.DataFrame]] = {}

    def rows(self, table: str, start: int, stop: int) -> pl.DataFrame:
        """The stored columns of the rows at `start <= offset < stop`."""
        inside = pl.col("offset").is_between(start, stop, closed="left")
        parts = [
            self._segment(table, segment).filter(inside)
            for segment in self._stored.manifest.segments
            if max(start, segment.start) < min(stop, segment.stop)
        ]
        return pl.concat([self._stored.rows(table, []), *parts])

    def _segment(self, table: str, segment: Segment) -> pl.DataFrame:
        last = self._last.get(table)
        if last is None or last[0] is not segment:
            rows = self._stored.rows(table, [(segment.start, segment.stop)])
            last = self._last[table] = segment, rows
        return last[1]


def _rows_apart(made: pl.DataFrame, found: pl.DataFrame) -> list[tuple[int, str]]:
    """The offsets, each with its item, at which the rows of a table are not those stored."""
    if made.select(found.columns).equals(found):
        return []
    pairs = made.join(found, on="offset", how="full", coalesce=True, suffix="_found")
    names = [name for name in found.columns if name != "offset"]
    same = (pl.col(name).eq_missing(pl.col(f"{name}_found")) for name in names)
    ids = [name for name in ("item_id", "item_id_found") if name in pairs.columns]
    item = pl.coalesce(*ids, pl.lit("no item"))
    return pairs.filter(~pl.all_horizontal(same)).sort("offset").select("offset", item).rows()
