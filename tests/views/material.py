"""Histories as rows of a view, by the shortest way there is: fold all of it again, each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ledger.columnar.delta import Delta, delta, empty
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Reader
from ledger.dataset import Dataset
from ledger.logs.sqlite import SqliteLog
from ledger.views.contract import Known
from ledger.views.schema import TABLES
from ledger.views.writer import ViewWriter
from tests.columnar.batches import CODEC, batch_of
from tests.core.history import History

Content = dict[str, list[tuple[Any, ...]]]


def dataset_at(folder: Path, partitions: int) -> Dataset:
    """A dataset that is there, for what a view wants to know of it."""
    return Dataset.create(SqliteLog(folder / "log.db", "birds"), partitions)


def known_at(history: History, stop: int) -> Known:
    """Governance after `[0, stop)`."""
    return Known(stop, history.governed(stop))


class Piece(NamedTuple):
    """The rows of one native epoch up to `stop`."""

    delta: Delta
    stop: int


def pieces(
    history: History, known: Known, partition: int, start: int, stop: int
) -> Iterator[Piece]:
    """The rows of `[start, stop)` of a partition, epoch by epoch."""
    for epoch, first, last in known.epochs.ranges(partition, stop):
        if last > start:
            part = _Part(partition, epoch, max(start, first), last)
            yield Piece(_rows(history, known, part), last)


class _Part(NamedTuple):
    partition: int
    epoch: int
    start: int
    stop: int


def _rows(history: History, known: Known, part: _Part) -> Delta:
    governance = known.epochs.governances[part.epoch]
    fold = ColumnarPartition(governance.contracts, part.partition, history.partitions, CODEC)
    reader, log = Reader(CODEC), history.label_logs[part.partition]
    made = empty()
    for span in governance.spans(part.partition, part.stop):
        cut = min(max(span.start, part.start), span.stop)
        for first, last in ((span.start, cut), (cut, span.stop)):
            if first >= last:
                continue
            batch = batch_of(log[first:last], part.partition)
            frame = reader.frame(batch.offsets, batch.keys, batch.values)
            if not span.live:
                fold.void(frame)
                continue
            found = delta(batch, frame, fold.judge(frame), fold, part.epoch)
            if first >= part.start:
                made = Delta(*(pl.concat(pair) for pair in zip(made, found, strict=True)))
    return made


def build(writer: ViewWriter, history: History) -> None:
    """The whole history, all governance first."""
    known = known_at(history, len(history.governance))
    for partition, log in enumerate(history.label_logs):
        here = writer.reset(partition, writer.place(partition), known, 0)
        for piece in pieces(history, known, partition, 0, len(log)):
            here = writer.write(partition, here, known, piece.delta, piece.stop)


def content(path: Path) -> Content:
    """Every row of every table but `about`, in order."""
    from ledger.views.file import Connection

    connection = Connection(path.resolve(), readonly=True)
    found = {
        name: sorted(connection.rows(f"SELECT * FROM {name}"), key=repr)
        for name in TABLES
        if name != "about"
    }
    connection.close()
    return found
