"""Whatever the batches and whenever governance is learned: the same rows, and the right labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import polars as pl

from consumers.follower import Follower, Piece, Reset
from ledger.columnar.delta import SCHEMAS, Delta
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Reader
from ledger.columnar.replay import fetcher
from ledger.columnar.restore import NEEDED, restore
from ledger.core import canonical
from ledger.core.contract import Unresolved
from ledger.core.epochs import Epochs, live
from ledger.core.events import Geometry
from ledger.core.fold import PartitionFold, attributes_of
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Batch, Log, Topic
from tests.columnar.batches import CODEC, batch_of
from tests.columnar.test_equality import PATIENT, SIZES, SPECIAL, pieces
from tests.core.history import History, step
from tests.core.strategies import Plan, play, wild_plans
from tests.core.test_epochs import racing_plans

few = settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=PATIENT)
many = settings(few, max_examples=150)
Row = dict[str, Any]


@dataclass
class Memory:
    """The label topic of a history, as far as a follower reads it."""

    history: History
    missing: frozenset[int] = frozenset()
    """Offsets that the log skips, as Kafka may."""

    def read_packed(self, *_: object, **__: object) -> None:
        """There is no faster way than `read`."""

    def read(self, topic: Topic, partition: int, start: int, stop: int) -> Iterator[Batch]:
        assert topic is Topic.LABELS
        for at in range(start, stop, 3):
            log = self.history.label_logs[partition][at : min(at + 3, stop)]
            entries = [entry for entry in log if entry.offset not in self.missing]
            if entries:
                yield batch_of(entries, partition)


def dataset_of(history: History) -> Dataset:
    return Dataset(cast(Log, Memory(history)), CODEC, history.partitions)


@dataclass
class Sink:
    """Keeps the rows, as a view does."""

    partition: int
    rows: list[dict[int, Row]] = field(default_factory=lambda: [{}, {}, {}, {}])
    stop: int = 0
    met: set[int] = field(default_factory=set[int])
    resets: int = 0

    def take(self, pieces: Iterator[Piece | Reset]) -> None:
        for piece in pieces:
            assert piece.partition == self.partition
            if isinstance(piece, Reset):
                assert piece.start < self.stop
                self.stop = piece.start
                self.resets += 1
                for rows in self.rows:
                    for offset in [offset for offset in rows if offset >= piece.start]:
                        del rows[offset]
                continue
            assert piece.start == self.stop < piece.stop
            for rows, frame in zip(self.rows, piece.delta, strict=True):
                for row in frame.to_dicts():
                    assert piece.start <= row["offset"] < piece.stop
                    assert row["offset"] not in rows
                    assert row["epoch"] == piece.epoch
                    rows[row["offset"]] = row
            self.stop = piece.stop
            self.met |= piece.met


def rebuilt(history: History, governance: Governance) -> list[Sink]:
    """The rows at the head, made in one go."""
    sinks: list[Sink] = []
    for partition, log in enumerate(history.label_logs):
        sink = Sink(partition)
        sink.take(Follower(dataset_of(history), partition).advance(governance, len(log)))
        assert sink.stop == len(log)
        sinks.append(sink)
    return sinks


@dataclass
class Step:
    """Fold so many events, and know governance so many moves beyond them (negative: less far)."""

    ahead: int
    size: int


STEPS = st.lists(
    st.builds(Step, ahead=st.integers(-9, 9), size=st.integers(1, 9)), min_size=1, max_size=6
)


def walked(history: History, partition: int, steps: Sequence[Step], *, again: bool = False) -> Sink:
    """Follow a partition of the history as it grew: each batch as soon as it was there, with
    governance as it was then, or some moves before or after. `again`: with a new follower for
    each, restored from the rows.
    """
    sink, dataset = Sink(partition), dataset_of(history)
    follower = Follower(dataset, partition)

    def back(governance: Governance, partition: int, stop: int) -> tuple[int, ColumnarPartition]:
        rows = delta_of(sink, live(governance, partition, stop))
        return stop, restore(dataset, governance, partition, stop, rows)

    log, number = history.label_logs[partition], 0
    heads, known = [*history.checkpoints, history.head()], history.governed(0)
    while follower.offset < len(log):
        step = steps[number % len(steps)]
        number += 1
        stop = min(follower.offset + step.size, len(log))
        when = next(i for i, head in enumerate(heads) if head.labels[partition] >= stop)
        when = max(0, min(when + step.ahead, len(heads) - 1))
        governance = history.governed(heads[when].governance)
        if step.size % 2:
            sink.take(follower.advance(governance, stop))
        else:
            sink.take(follower.follow(governance, batch_of(log[stop - 1 : stop], partition)))
        if again:
            known = max(known, governance, key=lambda each: len(each.changes + each.rollbacks))
            follower = Follower(dataset, partition, follower.offset, known, back)
        if number > 10 * len(log):
            raise AssertionError("it does not come to an end")
    sink.take(follower.advance(history.governed(), len(log)))
    return sink


def check_walked(history: History, steps: Sequence[Step], *, again: bool = False) -> None:
    for expected in rebuilt(history, history.governed()):
        found = walked(history, expected.partition, steps, again=again)
        assert found.stop == expected.stop
        assert found.rows == expected.rows
        assert found.met >= expected.met


@few
@given(wild_plans(), STEPS, st.integers(1, 3))
def test_the_rows_do_not_depend_on_the_way(plan: Plan, steps: list[Step], partitions: int):
    """Any batches, any moments of learning of governance: the rows are those of a rebuild."""
    check_walked(play(plan, partitions), steps)


@few
@given(wild_plans(), STEPS, st.integers(1, 3))
def test_stopping_and_going_on_changes_nothing(plan: Plan, steps: list[Step], partitions: int):
    """A follower that is new for each batch, restored from the rows, gives the same rows."""
    check_walked(play(plan, partitions), steps, again=True)


@few
@given(racing_plans(), STEPS, st.floats(0, 1), st.booleans())
def test_governance_from_before_its_time(plan: Plan, steps: list[Step], part: float, again: bool):
    """All of it also where contract changes and rollbacks name earlier heads than there were."""
    history = play(plan, 2)
    check_walked(history, steps, again=again)
    check_covered(history, history.checkpoints)
    check_restored(history, part, [4])


def labels_at(sinks: Sequence[Sink], governance: Governance, position: Position) -> bytes:
    """The canonical bytes at a position, from rows alone: of the rows of each item in the live
    ranges below it the last one says the label, of those of each record the first one the split.
    """
    lines: dict[str, bytes] = {}
    for sink, stop in zip(sinks, position.labels, strict=True):
        changes = sink.rows[0]
        spans = live(governance, sink.partition, stop)
        rows = [changes[offset] for span in spans for offset in range(*span) if offset in changes]
        splits = {row["record_id"]: row["split"] for row in rows[::-1] if row["split"] is not None}
        attributes = {row["item_offset"]: row["attributes"] for row in rows if row["attributes"]}
        for row in {row["item_offset"]: row for row in rows}.values():
            kind, numbers = row["geometry_type"], row["coordinates"]
            geometry = Geometry(kind, tuple(numbers)) if kind else None
            label, open_ = row["label"], row["unresolved"]
            now = governance.contracts.forward(
                label if open_ is None else Unresolved(label, open_),
                row["contract"],
                governance.contract.version,
                attributes_of(json.loads(attributes.get(row["item_offset"], "{}")), geometry),
            )
            if isinstance(now, str):
                record = row["record_id"]
                line = canonical.line(row["item_id"], record, now, geometry, splits.get(record))
                lines[row["item_id"]] = line
    return b"".join(lines[name] for name in sorted(lines, key=str.encode))


def follower_of(history: History, restored: list[int] | None = None) -> tuple[Follower, Sink]:
    """A follower of the only partition; `restored` gets where a state was asked for."""
    dataset = dataset_of(history)

    def restore(governance: Governance, partition: int, stop: int) -> tuple[int, ColumnarPartition]:
        assert restored is not None
        restored.append(stop)
        return 0, ColumnarPartition(governance.contracts, partition, 1, CODEC)

    return Follower(dataset, 0, restore=None if restored is None else restore), Sink(0)


def outcomes(sink: Sink) -> list[tuple[int, str]]:
    """Epoch and outcome of every row of an item or a refusal, by offset."""
    rows = {**sink.rows[0], **sink.rows[3]}
    return [(rows[offset]["epoch"], rows[offset]["outcome"]) for offset in sorted(rows)]


def test_a_rollback_that_is_learned_late():
    """What lies at and beyond its `at` is said again; what it takes back stays, for its time."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    before = history.head()
    history.item("s", "cat")
    history.rollback(before)
    history.item("s", "dog")
    follower, sink = follower_of(history)
    sink.take(follower.advance(history.governed(1), 3))
    assert outcomes(sink) == [(0, "registered"), (0, "registered"), (0, "id_conflict")]
    said = list(follower.advance(history.governed(), 3))
    assert said[0] == Reset(0, 2)
    sink.take(iter(said))
    assert outcomes(sink) == [(0, "registered"), (0, "registered"), (1, "registered")]


