"""What every log promises, proved on each backend. A test's docstring is the fact."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from ledger.errors import InvalidRequest
from ledger.logs.base import BATCH_MESSAGES_MAX, Log, Topic
from tests.logs.places import (
    LABELS,
    NOON,
    PATIENCE_S,
    OpenLog,
    Place,
    everything,
    message,
    numbered,
    values,
)

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

SPAWN = multiprocessing.get_context("spawn")


# ------------------------------------------------------------------------------ topics


def test_nothing_exists_before_create(open_log: OpenLog):
    """A dataset exists once it is created, for every handle, and constructing creates nothing."""
    log, other = open_log(), open_log()
    assert not log.exists()
    log.create(2)
    assert log.exists()
    assert other.exists()
    log.check()


def test_create_twice(log: Log):
    """Creating what is there changes nothing: ids and messages stay."""
    log.append(LABELS, numbered(0, 0, 3))
    ids = dict(log.topic_ids())
    log.create(3)
    assert log.topic_ids() == ids
    assert everything(log, LABELS, 0) == [b"0", b"1", b"2"]


def test_create_with_another_count(log: Log):
    """A dataset's number of partitions is never changed: another is refused and told."""
    with pytest.raises(InvalidRequest, match="3"):
        log.create(4)
    assert log.partition_count(LABELS) == 3


@pytest.mark.parametrize("partitions", [0, -1])
def test_create_without_partitions(open_log: OpenLog, partitions: int):
    """A dataset has a partition at least."""
    log = open_log()
    with pytest.raises(InvalidRequest):
        log.create(partitions)
    assert not log.exists()


def test_partition_counts(log: Log):
    """Governance and meta have one partition, every other topic as many as were asked for."""
    assert {topic: log.partition_count(topic) for topic in Topic} == {
        topic: 1 if topic in (Topic.GOVERNANCE, Topic.META) else 3 for topic in Topic
    }


def test_topic_ids(log: Log, open_log: OpenLog):
    """Each topic has an id of its own, the same for every handle, and empty for none."""
    ids = log.topic_ids()
    assert set(ids) == set(Topic)
    assert len(set(ids.values())) == len(Topic)
    assert all(ids.values())
    log.close()
    assert open_log().topic_ids() == ids


def test_unknown_dataset(log: Log, open_log: OpenLog):
    """A dataset that was never created is refused in words, whatever is asked of it."""
    other = open_log("fishes")
    assert not other.exists()
    refused: list[Callable[[], object]] = [
        other.check,
        other.topic_ids,
        lambda: other.partition_count(LABELS),
        lambda: other.starts(LABELS),
        lambda: other.ends(LABELS),
        lambda: other.append(LABELS, numbered(0, 0, 1)),
        lambda: list(other.read(LABELS, 0, 0, 1)),
        lambda: other.offset_after(LABELS, 0, NOON),
    ]
    for ask in refused:
        with pytest.raises(InvalidRequest, match=other.dataset):
            ask()
    assert not other.exists()


def test_datasets_apart(open_log: OpenLog):
    """Datasets in one place do not see each other."""
    birds, fishes = open_log("birds"), open_log("fishes")
    birds.create(3)
    assert not fishes.exists()
    fishes.create(1)
    birds.append(LABELS, [message(0, b"wren")])
    fishes.append(LABELS, [message(0, b"carp"), message(0, b"pike")])
    assert everything(birds, LABELS, 0) == [b"wren"]
    assert everything(fishes, LABELS, 0) == [b"carp", b"pike"]
    assert birds.partition_count(LABELS) == 3
    assert not set(birds.topic_ids().values()) & set(fishes.topic_ids().values())


# ------------------------------------------------------------------------------ append and read


