"""How fast a past version is had, and two are compared, beside Delta Lake and DuckDB.

    python -m tests.bench.versions --items 1000000 --versions 100

One run prints all times, for only their ratios mean something on a shared machine. A dataset of so
many items is corrected version by version, one item in a hundred each time, with one approval.
Ours are the rows that the fold makes of that history, written as checkpoints (registrations,
corrections and decisions, with random ids as a frontend would give); Delta Lake gets the labels, a
MERGE per version with its change data feed; DuckDB reads our Parquet files with the query of the
README. Ours has labels and splits as Arrow dictionaries and theirs as plain strings; of Delta Lake
both are timed. Everything is made once and kept under .cache/bench.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from pyarrow.dataset import ParquetReadOptions

from ledger.checkpoints.files import Folder
from ledger.checkpoints.index import rows_at_hand
from ledger.checkpoints.manifest import Origin
from ledger.checkpoints.reader import Checkpoints
from ledger.checkpoints.rows import COLUMNS, Rows, rows_of
from ledger.checkpoints.store import Partition, Store
from ledger.checkpoints.timeline import Timeline
from ledger.checkpoints.writer import CheckpointWriter
from ledger.checkpoints.writer import Rows as Said
from ledger.core.epochs import Epochs
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.logs.base import Topic
from tests.bench.world import CLASSES, PARTITIONS, World

CACHE = Path(".cache/bench")
_STRINGS = [("id", pa.string()), ("label", pa.string())]
_INDEXED = ParquetReadOptions(dictionary_columns=["label", "split"])


def _never_read(*_: object) -> NoReturn:
    raise AssertionError("the log was read")


_ORIGIN = Origin("bench", "topic", PARTITIONS, lambda _, offset: str(offset), _never_read)


def checkpoints(world: World, path: Path) -> Store:
    """Our files, made if they are not there."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        epochs, writer = Epochs(world.governance()), CheckpointWriter(store_at(partial))
        for partition in range(PARTITIONS):
            start = writer.begin(partition, epochs)
            for stop, delta in world.deltas(partition):
                writer.write(Said(partition, start, stop, delta, {1}), epochs)
                start = stop
            writer.flush(partition, epochs)
        partial.rename(path)
    return store_at(path)


def store_at(path: Path) -> Store:
    """Checkpoints of a log that is never asked."""
    return Store(Folder(path), _ORIGIN)


def delta_lake(world: World, path: Path) -> Path:
    """Delta Lake's files, made if they are not there."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        table = pa.table(
            {"id": world.ids, "label": CLASSES[world.labels[0]], "split": ["train"] * world.items}
        )
        write_deltalake(partial, table, configuration={"delta.enableChangeDataFeed": "true"})
        for version, items in enumerate(world.corrected):
            source = pa.table(
                {"id": world.ids[items], "label": CLASSES[world.labels[version + 1][items]]}
            )
            merge = DeltaTable(partial).merge(source, "s.id = t.id", "s", "t")
            merge.when_matched_update({"label": "s.label"}).execute()
        partial.rename(path)
    return path


def median(name: str, act: Callable[[], Any], tries: int = 15) -> float:
    """The median of some runs, in milliseconds."""
    times: list[float] = []
    for _ in range(tries):
        gc.collect()
        start = time.perf_counter()
        act()
        times.append((time.perf_counter() - start) * 1e3)
    found = statistics.median(times)
    print(f"{name:58} {found:9.1f} ms   (least {min(times):.1f})", flush=True)
    return found


def size(path: Path) -> float:
    """The files below a folder, in MB."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) / 1e6


class Ours:
    """The checkpoints, as a reader has them."""

    def __init__(self, world: World, store: Store) -> None:
        self.world, self.store = world, store
        self.governance = world.governance()
        self.line = self.fresh()

    def fresh(self) -> Timeline:
        """The timeline from the files."""
        parts = [part for part in self.store.partitions() if part]
        names = [part.name for part in parts]
        return Timeline(rows_at_hand(self.store.files, names, lambda: self.made(parts)))

    def made(self, parts: list[Partition]) -> Rows:
        """Its rows from the segments, when the file of it is not there."""
        frame = pl.concat([part.rows("changes", columns=COLUMNS) for part in parts])
        return rows_of(frame, PARTITIONS)

    def asked(self) -> Checkpoints:
        """What a `Ledger` asks: with every check, and a listing where it is fresh. The rows say it
        all, so the log behind it says no more than its name.
        """
        log: Any = SimpleNamespace(
            dataset="bench", topic_ids=lambda: {Topic.LABELS: "topic"}, read=_never_read
        )
        dataset: Any = SimpleNamespace(log=log, partitions=PARTITIONS, codec=None)
        made = Checkpoints(self.store.files.url, dataset)
        made.store.origin = self.store.origin
        return made

    def at(self, version: int) -> tuple[Governance, Position]:
        """Where a version is."""
        position = self.world.position(version)
        return self.governance.prefix(position.governance), position

    def snapshot(self, version: int, line: Timeline | None = None) -> Any:
        """A version as an Arrow table."""
        return (line or self.line).snapshot(*self.at(version))

    def answer(self, version: int, asked: Checkpoints) -> Any:
        """A version as an Arrow table, the way a user has it."""
        found = asked.snapshot(self.governance, self.world.position(version))
        assert found is not None
        return found.to_arrow()

    def answer_diff(self, version: int, asked: Checkpoints) -> Any:
        """What the next version changed as an Arrow table, the way a user has it."""
        ends = (self.world.position(version + each) for each in (0, 1))
        found = asked.diff(self.governance, *ends)
        assert found is not None
        return found.to_arrow()

    def diff(self, version: int) -> Any:
        """What the next version changed, as an Arrow table."""
        return self.line.diff(self.at(version), self.at(version + 1)).to_arrow()


