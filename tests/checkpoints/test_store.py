"""What is stored is what was folded: whole, each row once, in few files, whoever writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import polars as pl

from ledger.checkpoints.files import Folder
from ledger.checkpoints.segments import TABLES
from ledger.checkpoints.store import Store
from ledger.checkpoints.timeline import COLUMNS, timeline_of
from ledger.checkpoints.writer import CheckpointWriter
from ledger.columnar.delta import Delta
from ledger.core.epochs import Epochs, live
from tests.checkpoints.deltas import delta_of
from tests.checkpoints.feeding import Feeder, store_of
from tests.checkpoints.test_timeline import canonical, covered
from tests.core.history import History
from tests.core.strategies import Plan, plans, play

few = settings(
    max_examples=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


def write(history: History, store: Store, steps: list[int], lag: int, every: int) -> None:
    """Follow the history in steps of so many moves, by a new writer now and then."""
    writer = CheckpointWriter(store, every)
    feeders = [Feeder(history, number) for number in range(history.partitions)]
    places, at, number = [0], 0, 0
    while at < len(history.checkpoints) - 1:
        at = min(at + steps[number % len(steps)], len(history.checkpoints) - 1)
        number += 1
        places.append(at)
    for number, place in enumerate(places):
        head = history.checkpoints[place]
        late = history.checkpoints[max(0, place - lag)] if place != places[-1] else head
        governance = history.governed(late.governance)
        labels = head.labels
        for feeder, stop in zip(feeders, labels, strict=True):
            feeder.feed(writer, governance, stop)
            if number % 2 or place == places[-1]:
                writer.flush(feeder.partition, Epochs(governance))
        if number % 3 == 2:
            writer = CheckpointWriter(store, every)


def check(history: History, store: Store) -> None:
    """Every row is there, each once, live ones where a glob finds them; and all can be restored."""
    governance = history.governed()
    epochs = Epochs(governance)
    folder = Path(store.files.url)
    for partition, log in enumerate(history.label_logs):
        stored = store.partition(partition)
        expected = delta_of(history, governance, partition, len(log))
        assert (stored.manifest.stop if stored else 0) == len(log)
        if stored is None:
            continue
        assert stored.valid(epochs) == len(log)
        assert_same(stored.delta([(0, len(log))]), expected)
        now = live(governance, partition, len(log))
        for table, frame in zip(TABLES, expected, strict=True):
            found = sorted((folder / f"labels-{partition:04}" / table).glob("*.parquet"))
            plain = pl.concat([pl.read_parquet(file) for file in found]) if found else frame[:0]
            inside = pl.any_horizontal(
                pl.lit(value=False),
                *(pl.col("offset").is_between(*each, closed="left") for each in now),
            )
            assert sorted(plain["offset"]) == frame.filter(inside)["offset"].to_list()
        listed = set(store.files.list(f"labels-{partition:04}"))
        assert listed == {
            *(file.name for file in stored.manifest.files()),
            stored.manifest.name(),
        }


def assert_same(one: Delta, two: Delta) -> None:
    for mine, theirs in zip(one, two, strict=True):
        assert mine.sort("offset").equals(theirs)


STEPS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@few
@given(plan=plans(), steps=STEPS, lag=st.integers(0, 6), every=st.sampled_from([3, 10, 1000]))
def test_every_row_is_stored_once(
    plan: Plan, steps: list[int], lag: int, every: int, tmp_path_factory: pytest.TempPathFactory
):
    """Whatever was known when, and however often a new writer went on."""
    history = play(plan, 2)
    store = store_of(history, Folder(tmp_path_factory.mktemp("store")))
    write(history, store, steps, lag, every)
    check(history, store)
    parts = [each for each in store.partitions() if each]
    made = timeline_of(pl.concat([p.rows("changes", columns=COLUMNS) for p in parts]), 2)
    for each in covered(history)[::3]:
        assert canonical(made, history, each) == history.at(each).canonical()