def test_append_returns_offsets(log: Log):
    """Append returns each message's offset, in the order given, counted per partition from 0."""
    first = log.append(LABELS, [message(p, b"x") for p in (0, 2, 0, 1, 0, 2)])
    assert first == [0, 0, 1, 0, 2, 1]
    assert log.append(LABELS, [message(p, b"y") for p in (1, 0)]) == [1, 3]
    assert log.ends(LABELS) == [4, 2, 2]


def test_order_within_partitions(log: Log):
    """Interleaved partitions keep each its own order."""
    sent = [message(n % 3, b"%d" % n) for n in range(3000)]
    log.append(LABELS, sent)
    for partition in range(3):
        assert everything(log, LABELS, partition) == [
            m.value for m in sent if m.partition == partition
        ]


def test_topics_apart(log: Log):
    """Topics of one dataset do not see each other."""
    log.append(Topic.FEEDBACK, [message(0, b"raw")])
    log.append(Topic.GOVERNANCE, [message(0, b"rule")])
    assert everything(log, LABELS, 0) == []
    assert everything(log, Topic.FEEDBACK, 0) == [b"raw"]
    assert everything(log, Topic.GOVERNANCE, 0) == [b"rule"]


@pytest.mark.parametrize(
    "key", [None, b"", b"k", bytes(range(256))], ids=["none", "empty", "short", "all"]
)
@pytest.mark.parametrize("value", [b"", b"\x00", bytes(range(256))], ids=["empty", "nul", "all"])
def test_exact_bytes(log: Log, key: bytes | None, value: bytes):
    """Keys and values come back byte for byte; no key and an empty one are different things."""
    log.append(LABELS, [message(0, b"before"), message(0, value, key), message(0, b"after")])
    (batch,) = log.read(LABELS, 0, 0, 3)
    assert list(batch.values) == [b"before", value, b"after"]
    assert list(batch.keys) == [b"k", key, b"k"]


def test_big_value(log: Log):
    """A value of 500 kB is stored as any other."""
    big = bytes(range(256)) * 2000
    assert log.append(LABELS, [message(1, big), message(1, b"small"), message(1, big)]) == [0, 1, 2]
    assert everything(log, LABELS, 1) == [big, b"small", big]


def test_timestamps_are_kept(log: Log):
    """Timestamps are the appender's, to the millisecond, and need not ascend."""
    times = [NOON + 5, NOON, NOON, NOON + 999_999, 1]
    log.append(LABELS, [message(0, b"x", at=at) for at in times])
    (batch,) = log.read(LABELS, 0, 0, 5)
    assert list(batch.timestamps_ms) == times


@pytest.mark.parametrize("at", [0, -1])
def test_no_timestamp(log: Log, at: int):
    """What is no time is refused (0 and -1 mean "now" and "none" to Kafka), and stores nothing."""
    with pytest.raises(InvalidRequest, match=str(at)):
        log.append(LABELS, [message(0, b"x"), message(0, b"y", at=at)])
    assert log.ends(LABELS) == [0, 0, 0]


def test_append_nothing(log: Log):
    """Appending no message is no message."""
    assert log.append(LABELS, []) == []
    assert log.ends(LABELS) == [0, 0, 0]


def test_append_to_no_partition(log: Log):
    """A partition that is not there is refused, and nothing of that append is stored."""
    for partition in (3, -1):
        with pytest.raises(InvalidRequest, match=str(partition)):
            log.append(LABELS, [message(0, b"x"), message(partition, b"y")])
    assert log.ends(LABELS) == [0, 0, 0]


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (0, 1), (9, 10), (3, 7), (0, 0), (4, 4), (10, 10)]
)
def test_read_ranges(log: Log, start: int, stop: int):
    """Read gives the messages from `start` up to, and without, `stop`, all columns in step."""
    log.append(LABELS, numbered(1, 0, 10))
    batches = list(log.read(LABELS, 1, start, stop))
    assert [(batch.topic, batch.partition) for batch in batches] == [(LABELS, 1)] * len(batches)
    assert all(len(batch) > 0 for batch in batches)
    rows = [
        row
        for batch in batches
        for row in zip(batch.offsets, batch.timestamps_ms, batch.keys, batch.values, strict=True)
    ]
    assert rows == [(n, NOON + n, b"key %d" % n, b"%d" % n) for n in range(start, stop)]


