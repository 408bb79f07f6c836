"""A view after any interleaving is the view built at once, and both answer as a replay does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

from ledger.columnar.delta import Delta
from ledger.columnar.snapshot import ColumnarSnapshot
from ledger.core.fold import Correction
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.views.contract import Known
from ledger.views.reader import View
from ledger.views.writer import ViewWriter
from tests.core.history import History
from tests.core.strategies import Plan, play, wild_plans
from tests.views.material import build, content, dataset_at, known_at, pieces

patient = settings(
    max_examples=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), max_size=12)


class Live:
    """A view that is written as the log grows, governance coming early or late."""

    def __init__(self, path: Path, dataset: Dataset, history: History) -> None:
        self.writer = ViewWriter(path, dataset)
        self.history = history
        self.known = known_at(history, 0)
        self.heres = [self.writer.place(each) for each in range(history.partitions)]

    def learn(self, stop: int) -> None:
        """Take in governance; what does not stand under it is dropped, to be folded again."""
        before, self.known = self.known, known_at(self.history, stop)
        for partition, here in enumerate(self.heres):
            start = self._stands(before, partition, here.offset)
            self.heres[partition] = self.writer.reset(partition, here, self.known, start)

    def advance(self, partition: int, count: int) -> None:
        """Fold some more events."""
        here = self.heres[partition]
        stop = min(here.offset + count, len(self.history.label_logs[partition]))
        for piece in pieces(self.history, self.known, partition, here.offset, stop):
            here = self.writer.write(partition, here, self.known, piece.delta, piece.stop)
        self.heres[partition] = here

    def _stands(self, before: Known, partition: int, stop: int) -> int:
        """The first offset whose rows are others now."""
        one, other = (
            _by_offset(piece.delta for piece in pieces(self.history, known, partition, 0, stop))
            for known in (before, self.known)
        )
        return min((each for each in range(stop) if one.get(each) != other.get(each)), default=stop)


def _by_offset(deltas: Iterable[Delta]) -> dict[int, list[object]]:
    found: dict[int, list[object]] = {}
    for delta in deltas:
        for name, frame in zip(Delta._fields, delta, strict=True):
            for row in frame.to_dicts():
                found.setdefault(row["offset"], []).append((name, row))
    return found


def check_corrections(view: View, history: History) -> None:
    """Each correction's standing, void ones included."""
    state = history.at()
    expected: dict[tuple[str, str], str] = {}
    for fold in state.folds:
        for record_id, record in fold.records.items():
            for name in record.void_corrections:
                expected[record_id, name] = Outcome.VOID
            each: Correction
            for name, each in record.corrections.items():
                expected[record_id, name] = each.status
    rows = view.connection.rows("SELECT record_id, correction_id, status FROM corrections")
    found: dict[tuple[str, str], set[str]] = {}
    for record_id, name, status in rows:
        found.setdefault((record_id, name), set()).add(status)
    live = {key: value for key, value in expected.items() if value != Outcome.VOID}
    assert {key: each - {"void"} for key, each in found.items() if each != {"void"}} == {
        key: {str(value)} for key, value in live.items()
    }


def check_answers(path: Path, dataset: Dataset, history: History) -> None:
    """The labels of the head, by the tables; and those of every covered closed position."""
    governance = history.governed()
    with View.open(path, dataset) as view:
        assert view.position == history.head()
        shown = {
            row[0]: row[1] for row in view.connection.rows("SELECT item_id, label FROM labels")
        }
        assert shown == history.labels()
        check_corrections(view, history)
        for position in [*history.checkpoints, *torn(history)]:
            if governance.closed(position) and view.answers(governance, position):
                contract = governance.prefix(position.governance).contract
                labels = view.labels(governance, position)
                found = ColumnarSnapshot(position, contract, labels, _none)
                assert bytes(found.canonical()) == history.at(position).canonical()


def torn(history: History) -> list[Position]:
    """Positions between the lines: some partitions further than others."""
    points = history.checkpoints
    pairs = zip(points, points[3:], strict=False)
    return [Position((*two.labels[:1], *one.labels[1:]), one.governance) for one, two in pairs]


def _none() -> Any:
    raise AssertionError


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Dataset]:
    """By their number of partitions."""
    return {each: dataset_at(tmp_path_factory.mktemp("log"), each) for each in (1, 2)}


@patient
@given(plan=wild_plans(), steps=STEPS, partitions=st.integers(1, 2))
def test_any_interleaving(
    plan: Plan,
    steps: list[tuple[int, int, int]],
    partitions: int,
    datasets: dict[int, Dataset],
    tmp_path_factory: pytest.TempPathFactory,
):
    history, dataset = play(plan, partitions), datasets[partitions]
    folder = tmp_path_factory.mktemp("views")
    whole = ViewWriter(folder / "whole.db", dataset)
    build(whole, history)
    whole.close()
    live = Live(folder / "live.db", dataset, history)
    end = len(history.governance)
    for governed, partition, count in steps:
        live.advance(partition % partitions, count)
        if governed > 6:
            live.learn(min(end, live.known.stop + governed - 5))
    live.learn(end)
    for partition, log in enumerate(history.label_logs):
        live.advance(partition, len(log))
    live.writer.close()
    assert content(folder / "live.db") == content(folder / "whole.db")
    check_answers(folder / "live.db", dataset, history)
