"""A worker's view is what the log says, however it came there."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

from consumers.sinks import CheckpointSink, PassedOver, ViewSink
from consumers.worker import Worker
from ledger import Ledger
from ledger.checkpoints.files import open_files
from ledger.checkpoints.store import Store, origin_of
from ledger.checkpoints.writer import CheckpointWriter
from ledger.dataset import Dataset
from ledger.errors import CheckpointsUnavailable, LogUnavailable, ViewsDamaged
from ledger.logs.base import Batch, Subscription, Topic
from ledger.views.contract import Known
from ledger.views.reader import View
from tests.consumers.keeping import (
    PATIENCE_S,
    end,
    kept,
    opened,
    put,
    story,
    until,
    working,
)
from tests.core.history import History
from tests.services import Broker
from tests.views.material import content

PARTITIONS = 2


def shown(path: Path, dataset: Dataset) -> dict[str, str]:
    with View.open(path, dataset) as view:
        rows = view.connection.rows("SELECT item_id, label FROM labels")
        return {row[0]: row[1] for row in rows}


def reached(path: Path, dataset: Dataset) -> bool:
    with View.open(path, dataset) as view:
        return end(dataset).within(view.position)


def test_a_log_that_is_there(address: dict[str, str], tmp_path: Path) -> None:
    """All of it is kept at once; the labels are those of the fold."""
    history, dataset = story(PARTITIONS), opened(address, PARTITIONS)
    for entry in history.log:
        put(dataset, entry)
    kept(dataset, tmp_path / "v.db")
    assert shown(tmp_path / "v.db", dataset) == history.labels()


def test_a_log_that_grows(address: dict[str, str], tmp_path: Path) -> None:
    """Events, tags, renames and rollbacks are kept as they come; it is the same in the end."""
    history, dataset = story(PARTITIONS), opened(address, PARTITIONS)
    live = tmp_path / "live.db"
    with working(address, live, "live"):
        until(live.exists)
        for number, entry in enumerate(history.log):
            put(dataset, entry)
            if number % 7 == 0:
                until(lambda: reached(live, dataset))
        until(lambda: reached(live, dataset))
    assert content(live) == kept(dataset, tmp_path / "whole.db")
    assert shown(live, dataset) == history.labels()


def test_governance_alone(address: dict[str, str], tmp_path: Path) -> None:
    """A tag and a rollback show although no label event comes."""
    history, dataset = History.of_classes("cat", "dog", partitions=1), opened(address, 1)
    history.item("a", "cat")
    before = history.head()
    history.correct("a", "cat", "dog")
    live = tmp_path / "live.db"
    done = 0
    with working(address, live, "live"):
        until(live.exists)
        for act in (lambda: None, lambda: history.tag("v1"), lambda: history.rollback(before)):
            act()
            for entry in history.log[done:]:
                put(dataset, entry)
            done = len(history.log)
            until(lambda: reached(live, dataset))
            assert shown(live, dataset) == history.labels()
        with View.open(live, dataset) as view:
            assert view.connection.rows("SELECT name FROM versions") == [("v1",)]
            assert view.connection.rows("SELECT status FROM corrections") == [("void",)]


def test_one_leaves_and_another_goes_on(address: dict[str, str], tmp_path: Path) -> None:
    """Each worker takes up what the one before it left, state and all."""
    history, dataset = story(PARTITIONS), opened(address, PARTITIONS)
    live = tmp_path / "live.db"
    for start in range(0, len(history.log), 9):
        for entry in history.log[start : start + 9]:
            put(dataset, entry)
        kept(dataset, live, "live")
    assert content(live) == kept(dataset, tmp_path / "whole.db")


def test_members_come_and_go(broker: Broker, tmp_path: Path) -> None:
    """Three workers of one group, one after the other: each partition is kept by one of them at a
    time, and in the end the tables are those of a single one.
    """
    address = {"log": f"kafka://{broker.bootstrap}", "dataset": f"t{uuid.uuid4().hex[:12]}"}
    history, dataset = story(4), opened(address, 4)
    live = tmp_path / "live.db"
    size = len(history.log) // 4
    parts = [history.log[start : start + size] for start in range(0, len(history.log), size)]

    def more() -> None:
        for entry in parts.pop(0):
            put(dataset, entry)

    with working(address, live, "live"):
        more()
        with working(address, live, "live"):
            more()
            with working(address, live, "live"):
                more()
                until(lambda: live.exists() and reached(live, dataset))
            more()
        while parts:
            more()
        until(lambda: reached(live, dataset))
    assert content(live) == kept(dataset, tmp_path / "whole.db")
    assert shown(live, dataset) == history.labels()


def test_a_view_that_is_deleted_under_a_worker(tmp_path: Path) -> None:
    """It is made again from the log, without a new event."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset = story(1), opened(address, 1)
    live = tmp_path / "live.db"
    for entry in history.log:
        put(dataset, entry)
    with working(address, live, "live"):
        until(lambda: live.exists() and reached(live, dataset))
        live.unlink()
        until(lambda: live.exists() and reached(live, dataset))
    assert shown(live, dataset) == history.labels()