def test_batches_are_bounded(log: Log):
    """No batch has more than BATCH_MESSAGES_MAX messages, and together they are complete."""
    count = 2 * BATCH_MESSAGES_MAX + 7
    log.append(LABELS, numbered(0, 0, count))
    batches = list(log.read(LABELS, 0, 0, count))
    assert max(map(len, batches)) <= BATCH_MESSAGES_MAX
    assert list(chain.from_iterable(batch.offsets for batch in batches)) == list(range(count))
    assert values(iter(batches)) == [b"%d" % n for n in range(count)]


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (3, 7), (4, 4)])
@pytest.mark.parametrize("rows", [3, 100])
def test_packed(log: Log, start: int, stop: int, rows: int):
    """Read packed, a range is the same, in batches of about so many rows."""
    log.append(LABELS, numbered(1, 0, 10))
    batches = list(log.read_packed(LABELS, 1, start, stop, rows) or ())
    assert len(batches) == -(-(stop - start) // rows)
    found = [
        row
        for batch in batches
        for row in zip(batch.offsets, batch.timestamps_ms, batch.keys, batch.values, strict=True)
    ]
    assert found == [(n, NOON + n, b"key %d" % n, b"%d" % n) for n in range(start, stop)]


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 4), (2, 100), (4, 5)])
def test_read_beyond_the_end(log: Log, start: int, stop: int):
    """What is not there yet is refused, never waited for and never given as less."""
    log.append(LABELS, numbered(0, 0, 3))
    with pytest.raises(InvalidRequest):
        list(log.read(LABELS, 0, start, stop))


def test_read_no_partition(log: Log):
    """A partition that is not there can be neither read nor searched."""
    with pytest.raises(InvalidRequest, match="3"):
        list(log.read(LABELS, 3, 0, 0))
    with pytest.raises(InvalidRequest, match="3"):
        log.offset_after(LABELS, 3, NOON)


def test_reading_stopped_early(log: Log):
    """A reader may stop in the middle; the log takes appends and other reads as before."""
    log.append(LABELS, numbered(0, 0, BATCH_MESSAGES_MAX + 1))
    batches = log.read(LABELS, 0, 0, BATCH_MESSAGES_MAX + 1)
    assert next(batches).offsets[0] == 0
    assert log.append(LABELS, [message(0, b"x")]) == [BATCH_MESSAGES_MAX + 1]
    assert sum(map(len, batches)) == 1


def test_starts_and_ends(log: Log):
    """A fresh log starts and ends at 0; the end is the next offset, the start stays."""
    assert log.starts(LABELS) == log.ends(LABELS) == [0, 0, 0]
    log.append(LABELS, [*numbered(0, 0, 2), *numbered(2, 0, 5)])
    assert log.starts(LABELS) == [0, 0, 0]
    assert log.ends(LABELS) == [2, 0, 5]
    assert log.ends(Topic.META) == [0]


# ------------------------------------------------------------------------------ time


@pytest.mark.parametrize(
    ("after", "offset"), [(-1, 0), (0, 1), (1, 3), (2, 3), (3, 4), (4, 5), (1000, 5)]
)
def test_offset_after(log: Log, after: int, offset: int):
    """The first offset later than a time: those at that very time come before it, and when
    none is later it is the end.
    """
    log.append(LABELS, [message(0, b"x", at=NOON + ms) for ms in (0, 1, 1, 3, 4)])
    assert log.offset_after(LABELS, 0, NOON + after) == offset