def test_a_rollback_at_the_end_says_nothing_again():
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    before = history.head()
    history.item("s", "cat")
    restored: list[int] = []
    follower, sink = follower_of(history, restored)
    sink.take(follower.advance(history.governed(), 2))
    history.rollback(before)
    assert list(follower.advance(history.governed(), 2)) == []
    history.item("s", "dog")
    sink.take(follower.advance(history.governed(), 3))
    assert outcomes(sink) == [(0, "registered"), (0, "registered"), (1, "registered")]
    assert restored == [0, 2]


def test_a_contract_change_that_is_learned_late():
    """An event that names it was refused; it and what follows are said again."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    history.schema(add=["cow"])
    history.item("s", "cow")
    history.item("t", "cat")
    follower, sink = follower_of(history)
    sink.take(follower.advance(history.governed(1), 3))
    assert outcomes(sink)[1:] == [(0, "unknown_contract"), (0, "unknown_contract")]
    said = list(follower.advance(history.governed(), 3))
    assert said[0] == Reset(0, 1)
    sink.take(iter(said))
    assert outcomes(sink) == [(0, "registered")] * 3


def test_a_contract_change_keeps_the_state():
    """Nothing is restored for one that no event named yet, and an older governance is no news."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    restored: list[int] = []
    follower, sink = follower_of(history, restored)
    sink.take(follower.advance(history.governed(), 1))
    history.schema(rename={"cat": "lion"})
    history.correct("r", "cat", "dog", version=1)
    history.correct("r", "dog", "lion")
    sink.take(follower.advance(history.governed(), 3))
    sink.take(follower.advance(history.governed(1), 5))
    assert (sink.resets, restored) == (0, [0])
    assert [row["label"] for row in sink.rows[0].values()] == ["cat", "dog", "lion"]