def test_a_late_writer_is_fenced(tmp_path: Path) -> None:
    """Two workers that both believe to hold a partition write every row once."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset = story(1), opened(address, 1)
    live = tmp_path / "live.db"
    with working(address, live, "one"), working(address, live, "other"):
        for entry in history.log:
            put(dataset, entry)
        until(lambda: live.exists() and reached(live, dataset))
    assert content(live) == kept(dataset, tmp_path / "whole.db")


def test_a_view_of_another_dataset(tmp_path: Path) -> None:
    """It is refused in words, and left alone."""
    where = f"sqlite:///{tmp_path}/log.db"
    birds = opened({"log": where, "dataset": "birds"}, 1)
    kept(birds, tmp_path / "v.db")
    cats = Ledger.create(where, "cats", partitions=1).dataset
    with pytest.raises(ViewsDamaged, match="of dataset 'birds'"):
        kept(cats, tmp_path / "v.db")
    with pytest.raises(ViewsDamaged, match="of dataset 'birds'"):
        View.open(tmp_path / "v.db", cats)


class Away(CheckpointSink):
    """Checkpoints on a storage that can't be written to for a while."""

    away = True

    def settle(self, partition: int, known: Known) -> None:
        """Store, unless it is away."""
        if self.away:
            raise CheckpointsUnavailable("the storage does not answer")
        super().settle(partition, known)


def test_views_do_not_wait_for_checkpoints(tmp_path: Path) -> None:
    """While they can't be stored every partition of the view goes on; then they catch up."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset = story(PARTITIONS), opened(address, PARTITIONS)
    store = Store(open_files(str(tmp_path / "checkpoints")), origin_of(dataset))
    view, stored = ViewSink(tmp_path / "views.db", dataset), Away(CheckpointWriter(store))
    for entry in history.log:
        put(dataset, entry)
    last = end(dataset)
    work = Worker(dataset, [view, PassedOver(stored)], "views", view.restore)
    work.run(lambda: not work.reaches(last))
    assert reached(tmp_path / "views.db", dataset)
    assert [stored.offset(partition) for partition in range(PARTITIONS)] == [0] * PARTITIONS

    stored.away = False
    deadline = time.monotonic() + PATIENCE_S
    work.run(
        lambda: (
            tuple(map(stored.offset, range(PARTITIONS))) != last.labels
            and time.monotonic() < deadline
        )
    )
    assert tuple(map(stored.offset, range(PARTITIONS))) == last.labels
    view.close()


class Faltering(Subscription):
    """A member whose look for more fails once, right after it gave a batch."""

    def __init__(self, member: Subscription) -> None:
        self._member = member
        self._fails = 0

    @property
    def assigned(self) -> frozenset[tuple[Topic, int]]:
        """As the member has them."""
        return self._member.assigned

    def poll(self, timeout_s: float) -> Batch | None:
        """A batch; the next time an error; then whatever there is."""
        if self._fails == 1:
            self._fails = 2
            raise LogUnavailable("the broker does not answer")
        batch = self._member.poll(timeout_s)
        if batch is not None and not self._fails:
            self._fails = 1
        return batch

    def close(self) -> None:
        """Leave."""
        self._member.close()


def test_a_look_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before it is kept, though no event comes after it."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset = story(1), opened(address, 1)
    for entry in history.log:
        put(dataset, entry)
    real = dataset.log.subscribe

    def subscribe(*arguments: Any) -> Subscription:
        return Faltering(real(*arguments))

    monkeypatch.setattr(dataset.log, "subscribe", subscribe)
    sink, last = ViewSink(tmp_path / "views.db", dataset), end(dataset)
    work, deadline = Worker(dataset, [sink], "views", sink.restore), time.monotonic() + 20
    work.run(lambda: not work.reaches(last) and time.monotonic() < deadline)
    assert work.reaches(last)
    sink.close()
    assert reached(tmp_path / "views.db", dataset)


def test_a_view_whose_folder_goes(tmp_path: Path) -> None:
    """The worker waits for it, and makes the view again."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset = story(1), opened(address, 1)
    folder = tmp_path / "views"
    folder.mkdir()
    with working(address, folder / "v.db", "views"):
        for entry in history.log[:20]:
            put(dataset, entry)
        until(lambda: (folder / "v.db").exists() and reached(folder / "v.db", dataset))
        folder.rename(tmp_path / "gone")
        for entry in history.log[20:]:
            put(dataset, entry)
        time.sleep(0.5)  # so that it meets the missing folder
        folder.mkdir()
        until(lambda: (folder / "v.db").exists() and reached(folder / "v.db", dataset))
