"""What is stored is what was folded: whole, each row once, in few files, whoever writes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import polars as pl

from ledger.checkpoints.rows import COLUMNS, rows_of
from ledger.checkpoints.segments import TABLES
from ledger.checkpoints.store import Store
from ledger.checkpoints.timeline import Timeline
from ledger.checkpoints.writer import CheckpointWriter, Overtaken, Rows
from ledger.columnar.delta import Delta
from ledger.core.epochs import Epochs, live
from ledger.core.position import Position
from tests.checkpoints.deltas import delta_of
from tests.checkpoints.feeding import Feeder, Memory, PowerCutError, store_of
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
    ],
)


def write(history: History, store: Store, steps: Sequence[int], lag: int, every: int) -> None:
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
    listed = set(store.files.list(""))
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
            home = f"labels-{partition:04}/{table}/"
            found = [store.files.read(name) or b"" for name in listed if name.startswith(home)]
            plain = pl.concat([pl.read_parquet(io.BytesIO(each)) for each in found] or [frame[:0]])
            inside = pl.any_horizontal(
                pl.lit(value=False),
                *(pl.col("offset").is_between(*each, closed="left") for each in now),
            )
            assert sorted(plain["offset"]) == frame.filter(inside)["offset"].to_list()
        mine = {name for name in listed if name.startswith(f"labels-{partition:04}/")}
        named = {file.name for file in stored.manifest.files()}
        assert mine == {*named, stored.manifest.name()}


def assert_same(one: Delta, two: Delta) -> None:
    for mine, theirs in zip(one, two, strict=True):
        assert mine.sort("offset").equals(theirs)


STEPS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@few
@given(plan=plans(), steps=STEPS, lag=st.integers(0, 6), every=st.sampled_from([3, 10, 1000]))
def test_every_row_is_stored_once(plan: Plan, steps: list[int], lag: int, every: int):
    """Whatever was known when, and however often a new writer went on."""
    history = play(plan, 2)
    store = store_of(history, Memory())
    write(history, store, steps, lag, every)
    check(history, store)
    parts = [each for each in store.partitions() if each]
    frame = pl.concat([p.rows("changes", columns=COLUMNS) for p in parts])
    made = Timeline(rows_of(frame, 2))
    for each in covered(history)[::3]:
        assert canonical(made, history, each) == history.at(each).canonical()


def eventful() -> History:
    """Two partitions with corrections, tags, a rollback, one that voids it, and a rename."""
    history = History.of_classes("cat", "dog", partitions=2)
    for i in range(8):
        history.item(f"r{i}", "cat", split="train")
    history.tag("v1")
    middle = history.head()
    for i in range(4):
        history.correct(f"r{i}", "cat", "dog")
    late = history.head()
    history.rollback(middle)
    history.correct("r5", "cat", "dog")
    history.schema(rename={"dog": "hound"})
    history.rollback(late)
    for i in range(8, 12):
        history.item(f"r{i}", "cat")
    history.tag("v2")
    return history


@pytest.mark.parametrize("lag", [0, 9])
def test_a_writer_that_dies(lag: int):
    """Wherever it dies: what can be read is whole and right, and the next writer finishes."""
    history = eventful()
    epochs = Epochs(history.governed())
    deaths = 0
    while True:
        files = Memory(left=deaths)
        try:
            write(history, store_of(history, files), [3, 5, 2], lag, 10)
        except PowerCutError:
            deaths += 1
        else:
            break
        files.left = None
        for part in store_of(history, files).partitions():
            if part is not None:
                assert not list(part.damage())
                reach = part.valid(epochs)
                expected = delta_of(history, history.governed(), part.manifest.partition, reach)
                assert_same(part.delta([(0, reach)]), expected)
        store = store_of(history, files)
        write(history, store, [len(history.checkpoints)], 0, 1000)
        check(history, store)
    assert deaths > 30


@pytest.mark.parametrize("far", [8, 20, 28])
def test_a_writer_that_is_frozen(far: int):
    """Between any two files it stands still while another takes the partitions over, to the end, in
    steps of so many moves: what is stored is right and whole when it wakes up, and stays so.
    """
    history = eventful()
    whole, frozen = history.governed(), 0
    while True:
        files = Memory(left=frozen)
        store = store_of(history, files)
        woken: list[bool] = []

        def others(store: Store = store, woken: list[bool] = woken) -> None:
            woken.append(True)
            write(history, store, [far], 0, 5)

        files.meanwhile = others
        with contextlib.suppress(Overtaken):
            write(history, store, [4, 3], 0, 5)
        if not woken:
            break
        frozen += 1
        for part in store.partitions():
            if part is not None:
                assert not list(part.damage())
                reach = part.valid(Epochs(whole))
                expected = delta_of(history, whole, part.manifest.partition, reach)
                assert_same(part.delta([(0, reach)]), expected)
        write(history, store, [len(history.checkpoints)], 0, 1000)
        check(history, store)
    assert frozen > 20


def test_rows_are_taken_back_and_a_tag_comes_late():
    """What is stored may become less, and may get a cut where nothing else is new: each time the
    newest state counts, and nothing of the one before is left.
    """
    history = History.of_classes("cat", partitions=1)
    for i in range(12):
        history.item(f"r{i}", "cat")
    store = store_of(history, Memory())
    writer, epochs = CheckpointWriter(store), Epochs(history.governed())
    whole = delta_of(history, history.governed(), 0, 12)
    at = 0
    for stop, back in ((12, 12), (8, 5), (9, 9), (9, 2), (12, 9)):
        writer.reset(0, back)
        at = min(at, back)
        inside = pl.col("offset").is_between(at, stop, closed="left")
        delta = Delta(*(frame.filter(inside) for frame in whole))
        writer.write(Rows(0, at, stop, delta, {1}), epochs)
        writer.flush(0, epochs)
        at = stop
        assert writer.stored(0) == stop
    check(history, store)
    lied = delta_of(history, history.governed(), 0, 12).changes.with_columns(label=pl.lit("cow"))
    writer.reset(0, 9)  # what is told anew has the same bounds
    told = Delta(*(each.filter(pl.col("offset") >= 9) for each in whole._replace(changes=lied)))
    writer.write(Rows(0, 9, 12, told, {1}), epochs)
    writer.flush(0, epochs)
    changed = store.partition(0)
    assert changed is not None
    assert changed.rows("changes")["label"].to_list() == ["cat"] * 9 + ["cow"] * 3
    writer.reset(0, 9)
    told = Delta(*(each.filter(pl.col("offset") >= 9) for each in whole))
    writer.write(Rows(0, 9, 12, told, {1}), epochs)
    writer.flush(0, epochs)
    check(history, store)
    history.tag("v1", Position((7,), 1))
    writer.flush(0, Epochs(history.governed()))
    check(history, store)
    part = store.partition(0)
    assert part is not None
    assert [cut.offset for cut in part.manifest.cuts] == [7, 9, 12]


SCHEDULE = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 15)), min_size=1, max_size=12)


@few
@given(plan=plans(size=10), schedule=SCHEDULE, every=st.sampled_from([3, 1000]))
def test_two_writers(plan: Plan, schedule: list[tuple[int, int]], every: int):
    """Two that both believe that the partition is theirs, each frozen for a while now and then:
    what is stored is always right, and in the end it is all.
    """
    history = play(plan, 1)
    store = store_of(history, Memory())
    writers = [CheckpointWriter(store, every) for _ in range(2)]
    feeders = [Feeder(history, 0) for _ in range(2)]
    at = [0, 0]
    end = len(history.checkpoints) - 1
    for who, step in [*schedule, (0, end), (1, end)]:
        at[who] = min(at[who] + step, end)
        head = history.checkpoints[at[who]]
        governance = history.governed(head.governance)
        try:
            feeders[who].feed(writers[who], governance, head.labels[0])
            writers[who].flush(0, Epochs(governance))
        except Overtaken:
            feeders[who].writer = None  # begins again next time
        stored = store.partition(0)
        if stored is not None:
            assert not list(stored.damage())
            reach = stored.valid(Epochs(history.governed()))
            expected = delta_of(history, history.governed(), 0, reach)
            assert_same(stored.delta([(0, reach)]), expected)
    write(history, store, [end], 0, every)
    check(history, store)
