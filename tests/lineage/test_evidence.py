"""What stands at a position, by columns, beside what the reference fold says."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from structlog.testing import capture_logs

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from consumers.rebuild import rebuild
from ledger import Ledger
from ledger.checkpoints.files import open_files
from ledger.checkpoints.store import Store, origin_of
from ledger.checkpoints.writer import CheckpointWriter
from ledger.clock import milliseconds
from ledger.core.contract import Unresolved
from ledger.core.epochs import live
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Entry
from ledger.lineage.evidence import Evidence, evidence
from ledger.wiring import checkpoints_url
from tests.core.history import EPOCH, History, right_after
from tests.core.strategies import Plan, plans, play
from tests.lineage.books import ledger_of

Said = dict[str, Any]
patient = settings(
    max_examples=15,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def said(found: Evidence) -> Said:
    """What is asked of evidence."""
    items = found.items
    return {
        "items": sorted(items["item_id"].to_list()),
        "labels": found.labels,
        "unresolved": sorted(items.filter(items["unresolved"])["item_id"].to_list()),
        "waiting": {each.state: each.since_ms for each in found.waiting()},
        "latest_ms": found.latest_ms,
    }


def expected(book: Ledger, position: Position) -> Said:
    """The same from the reference fold, and from what it says of each event."""
    latest, moved = [0], dict[tuple[str, str], int]()

    def observe(entry: Entry, outcome: Outcome) -> None:
        latest.append(entry.timestamp_ms)
        event: Any = entry.event
        if outcome in (Outcome.PROPOSED, Outcome.ESCALATED) and entry.topic == "labels":
            moved[event.record_id, event.correction_id] = entry.timestamp_ms

    state = book.state(position, observe)
    labels = [(item.item_id, state.label(item)) for _, item in state.items()]
    waiting: dict[str, list[int]] = {"proposed": [], "escalated": []}
    for each in state.corrections():
        if each.open:
            since = moved[each.proposal.record_id, each.proposal.correction_id]
            waiting[each.status.value].append(since)
    counts = Counter(label for _, label in labels if isinstance(label, str))
    return {
        "items": sorted(name for name, _ in labels),
        "labels": dict(sorted(counts.items())),
        "unresolved": sorted(name for name, label in labels if isinstance(label, Unresolved)),
        "waiting": {state: tuple(sorted(since)) for state, since in waiting.items()},
        "latest_ms": max(latest),
    }


def corrected(book: Ledger, start: Position, end: Position) -> int:
    """How many items an event corrected that lies in what is live at the end and not at the start,
    by the outcome of each.
    """
    then = book.governance.prefix(start.governance)
    old = {
        (partition, offset)
        for partition, stop in enumerate(start.labels)
        for span in live(then, partition, stop)
        for offset in range(*span)
    }
    found: set[str] = set()

    def observe(entry: Entry, outcome: Outcome) -> None:
        if outcome is Outcome.APPLIED and (entry.partition, entry.offset) not in old:
            event: Any = entry.event
            found.add(event.item_id)

    book.state(end, observe)
    return len(found)


@patient
@given(plans(size=24))
def test_at_every_position(tmp_path: Path, plan: Plan) -> None:
    """Items, labels, open corrections with their times, and the latest timestamp are those of the
    reference fold, with checkpoints and without; so is what was corrected since any other position.
    """
    history = play(plan)
    with ledger_of(history, tmp_path) as book:
        heads = [book.governance.floor(each) for each in history.checkpoints[::6]]
        plain = [evidence(book, position) for position in heads]
        for position, found in zip(heads, plain, strict=True):
            assert said(found) == expected(book, position)
        for start, (end, found) in itertools.pairwise(zip(heads, plain, strict=True)):
            then = book.governance.prefix(start[0].governance)
            assert found.corrected_since(then, start[0]) == corrected(book, start[0], end)
        store(book)
        for position, found in zip(heads, plain, strict=True):
            again = evidence(book, position)
            assert said(again) == said(found)
            assert all(a.equals(b) for a, b in zip(again.rows, found.rows, strict=True))


def store(book: Ledger, at: Position | None = None) -> None:
    """Make checkpoints, up to a position."""
    files = open_files(checkpoints_url(book.settings))
    writer = CheckpointWriter(Store(files, origin_of(book.dataset)))
    rebuild(book.dataset, None, writer, at=at)


def test_checkpoints_that_end_before_the_position(tmp_path: Path) -> None:
    """What they do not reach is folded on from them; a rollback since is no matter."""
    history = History.of_classes("cat", "dog", partitions=2)
    for i in range(20):
        history.item(f"r{i}", "cat")
    for i in range(10):
        history.correct(f"r{i}", "cat", "dog")
    middle = history.head()
    for i in range(10, 15):
        history.propose(f"r{i}", "cat", "dog")
    before = history.head()
    for i in range(5):
        history.correct(f"r{i}", "dog", "cat")
    history.rollback(before)
    last = history.item("late", "dog")
    with ledger_of(history, tmp_path) as book:
        store(book, at=middle)
        found = evidence(book, book.resolve())
        assert said(found) == expected(book, book.resolve())
        assert found.labels == {"cat": 10, "dog": 11}
        assert len(found.open) == 5
        assert found.latest_ms == milliseconds(last.event.occurred_at)


def test_what_a_rollback_took_back_still_tells_the_time(tmp_path: Path) -> None:
    """Void messages have no rows, and their timestamps count."""
    history = History.of_classes("cat")
    start = history.head()
    void = history.item("r", "cat")
    ahead = history.append(
        replace(void.event, event_id="ahead", occurred_at=EPOCH + timedelta(days=1))
    )
    position = right_after(history.rollback(start))
    with ledger_of(history, tmp_path) as book:
        found = evidence(book, position)
        assert found.latest_ms == milliseconds(ahead.event.occurred_at)
        assert len(found.items) == 0


def test_a_corrected_item_keeps_its_attributes(tmp_path: Path) -> None:
    """A split asks those that the item was registered with, whatever was done to it since."""
    history = History.of_classes("cat", "dog", partitions=2)
    history.item("r", "dog", attributes={"area": 9.0})
    history.correct("r", "dog", "cat")
    history.schema(split={"cat": {"small": "area < 5", "large": "area >= 5"}})
    with ledger_of(history, tmp_path) as book:
        assert evidence(book, book.resolve()).labels == {"large": 1}


def test_a_position_beyond_a_rollback_that_it_leaves_out(tmp_path: Path) -> None:
    """Checkpoints hold what the rollback made of what follows; a position without it is folded."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    before = history.head()
    history.correct("r", "cat", "dog")
    rollback = history.rollback(before)
    history.correct("r", "cat", "dog")
    position = Position(history.head().labels, rollback.offset)
    with ledger_of(history, tmp_path) as book:
        store(book)
        assert book.resolve(position) == position
        assert said(evidence(book, position)) == expected(book, position)
        now, then = evidence(book, book.resolve()), evidence(book, position)
        assert (len(now.rows.refusals), len(now.rows.changes)) == (0, 2)
        assert len(then.rows.changes) == 2
        assert Counter(then.rows.reviews["outcome"]) == {"applied": 1, "stale": 1}


def test_damaged_checkpoints_are_told_and_not_believed(tmp_path: Path) -> None:
    """What is damaged is read, named in a warning, and folded anew from the log."""
    history = History.of_classes("cat", "dog")
    for i in range(5):
        history.item(f"r{i}", "cat")
    history.correct("r0", "cat", "dog")
    with ledger_of(history, tmp_path) as book:
        head = book.resolve()
        store(book)
        with capture_logs() as told:
            before = said(evidence(book, head))
        assert not told
        for file in Path(checkpoints_url(book.settings)).rglob("*.parquet"):
            file.write_bytes(file.read_bytes()[:-1])
        with capture_logs() as told:
            assert said(evidence(book, head)) == before == expected(book, head)
        assert [each["event"] for each in told] == ["the log is replayed"]
        assert "is damaged" in told[0]["why"]
