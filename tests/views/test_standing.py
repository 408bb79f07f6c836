"""What `errata status` counts in a view is what it counts in a replay."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("polars")
pytest.importorskip("sqlite_utils")

from consumers.rebuild import rebuild
from consumers.sinks import ViewSink
from consumers.status import from_replay, from_view
from consumers.worker import Worker
from ledger import Ledger
from ledger.logs.base import Message, Topic
from ledger.views.contract import Known
from ledger.views.reader import View
from tests.consumers.keeping import end, put
from tests.core.history import History
from tests.core.strategies import Plan, play, wild_plans

PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


def check(history: History, folder: Path) -> None:
    """Put the history, and bytes that no decoder reads, on a log, and count both ways."""
    views = folder / "views.db"
    address = {"log": f"sqlite:///{folder}/log.db", "dataset": "birds", "views": str(views)}
    with Ledger.create(**address, partitions=history.partitions) as book:
        log = book.dataset.log
        for entry in history.log:
            put(book.dataset, entry)
        log.append(Topic.LABELS, [Message(0, b"r1", b"no event", 1_700_000_000_000)])
        sink, until = ViewSink(views, book.dataset), end(book.dataset)
        worker = Worker(book.dataset, [sink], "views", sink.restore)
        worker.run(lambda: not worker.reaches(until))
        sink.close()
        position = book.resolve()
        found = from_view(book, position, book.governance.prefix(position.governance))
        if found is None:  # the end is not closed: events of a contract that is still to come
            assert not position.same_prefix(until)
            return
        assert found == from_replay(book, position)
        assert found["undecodable"][-1]["partition"] == 0
        tables: Any = book.views()
        shown = {row["item_id"]: row["label"] for row in tables["labels"].rows}
        tables.close()
        assert shown == {row.item_id: row.label for row in book.snapshot(position).rows}


@given(wild_plans())
@settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=PATIENT)
def test_any_history(plan: Plan) -> None:
    """Outcomes, items, labels, statuses and conflicts are counted alike."""
    with tempfile.TemporaryDirectory() as folder:
        check(play(plan), Path(folder))


def test_a_rollback_that_one_partition_has_not_met(tmp_path: Path) -> None:
    """The view then stands at the log's end, and yet counts what is void: a replay counts."""
    history = History.of_classes("cat", "dog", partitions=2)
    tagged = history.head()
    history.tag("v1")
    for i in range(8):
        history.item(f"r{i}", "cat")
    views = tmp_path / "views.db"
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds", "views": str(views)}
    with Ledger.create(**address, partitions=2) as book:
        written = len(history.log)
        for entry in history.log:
            put(book.dataset, entry)
        rebuild(book.dataset, views, None)
        history.rollback(tagged)
        for entry in history.log[written:]:
            put(book.dataset, entry)
        position = book.resolve()
        governance = book.governance.prefix(position.governance)
        known = Known(position.governance, governance)
        for partition in range(2):
            with View.open(views, book.dataset) as view:
                assert view.position.same_prefix(position) == bool(partition)
            assert from_view(book, position, governance) is None
            sink = ViewSink(views, book.dataset)
            sink.take_up(partition, known)
            sink.close()
        assert from_view(book, position, governance) == from_replay(book, position)
