"""How fast a past version is had, and two are compared, beside Delta Lake and DuckDB.

    python -m tests.bench.versions --items 1000000 --versions 100

One run prints all times, for only their ratios mean something on a shared machine. A dataset of so
many items is corrected version by version, one item in a hundred each time, with one approval.
Ours are the rows that the fold makes of that history, written as checkpoints (registrations,
corrections and decisions, with random ids as a frontend would give); Delta Lake gets the labels, a
MERGE per version with its change data feed; DuckDB reads our Parquet files with the query of the
README. Everything is made once and kept under .cache/bench.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from ledger.checkpoints.files import Folder
from ledger.checkpoints.index import rows_at_hand
from ledger.checkpoints.manifest import Origin
from ledger.checkpoints.rows import COLUMNS, Rows, rows_of
from ledger.checkpoints.store import Partition, Store
from ledger.checkpoints.timeline import Timeline
from ledger.checkpoints.writer import CheckpointWriter
from ledger.checkpoints.writer import Rows as Said
from ledger.columnar.delta import CHANGES, CORRECTIONS, REFUSALS, REVIEWS, Delta
from ledger.columnar.strings import PADDING, partitions_of
from ledger.core.epochs import Epochs
from ledger.core.events import ClassAdded, SchemaChanged, VersionTagged
from ledger.core.governance import Governance
from ledger.core.position import Position

CACHE = Path(".cache/bench")
PARTITIONS = 4
CLASSES = np.array([f"class{i:02}" for i in range(20)])
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_MS = 1_767_225_600_000
DAY_MS = 86_400_000


class World:
    """The history: which items each version corrects, and to what.

    Args:
        items: how many.
        versions: how many follow the first one.
    """

    def __init__(self, items: int, versions: int) -> None:
        random = np.random.default_rng(7)
        self.items, self.versions = items, versions
        self.ids = np.array([f"item-{i:09}" for i in range(items)])
        data = np.frombuffer("".join(self.ids.tolist()).encode() + bytes(PADDING), np.uint8)
        starts = np.arange(items) * 14
        self.home = partitions_of(data, starts, np.full(items, 14), PARTITIONS)
        self.labels = [np.arange(items) % 20]
        self.corrected: list[Any] = []
        for _ in range(versions):
            chosen = random.choice(items, items // 100, replace=False)
            after = self.labels[-1].copy()
            after[chosen] = (after[chosen] + random.integers(1, 20, len(chosen))) % 20
            self.corrected.append(chosen)
            self.labels.append(after)
        counts = np.bincount(self.home, minlength=PARTITIONS)
        self.ends = [counts]
        for chosen in self.corrected:
            self.ends.append(
                self.ends[-1] + 2 * np.bincount(self.home[chosen], minlength=PARTITIONS)
            )

    def position(self, version: int) -> Position:
        """Where a version was tagged."""
        return Position(tuple(self.ends[version].tolist()), 1 + version)

    def governance(self) -> Governance:
        """One contract of 20 classes; a tag for each version."""
        made = Governance(PARTITIONS, _never_used)
        common: dict[str, Any] = {"actor": "admin", "occurred_at": EPOCH}
        add = tuple(ClassAdded(name) for name in CLASSES.tolist())
        at = (0,) * PARTITIONS
        schema = SchemaChanged(
            event_id="s", contract_version=0, version=1, at=at, add=add, **common
        )
        made.apply(0, schema)
        for version in range(self.versions + 1):
            tag = VersionTagged(
                event_id=f"t{version}",
                contract_version=1,
                name=f"labels-v{version}",
                position=self.position(version),
                **common,
            )
            made.apply(1 + version, tag)
        return made

    def deltas(self, partition: int) -> Iterator[tuple[int, Delta]]:
        """What each version changed in a partition, and where it ends."""
        random = np.random.default_rng(partition)
        mine = np.nonzero(self.home == partition)[0]
        made_at = np.zeros(self.items, np.int64)
        made_at[mine] = np.arange(len(mine))
        place = {"partition": partition, "epoch": 0, "said_under": 1}
        registered = {
            **place,
            "offset": made_at[mine],
            "timestamp_ms": EPOCH_MS + made_at[mine] // 50,
            "outcome": "registered",
            "actor": "importer",
            "item_offset": made_at[mine],
            "item_id": self.ids[mine],
            "record_id": self.ids[mine],
            "label": CLASSES[self.labels[0][mine]],
            "contract": 1,
            "split": "train",
        }
        yield int(self.ends[0][partition]), _delta(changes=registered)
        for version, chosen in enumerate(self.corrected):
            items = chosen[self.home[chosen] == partition]
            count = len(items)
            offset = int(self.ends[version][partition]) + 2 * np.arange(count)
            clock = EPOCH_MS + (version + 1) * DAY_MS + np.cumsum(random.integers(0, 8000, count))
            about = {**place, "item_id": self.ids[items], "record_id": self.ids[items]}
            old, new = (CLASSES[self.labels[version + i][items]] for i in (0, 1))
            names = [random.bytes(16).hex() for _ in range(count)]
            proposed = {
                **about,
                "offset": offset,
                "timestamp_ms": clock,
                "actor": np.char.add("annotator-", random.integers(0, 50, count).astype(str)),
                "correction_id": names,
                "from_label": old,
                "to_label": new,
                "source": "feedback",
            }
            voted = {
                **about,
                "offset": offset + 1,
                "timestamp_ms": clock + random.integers(1000, 60_000, count),
                "actor": np.char.add("reviewer-", random.integers(0, 20, count).astype(str)),
                "correction_offset": offset,
                "outcome": "applied",
            }
            review = {**voted, "correction_id": names, "decision": "accept"}
            change = {**voted, "item_offset": made_at[items], "label": new, "contract": 1}
            yield (
                int(self.ends[version + 1][partition]),
                _delta(changes=change, corrections=proposed, reviews=review),
            )


def _never_used(partition: int, version: int, start: int, stop: int) -> None:
    """Every position is within the heads that the contract change read."""
    del partition, version, start, stop


def _delta(**given: dict[str, Any]) -> Delta:
    schemas = {
        "changes": CHANGES,
        "corrections": CORRECTIONS,
        "reviews": REVIEWS,
        "refusals": REFUSALS,
    }
    frames: list[pl.DataFrame] = []
    for table, schema in schemas.items():
        columns = given.get(table)
        if columns is None:
            frames.append(pl.DataFrame(schema=schema))
            continue
        frame = pl.DataFrame({"offset": columns["offset"]})
        cells = [
            (
                pl.lit(columns[name])
                if not isinstance(columns.get(name), list | np.ndarray)
                else pl.Series(columns[name])
            )
            if name in columns
            else pl.lit(None)
            for name in schema
        ]
        frames.append(
            frame.select(
                cell.cast(kind).alias(name)
                for cell, (name, kind) in zip(cells, schema.items(), strict=True)
            )
        )
    return Delta(*frames)


def checkpoints(world: World, path: Path) -> Store:
    """Our files, made if they are not there."""
    store = Store(Folder(path), Origin("bench", "topic", PARTITIONS))
    if not path.exists():
        epochs, writer = Epochs(world.governance()), CheckpointWriter(store)
        for partition in range(PARTITIONS):
            start = writer.begin(partition, epochs)
            for stop, delta in world.deltas(partition):
                writer.write(Said(partition, start, stop, delta, {1}), epochs)
                start = stop
            writer.flush(partition, epochs)
    return store


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
        names = [part.manifest.name() for part in parts]
        return Timeline(rows_at_hand(self.store.files, names, lambda: self.made(parts)))

    def made(self, parts: list[Partition]) -> Rows:
        """Its rows from the segments, when the file of it is not there."""
        frame = pl.concat([part.rows("changes", columns=COLUMNS) for part in parts])
        return rows_of(frame, PARTITIONS)

    def at(self, version: int) -> tuple[Governance, Position]:
        """Where a version is."""
        position = self.world.position(version)
        return self.governance.prefix(position.governance), position

    def snapshot(self, version: int, line: Timeline | None = None) -> Any:
        """A version as an Arrow table."""
        return (line or self.line).snapshot(*self.at(version))

    def diff(self, version: int) -> Any:
        """What the next version changed, as an Arrow table."""
        return self.line.diff(self.at(version), self.at(version + 1)).to_arrow()


class Theirs:
    """Delta Lake's table of the labels, and DuckDB over Parquet files."""

    def __init__(self, world: World, table: Path, segments: Path, snapshots: Path) -> None:
        self.world, self.table, self.segments = world, table, segments
        self.snapshots = snapshots
        self._duck = duckdb.connect()

    def snapshot(self, version: int) -> Any:
        """A version as an Arrow table."""
        table = DeltaTable(self.table)
        table.load_as_version(version)
        return table.to_pyarrow_table()

    def diff(self, version: int) -> Any:
        """Its change data feed."""
        feed = DeltaTable(self.table).load_cdf(version + 1, version + 1)
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
        mine = ours.snapshot(version).select(["id", "label"])
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

    ours_cold = median(
        "ours, cold: a fresh timeline, and a version",
        any_of(lambda version: ours.snapshot(version, ours.fresh())),
    )
    ours_warm = median("ours, resident: any version", any_of(ours.snapshot), 40)
    ours_diff = median("ours, resident: what a version changed", any_of(ours.diff), 40)
    delta = median("Delta Lake: any version", any_of(theirs.snapshot))
    feed = median("Delta Lake: what a version changed", any_of(theirs.diff))
    fold = median("DuckDB: any version, from our change rows", any_of(theirs.fold), 5)
    read = median("DuckDB: a version that was written whole", any_of(theirs.read))
    for text, ratio in (
        ("a resident snapshot, times as fast as Delta Lake", delta / ours_warm),
        ("a difference, times as fast as Delta Lake", feed / ours_diff),
        ("a cold snapshot, times as fast as Delta Lake", delta / ours_cold),
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
