"""Packed reading gives what `read` gives, and the same words where something is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message as Received
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import CorruptLog, InvalidRequest
from ledger.logs.base import Batch, Message, PackedCells
from ledger.logs.kafka_read import Packing, batch_of
from ledger.logs.sqlite import SqliteLog
from tests.logs.places import LABELS, NOON, alter, numbered

Rows = list[tuple[int, int, bytes | None, bytes | None]]
# Lengths around those at which a length, or SQLite's own text, could go wrong; zero bytes too.
cells = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"\0", b"a\0b", b"\xff" * 300]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with SqliteLog(path, "birds") as log:
        log.create(2)
        yield log


def rows(batches: Iterable[Batch]) -> Rows:
    return [
        row
        for each in batches
        for row in zip(each.offsets, each.timestamps_ms, each.keys, each.values, strict=True)
    ]


def packed(log: SqliteLog, start: int, stop: int, size: int) -> list[Batch]:
    return list(log.read_packed(LABELS, 0, start, stop, size))


@given(st.lists(st.tuples(st.none() | cells, cells), min_size=1, max_size=12), st.integers(1, 5))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_messages(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[bytes | None, bytes]], size: int
):
    """Keys that are missing or empty, values of any bytes, batches of any size."""
    with SqliteLog(tmp_path_factory.mktemp("packed") / "log.db", "birds") as log:
        log.create(1)
        messages = [Message(0, key, value, NOON + i) for i, (key, value) in enumerate(given)]
        log.append(LABELS, messages)
        for start in (0, len(given) // 2):
            batches = packed(log, start, len(given), size)
            assert all(isinstance(each.values, PackedCells) for each in batches)
            assert rows(batches) == rows(log.read(LABELS, 0, start, len(given)))


@given(
    st.lists(st.tuples(cells, cells, st.integers(1, 3)), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_messages_of_kafka(given: list[tuple[bytes, bytes, int]], size: int):
    """Taken in some at a time, with offsets between them that hold no message."""
    messages: list[Received] = []
    offset = 7
    for key, value, step in given:
        offset += step
        when = (1, NOON - offset)
        messages.append(Received("t", offset=offset, key=key, value=value, timestamp=when))
    packing, untimed = Packing(LABELS, 1, timed=True), Packing(LABELS, 1, timed=False)
    for first in range(0, len(messages), size):
        assert packing.add(messages[first : first + size])
        assert untimed.add(messages[first : first + size])
    batch, plain = packing.batch(), batch_of(LABELS, 1, messages)
    assert isinstance(batch.keys, PackedCells)
    assert isinstance(batch.values, PackedCells)
    assert list(untimed.batch().values) == list(batch.values)
    assert (batch.topic, batch.partition, len(batch)) == (LABELS, 1, len(plain))
    assert rows([batch]) == rows([plain])


@pytest.mark.parametrize(("key", "value"), [(b"k", None), (None, b"v"), (None, None)])
def test_message_without_key_or_value_is_not_packed(key: bytes | None, value: bytes | None):
    """Kafka can store one, and packed it would be an empty string: it is left out, with those
    that came with it.
    """
    whole = Received("t", offset=5, key=b"k", value=b"v")
    packing = Packing(LABELS, 0, timed=False)
    assert packing.add([whole])
    assert not packing.add([whole, Received("t", offset=6, key=key, value=value)])
    assert list(packing.batch().values) == [b"v"]


def test_cells_are_a_sequence(log: SqliteLog):
    """One cell, some of them, and those counted from the end."""
    log.append(LABELS, numbered(0, 0, 9))
    (batch,), (plain,) = packed(log, 0, 9, 10), log.read(LABELS, 0, 0, 9)
    for mine, theirs in ((batch.keys, plain.keys), (batch.values, plain.values)):
        assert (mine[4], mine[-1], mine[2:7:2]) == (theirs[4], theirs[-1], theirs[2:7:2])


def test_large_messages_are_not_packed(log: SqliteLog):
    """What would take much memory at once comes in the batches that `read` gives."""
    log.append(LABELS, [Message(0, b"k", b"x" * 100_000, NOON)] * 220)
    log.append(LABELS, numbered(0, 220, 240))
    batches = packed(log, 0, 240, 1000)
    assert not isinstance(batches[0].values, PackedCells)
    assert isinstance(batches[-1].values, PackedCells)
    assert rows(batches) == rows(log.read(LABELS, 0, 0, 240))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET value = x'00' WHERE offset = 5",
        "UPDATE records SET key = NULL WHERE offset = 5",
        "UPDATE records SET timestamp_ms = timestamp_ms + 1 WHERE offset = 5",
        "DELETE FROM records WHERE offset = 5",
        "DELETE FROM records WHERE offset >= 15",
    ],
)
def test_damage(log: SqliteLog, path: Path, change: str):
    """It is found before a batch that holds it is given, in the words of `read`."""
    log.append(LABELS, numbered(0, 0, 20))
    alter(path, change)
    with pytest.raises(CorruptLog) as told:
        list(log.read(LABELS, 0, 0, 20))
    with pytest.raises(CorruptLog) as same:
        packed(log, 0, 20, 20)
    assert str(same.value) == str(told.value)


def test_beyond_the_end(log: SqliteLog):
    """Refused at once, as by `read`."""
    with pytest.raises(InvalidRequest, match="holds the offsets"):
        log.read_packed(LABELS, 0, 0, 1, 10)