def test_offsets_that_the_log_skips():
    """Pieces follow each other all the same."""
    history = History.of_classes("cat", "dog")
    for i in range(7):
        history.item(f"r{i}", "cat")
    for missing in ({0}, {2, 3, 4}, {6}, set(range(7))):
        memory = Memory(history, frozenset(missing))
        sink = Sink(0)
        follower = Follower(Dataset(cast(Log, memory), CODEC, 1), 0)
        sink.take(follower.advance(history.governed(), 7))
        assert (sink.stop, set(sink.rows[0])) == (7, set(range(7)) - missing)


def test_a_batch_is_taken_from_where_the_follower_is():
    """What came before is left out, what is missing before it is read from the log."""
    history = History.of_classes("cat", "dog")
    for i in range(7):
        history.item(f"r{i}", "cat")
    log = history.label_logs[0]
    follower, sink = follower_of(history)
    for start, stop in ((2, 4), (1, 5), (0, 3), (6, 7)):
        sink.take(follower.follow(history.governed(), batch_of(log[start:stop])))
    assert sorted(sink.rows[0]) == list(range(7))


def check_covered(history: History, positions: Sequence[Position]) -> None:
    """The greatest closed position below each, where it is covered."""
    governance = history.governed()
    sinks, epochs = rebuilt(history, governance), Epochs(governance)
    for position in {governance.floor(each) for each in positions}:
        if epochs.covered(position):
            then = history.governed(position.governance)
            assert labels_at(sinks, then, position) == history.at(position).canonical()


