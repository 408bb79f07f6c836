"""What no decoder reads is told once, with its bytes; whoever tells it, and however often."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("polars")

from consumers.quarantine import Quarantine, group_of
from ledger import Ledger
from ledger.core.events import EventQuarantined
from ledger.core.partitioner import partition_of
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Message, Topic
from tests.cli.command import Errata
from tests.consumers.keeping import end, opened, put, until
from tests.core.history import History

BAD = b"\x00\x00\x00\xff\xffnot an event"


def quarantined(dataset: Dataset) -> list[EventQuarantined]:
    found: list[EventQuarantined] = []
    for partition, stop in enumerate(dataset.log.ends(Topic.QUARANTINE)):
        for entry in dataset.entries(Topic.QUARANTINE, partition, 0, stop):
            assert isinstance(entry.event, EventQuarantined)
            found.append(entry.event)
    return found


def look(dataset: Dataset) -> None:
    looking, until = Quarantine(dataset, group_of(dataset)), end(dataset)
    looking.run(lambda: not looking.reaches(until))


def test_what_is_no_event(address: dict[str, str]) -> None:
    """Bytes that are no event, an event on the wrong topic, no value at all: each is told."""
    history, dataset = History.of_classes("cat", partitions=2), opened(address, 2)
    history.item("r0", "cat")
    for entry in history.log:
        put(dataset, entry)
    home = partition_of(b"r1", 2)
    (bad,) = dataset.log.append(Topic.LABELS, [Message(home, b"r1", BAD, 1_000)])
    stray = dataset.codec.encode(history.log[-1].event)
    (astray,) = dataset.log.append(Topic.GOVERNANCE, [Message(0, None, stray, 2_000)])
    look(dataset)
    found = {each.source_topic: each for each in quarantined(dataset)}
    assert len(found) == len(quarantined(dataset)) == 2
    label = found["labels"]
    assert (label.source_partition, label.source_offset) == (home, bad)
    assert (label.key, label.value, label.gate) == (b"r1", BAD, "decoder")
    assert "schema id 65535 is unknown" in label.reason
    governance = found["governance"]
    assert (governance.source_offset, governance.value) == (astray, stray)
    assert "ItemRegistered does not belong on governance" in governance.reason
    ends = dataset.log.ends(Topic.QUARANTINE)
    assert ends[home] >= 1  # by the record's key, where the record is


def test_it_goes_on_behind_what_was_told(address: dict[str, str]) -> None:
    """Started again, it tells what is new only; told by two at once, the ids are the same."""
    dataset = opened(address, 1)
    for number in range(3):
        dataset.log.append(Topic.LABELS, [Message(0, b"r", BAD, 1_000 + number)])
        look(dataset)
    found = quarantined(dataset)
    assert [each.source_offset for each in found] == [0, 1, 2]
    assert len({each.event_id for each in found}) == 3
    other = Quarantine(dataset, "another")
    other._quarantine(next(dataset.log.read(Topic.LABELS, 0, 0, 3)))  # pyright: ignore[reportPrivateUsage]
    assert len(quarantined(dataset)) == 6
    assert {each.event_id for each in quarantined(dataset)} == {each.event_id for each in found}


class Dies(Exception):
    """The process that quarantines is gone."""


@pytest.mark.parametrize("stored", range(4))
def test_whatever_is_stored_when_it_dies(
    stored: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that stands before it is stored too, in whichever partition: nothing is left out."""
    dataset = opened({"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}, 2)
    keys = [next(b"%d" % n for n in range(99) if partition_of(b"%d" % n, 2) == p) for p in (0, 1)]
    for number in range(4):
        dataset.log.append(Topic.LABELS, [Message(0, keys[1 - number % 2], BAD, 1_000)])
    append, left = dataset.log.append, stored

    def dying(topic: Topic, messages: Sequence[Message]) -> list[int]:
        nonlocal left
        mine = sorted(messages, key=lambda message: message.partition)  # any order is allowed
        done = append(topic, mine[:left])
        left -= len(done)
        if len(done) < len(messages):
            raise Dies
        return done

    with monkeypatch.context() as patched:
        patched.setattr(dataset.log, "append", dying)
        with pytest.raises(Dies):
            look(dataset)
    look(dataset)
    assert {each.source_offset for each in quarantined(dataset)} == {0, 1, 2, 3}


def test_beside_a_member_that_holds_the_partitions(tmp_path: Path) -> None:
    """`--once` ends when all is told, by whomever; not before."""
    dataset = opened({"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}, 1)
    topics, group = [Topic.LABELS, Topic.GOVERNANCE], group_of(dataset)
    with dataset.log.subscribe(topics, group, lambda topic, partition: 0) as holder:
        until(lambda: holder.poll(0.01) is None and bool(holder.assigned))
        look_until_told(dataset, told=True)
        dataset.log.append(Topic.LABELS, [Message(0, b"r", BAD, 1_000)])
        look_until_told(dataset, told=False)
        Quarantine(dataset, "another")._quarantine(  # pyright: ignore[reportPrivateUsage]
            next(dataset.log.read(Topic.LABELS, 0, 0, 1))
        )
        look_until_told(dataset, told=True)


def look_until_told(dataset: Dataset, *, told: bool) -> None:
    """A few turns of a member; whether it ends by itself."""
    looking, stop, turns = Quarantine(dataset, group_of(dataset)), end(dataset), iter(range(5))
    reached: list[bool] = []

    def go_on() -> bool:
        reached.append(looking.reaches(stop))
        return not reached[-1] and next(turns, None) is not None

    looking.run(go_on)
    assert reached[-1] is told


def test_bytes_that_are_too_many_are_not_kept_twice(tmp_path: Path) -> None:
    """The place says where they are."""
    dataset = opened({"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}, 1)
    dataset.log.append(Topic.LABELS, [Message(0, b"r", BAD + bytes(949_000), 1_000)])
    look(dataset)
    (found,) = quarantined(dataset)
    assert found.value is None
    assert "bytes stay where they are" in found.reason


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`worker --quarantine` tells, `log --quarantine` shows, and nobody appends it by hand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ERRATA_ACTOR", "ann")
    errata = Errata(tmp_path)
    errata("init", "--class", "cat")
    dataset = opened({"log": f"sqlite:///{tmp_path}/errata.db", "dataset": "default"}, 4)
    dataset.log.append(Topic.LABELS, [Message(0, b"r", BAD, 1_000)])
    errata("worker", "--quarantine", "--once")
    (line,) = errata("log", "--quarantine", "--json").lines
    assert (line["type"], line["topic"]) == ("EventQuarantined", "quarantine")
    assert b64decode(line["value"]) == BAD
    assert "EventQuarantined" in errata("log", "--quarantine").out
    again = Quarantine(dataset, "another")
    again._quarantine(next(dataset.log.read(Topic.LABELS, 0, 0, 1)))  # pyright: ignore[reportPrivateUsage]
    assert len(quarantined(dataset)) == 2
    for item, shown in (("r", [line]), ("r#1", [line]), ("s", [])):
        assert errata("log", "--quarantine", "--json", "--item", item).lines == shown
    told = errata.refused("append", "-", stdin=json.dumps(line))
    assert "written by `errata worker --quarantine` alone" in told
    event = quarantined(dataset)[0]
    book = Ledger.open(f"sqlite:///{tmp_path}/errata.db")
    for given in (line, event):
        with pytest.raises(InvalidRequest, match="alone"):
            book.append([given])
    book.close()