@pytest.mark.parametrize(("after", "offset"), [(0, 0), (5, 2), (7, 2), (8, 4), (9, 5)])
def test_offset_after_when_time_runs_backwards(log: Log, after: int, offset: int):
    """With timestamps out of order it is the first message that is later, not the last."""
    for ms in (5, 2, 8, 1, 9):  # one append each: on Kafka, one batch each
        log.append(LABELS, [message(0, b"x", at=NOON + ms)])
    assert log.offset_after(LABELS, 0, NOON + after) == offset


def test_offset_after_in_an_empty_partition(log: Log):
    """Nothing is later in a partition that holds nothing: its end."""
    assert log.offset_after(LABELS, 1, 0) == 0


# ------------------------------------------------------------------------------ handles


def test_second_handle_sees_an_append(log: Log, open_log: OpenLog):
    """What append returned from is visible to every other handle at once."""
    other = open_log()
    for n in range(20):
        log.append(LABELS, [message(0, b"%d" % n)])
        assert other.ends(LABELS)[0] == n + 1
        assert values(other.read(LABELS, 0, n, n + 1)) == [b"%d" % n]


def test_reopened(log: Log, open_log: OpenLog):
    """A closed log, opened again, holds what it held and goes on at its end."""
    log.append(LABELS, numbered(0, 0, 3))
    log.close()
    log.close()
    again = open_log()
    again.check()
    assert again.append(LABELS, numbered(0, 3, 5)) == [3, 4]
    assert everything(again, LABELS, 0) == [b"0", b"1", b"2", b"3", b"4"]


def read_growing(place: Place, total: int, ready: Event, results: Queue[str]) -> None:
    """In another process: read to the end again and again until all is there."""
    log = place.open("birds")
    seen = 0
    ready.set()
    while seen < total:
        end = log.ends(LABELS)[0]
        if end < seen or values(log.read(LABELS, 0, 0, end)) != [b"%d" % n for n in range(end)]:
            results.put(f"the first {end} messages are not those appended")
            return
        seen = end
    results.put("prefixes only")


def test_reading_while_another_process_appends(log: Log, open_log: OpenLog):
    """A reader in another process always sees a prefix without gaps, while one appends."""
    total, ready, results = 1000, SPAWN.Event(), SPAWN.Queue()
    reader = SPAWN.Process(target=read_growing, args=(open_log.place, total, ready, results))
    reader.start()
    try:
        assert ready.wait(PATIENCE_S)
        for first in range(0, total, 10):
            log.append(LABELS, numbered(0, first, first + 10))
        assert results.get(timeout=PATIENCE_S) == "prefixes only"
    finally:
        reader.terminate()
        reader.join()


def append_many(place: Place, name: bytes, results: Queue[tuple[bytes, list[int]]]) -> None:
    """In another process: append 200 messages to partition 0, in appends of one to four."""
    log = place.open("birds")
    offsets: list[int] = []
    while len(offsets) < 200:
        first = len(offsets)
        stop = min(200, first + 1 + first % 4)
        offsets += log.append(LABELS, [message(0, b"%s%d" % (name, n)) for n in range(first, stop)])
    results.put((name, offsets))


def test_two_appenders(log: Log, open_log: OpenLog):
    """Two processes append at once: no offset is given twice, nothing is lost, and each finds
    its messages where it was told.
    """
    results: Queue[tuple[bytes, list[int]]] = SPAWN.Queue()
    writers = [
        SPAWN.Process(target=append_many, args=(open_log.place, name, results))
        for name in (b"a", b"b")
    ]
    for writer in writers:
        writer.start()
    told = dict(results.get(timeout=PATIENCE_S) for _ in writers)
    for writer in writers:
        writer.join()
    assert sorted(told[b"a"] + told[b"b"]) == list(range(400))
    stored = everything(log, LABELS, 0)
    for name, offsets in told.items():
        assert offsets == sorted(offsets)
        assert [stored[offset] for offset in offsets] == [b"%s%d" % (name, n) for n in range(200)]