class Theirs:
    """Delta Lake's table of the labels, and DuckDB over Parquet files."""

    def __init__(self, world: World, table: Path, segments: Path, snapshots: Path) -> None:
        self.world, self.table, self.segments = world, table, segments
        self.snapshots = snapshots
        self._duck = duckdb.connect()
        self._opened = DeltaTable(table)

    def snapshot(self, version: int, *, fresh: bool = False) -> Any:
        """A version as an Arrow table, from the table that is open, or from one that is opened."""
        table = DeltaTable(self.table) if fresh else self._opened
        table.load_as_version(version)
        return table.to_pyarrow_table()

    def indexed(self, version: int) -> Any:
        """The same with labels and splits as Arrow dictionaries, as ours has them."""
        table: Any = self._opened
        table.load_as_version(version)
        return table.to_pyarrow_dataset(parquet_read_options=_INDEXED).to_table()

    def diff(self, version: int) -> Any:
        """Its change data feed."""
        feed = self._opened.load_cdf(version + 1, version + 1)
        return pa.table(feed.read_all())

    def fold(self, version: int) -> Any:
        """A version from our change rows, as the README asks for the present."""
        stops = self.world.position(version).labels
        below = " OR ".join(f'partition = {i} AND "offset" < {s}' for i, s in enumerate(stops))
        return self._ask(
            f"""SELECT any_value(item_id) AS id, arg_max(label, "offset") AS label,
            FROM '{self.segments}/*/changes/*.parquet' WHERE {below}
            GROUP BY partition, item_offset ORDER BY id"""
        )

    def read(self, version: int) -> Any:
        """A version that was written whole, which is what it costs to keep no history."""
        del version
        return self._ask(f"SELECT * FROM '{self.snapshots}'")

    def _ask(self, query: str) -> Any:
        return self._duck.sql(query).to_arrow_table()


def compare(world: World, ours: Ours, theirs: Theirs) -> None:
    """Everything must be the same before it is timed."""
    for version in (0, world.versions // 2, world.versions):
        answer = ours.answer(version, ours.asked())
        assert answer.equals(ours.snapshot(version))
        mine = answer.select(["id", "label"]).cast(pa.schema(_STRINGS))
        expected = pa.table({"id": world.ids, "label": CLASSES[world.labels[version]]})
        assert mine.equals(expected.cast(mine.schema))
        other = theirs.snapshot(version).select(["id", "label"]).sort_by("id")
        assert pl.DataFrame(other).equals(pl.DataFrame(mine))
        assert pl.DataFrame(theirs.fold(version)).equals(pl.DataFrame(mine))
    middle = world.versions // 2
    assert len(ours.diff(middle)) == len(world.corrected[middle])
    assert len(theirs.diff(middle)) == 2 * len(world.corrected[middle])


def main() -> None:
    """Make what is missing, run everything, print times and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--versions", type=int, default=100)
    options = parser.parse_args()
    world = World(options.items, options.versions)
    CACHE.mkdir(parents=True, exist_ok=True)
    name = f"{options.items}-{options.versions}"
    place, table = CACHE / f"checkpoints-{name}", CACHE / f"delta-{name}"
    whole = CACHE / f"snapshot-{name}.parquet"
    ours = Ours(world, checkpoints(world, place))
    pq.write_table(ours.snapshot(world.versions), whole)
    theirs = Theirs(world, delta_lake(world, table), place, whole)
    compare(world, ours, theirs)
    random = np.random.default_rng(3)

    def any_of(act: Callable[[int], Any]) -> Callable[[], Any]:
        return lambda: act(int(random.integers(0, world.versions)))

    asked = ours.asked()
    ours_cold = median(
        "ours, cold: checkpoints opened, and a version",
        any_of(lambda version: ours.answer(version, ours.asked())),
    )
    ours_warm = median(
        "ours, resident: any version", any_of(lambda version: ours.answer(version, asked)), 40
    )
    ours_diff = median(
        "ours, resident: what a version changed",
        any_of(lambda version: ours.answer_diff(version, asked)),
        40,
    )
    _ = median("  of which the timeline: any version", any_of(ours.snapshot), 40)
    _ = median("  of which the timeline: what a version changed", any_of(ours.diff), 40)
    delta_cold = median(
        "Delta Lake, cold: table opened, and a version",
        any_of(lambda version: theirs.snapshot(version, fresh=True)),
    )
    delta = median("Delta Lake, open: any version", any_of(theirs.snapshot))
    _ = median("  the same, its labels as Arrow dictionaries", any_of(theirs.indexed))
    feed = median("Delta Lake, open: what a version changed", any_of(theirs.diff))
    fold = median("DuckDB: any version, from our change rows", any_of(theirs.fold), 5)
    read = median("DuckDB: a version that was written whole", any_of(theirs.read))
    for text, ratio in (
        ("a resident snapshot, times as fast as Delta Lake", delta / ours_warm),
        ("a difference, times as fast as Delta Lake", feed / ours_diff),
        ("a cold snapshot, times as fast as Delta Lake", delta_cold / ours_cold),
        ("a cold snapshot, times as fast as DuckDB over the same rows", fold / ours_cold),
        ("a cold snapshot, times as fast as DuckDB over a whole one", read / ours_cold),
    ):
        print(f"{text:60} {ratio:7.1f}")
    print(
        f"on disk: ours {size(place):.1f} MB (segments, manifests and the timeline's file), ",
        end="",
    )
    print(f"Delta Lake {size(table):.1f} MB (labels only)")


if __name__ == "__main__":
    main()
