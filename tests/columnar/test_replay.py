"""Replay and snapshots by columns, beside those by the reference fold, on a real log."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger import replay as reference
from ledger.clock import milliseconds, now
from ledger.codec import Codec
from ledger.columnar import replay as columnar
from ledger.columnar.state import OUTCOMES
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Batch, Message, Topic
from ledger.logs.sqlite import SqliteLog
from ledger.registry import EmbeddedRegistry
from tests.core.history import History, box
from tests.core.strategies import Plan, plans, play

PARTITIONS = 2
patient = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Prefetching(SqliteLog):
    """Read as Kafka is, whose client fetches ahead by itself."""

    prefetches = True


def stored(history: History, path: Path, kind: type[SqliteLog] = SqliteLog) -> Dataset:
    """The history on an embedded log."""
    log = kind(path, "d")
    log.create(history.partitions)
    dataset = Dataset(log, Codec(EmbeddedRegistry(log)), history.partitions)
    for entry in history.log:
        value = dataset.codec.encode(entry.event)
        message = Message(entry.partition, entry.key, value, milliseconds(now()))
        log.append(Topic(entry.topic), [message])
    return dataset


def simple(items: int) -> History:
    """Items that are registered, corrected and decided, under two contracts."""
    history = History.of_classes("cat", "dog", "owl", partitions=PARTITIONS)
    for i in range(items):
        history.item(f"r{i}", "cat", split="train" if i % 2 else None, content=f"text {i}")
    for i in range(items // 2):
        history.correct(f"r{i}", "cat" if i % 3 else "owl", "dog")
    history.schema(rename={"dog": 'hound "x"'})
    for i in range(items // 2):
        history.correct(f"r{i}", "cat", "owl")
    return history


def compare(dataset: Dataset, before: Position, after: Position) -> None:
    """Both ways at two positions: bytes, hash, files, labels, rows with contents, difference."""
    ours = [columnar.replay(dataset, position).snapshot() for position in (before, after)]
    theirs = [reference.replay(dataset, position).snapshot() for position in (before, after)]
    for mine, other in zip(ours, theirs, strict=True):
        assert bytes(mine.canonical()) == b"".join(other.lines())
        assert list(mine.lines()) == list(other.lines())
        assert mine.sha256 == other.sha256
        assert mine.labels() == other.labels()
        assert len(mine) == len(other)
        assert mine.to_arrow().equals(other.to_arrow())
        assert mine.to_arrow(content=True).equals(other.to_arrow(content=True))
        assert list(mine.rows) == list(other.rows)
        for format in ("jsonl", "csv", "parquet"):
            for content in (False, True):
                one, two = io.BytesIO(), io.BytesIO()
                mine.write(one, format, content=content)
                other.write(two, format, content=content)
                assert one.getvalue() == two.getvalue()
    found = [(c.item_id, c.kind, c.before and c.before.line()) for c in ours[0].diff(ours[1])]
    assert found == [
        (c.item_id, c.kind, c.before and c.before.line()) for c in theirs[0].diff(theirs[1])
    ]


@patient
@given(plan=plans(size=8))
def test_snapshots(plan: Plan, tmp_path_factory: pytest.TempPathFactory):
    history = play(plan, PARTITIONS)
    dataset = stored(history, tmp_path_factory.mktemp("log") / "log.db")
    closed = [each for each in history.checkpoints if history.governed().closed(each)]
    compare(dataset, closed[len(closed) // 2], closed[-1])


def test_a_plain_history(tmp_path: Path):
    """Escapes, regions, geometry and texts; most records are folded as columns."""
    history = simple(60)
    history.item("r1#é", "cat", box(2, 3))
    history.item("ü\n", "owl")
    history.item("r2#1", None)
    dataset = stored(history, tmp_path / "log.db")
    compare(dataset, history.checkpoints[80], history.head())
    state = columnar.replay(dataset, history.head())
    events = sum(map(len, history.label_logs))
    assert sum(each.fast_rows for each in state.partitions) >= 0.9 * events


def test_no_item_at_all(tmp_path: Path):
    dataset = stored(History(PARTITIONS), tmp_path / "log.db")
    compare(dataset, Position((0, 0), 0), Position((0, 0), 0))


def test_outcomes_are_told_batch_by_batch(tmp_path: Path):
    history = simple(20)
    dataset = stored(history, tmp_path / "log.db")
    expected = history.at()
    found: dict[tuple[str, int, int], object] = {}

    def observe(batch: Batch, outcomes: Any) -> None:
        for offset, code in zip(batch.offsets, outcomes.tolist(), strict=True):
            found["labels", batch.partition, offset] = OUTCOMES[code]

    columnar.replay(dataset, history.head(), observe)
    assert found == {p: o for p, o in expected.outcomes.items() if p[0] == "labels"}


@pytest.mark.parametrize("kind", [SqliteLog, Prefetching])
def test_a_thread_reads_ahead_where_the_log_does_not(tmp_path: Path, kind: type[SqliteLog]):
    history = simple(20)
    dataset = stored(history, tmp_path / "log.db", kind)
    threads: set[str] = set()

    def observe(_: Batch, __: Any) -> None:
        threads.update(each.name for each in threading.enumerate())

    state = columnar.replay(dataset, history.head(), observe)
    assert ("errata-read-ahead" in threads) is not kind.prefetches
    expected = reference.replay(dataset, history.head()).snapshot()
    assert state.snapshot().sha256 == expected.sha256


def test_a_reader_that_fails_or_is_left(tmp_path: Path):
    """Its error reaches the caller; left early, its thread ends."""

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    made = columnar.ahead(failing())
    assert next(made) == 1
    with pytest.raises(ValueError, match="torn"):
        next(made)
    endless = columnar.ahead(iter(int, 1))
    assert next(endless) == 0
    endless.close()