@many
@given(wild_plans(), st.integers(1, 3), st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=9))
def test_the_rows_answer_every_covered_position(
    plan: Plan, partitions: int, more: list[tuple[int, ...]]
):
    """To the byte what a replay answers, at every head there was and at any closed position."""
    history = play(plan, partitions)
    head = history.head()
    wild = [Position(each[:partitions], each[3]) for each in more]
    inside = [
        Position(tuple(map(min, each.labels, head.labels)), min(each.governance, head.governance))
        for each in wild
    ]
    check_covered(history, [*inside, *history.checkpoints, head])


def delta_of(sink: Sink, spans: Sequence[tuple[int, int]]) -> Delta:
    """The rows of these offsets, as what keeps them gives them back."""
    return Delta(
        *(
            pl.DataFrame(
                [rows[offset] for span in spans for offset in range(*span) if offset in rows],
                schema=schema,
                orient="row",
            ).select(NEEDED[name])
            for name, rows, schema in zip(Delta._fields, sink.rows, SCHEMAS, strict=True)
        )
    )


def reference(history: History, governance: Governance, partition: int, stop: int) -> PartitionFold:
    fold = PartitionFold(governance.contracts, partition, history.partitions)
    for entry, is_live in history.spans(governance, partition, stop):
        step(fold, entry, live=is_live)
    return fold


def check_restored(history: History, part: float, sizes: Sequence[int]) -> None:
    """Restore each partition where this part of it is folded, and go on to the epoch's end."""
    dataset, governance = dataset_of(history), history.governed()
    epochs, reader = Epochs(governance), Reader(CODEC)
    for sink in rebuilt(history, governance):
        partition, log = sink.partition, history.label_logs[sink.partition]
        cut = round(part * len(log))
        number = epochs.epoch(partition, cut)
        then = epochs.governances[number]
        if not epochs.stands(then, partition, cut):
            continue
        rows = delta_of(sink, live(then, partition, cut))
        fetch = fetcher(dataset, partition)
        whole = restore(dataset, then, partition, cut, rows).records(fetch)
        assert whole == reference(history, then, partition, cut).records
        state = restore(dataset, then, partition, cut, rows)
        ends = {each.epoch: each.stop for each in epochs.ranges(partition, len(log))}
        stop = ends.get(number, cut)
        for entries in pieces(log[cut:stop], sizes):
            batch = batch_of(entries, partition)
            state.apply(reader.frame(batch.offsets, batch.keys, batch.values))
        assert state.records(fetch) == reference(history, then, partition, stop).records


@many
@given(wild_plans(), st.integers(1, 3), st.floats(0, 1), SIZES)
def test_a_state_restored_is_the_state(plan: Plan, partitions: int, part: float, sizes: list[int]):
    """At any cut, and after going on from there: what the reference fold knows."""
    check_restored(play(plan, partitions), part, sizes)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_histories_are_restored(name: str):
    for part in (0.0, 0.3, 0.55, 0.8, 1.0):
        check_restored(SPECIAL[name](), part, [5])
