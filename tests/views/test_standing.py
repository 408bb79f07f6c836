"""What `errata status` counts in a view is what it counts in a replay."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("polars")
pytest.importorskip("sqlite_utils")

from consumers.sinks import ViewSink
from consumers.status import from_replay, from_view
from consumers.worker import Worker
from ledger import Ledger
from ledger.logs.base import Message, Topic
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


@given(wild_plans())
@settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=PATIENT)
def test_any_history(plan: Plan) -> None:
    """Outcomes, items, labels, statuses and conflicts are counted alike."""
    with tempfile.TemporaryDirectory() as folder:
        check(play(plan), Path(folder))
