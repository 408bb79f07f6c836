"""The columnar fold equals the reference fold: labels, outcomes and state, in every history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger.codec import Codec
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Reader
from ledger.columnar.state import OUTCOMES
from ledger.core.events import Event
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import Entry, History
from tests.core.strategies import Plan, anything, plans, play, wild_plans
from tests.registries import MemoryRegistry

PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]
few = settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=PATIENT)
many = settings(few, max_examples=150)
CODEC = Codec(MemoryRegistry())


def pieces(entries: Sequence[Entry], sizes: Sequence[int]) -> Iterator[Sequence[Entry]]:
    """The entries in batches of these sizes, over and over."""
    start = number = 0
    while start < len(entries):
        size = sizes[number % len(sizes)]
        yield entries[start : start + size]
        start, number = start + size, number + 1


def columnar(
    history: History, position: Position, sizes: Sequence[int]
) -> tuple[list[ColumnarPartition], dict[tuple[str, int, int], Outcome]]:
    governance = history.governed(position.governance)
    outcomes: dict[tuple[str, int, int], Outcome] = {}
    folds: list[ColumnarPartition] = []
    reader = Reader(CODEC)
    for partition, stop in enumerate(position.labels):
        fold = ColumnarPartition(governance.contracts, partition, history.partitions, CODEC)
        for span in governance.spans(partition, stop):
            log = history.label_logs[partition][span.start : span.stop]
            for batch in pieces(log, sizes):
                frame = reader.frame(
                    [entry.offset for entry in batch],
                    [entry.key for entry in batch],
                    [CODEC.encode(entry.event) for entry in batch],
                )
                found = fold.apply(frame) if span.live else fold.void(frame)
                for entry, code in zip(batch, found.tolist(), strict=True):
                    outcomes[entry.place] = OUTCOMES[code]
        folds.append(fold)
    return folds, outcomes


def same(history: History, position: Position, sizes: Sequence[int]) -> None:
    expected = history.at(position)
    folds, outcomes = columnar(history, position, sizes)
    assert outcomes == {p: o for p, o in expected.outcomes.items() if p[0] == "labels"}
    for fold, reference in zip(folds, expected.folds, strict=True):
        log = history.label_logs[reference.partition]

        def fetch(offsets: Sequence[int], log: list[Entry] = log) -> Iterable[tuple[int, Event]]:
            return [(offset, log[offset].event) for offset in offsets]

        assert fold.records(fetch) == reference.records


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=3)


@many
@given(wild_plans(), SIZES, st.integers(1, 3))
def test_every_history(plan: Plan, sizes: list[int], partitions: int):
    history = play(plan, partitions)
    same(history, history.head(), sizes)


@few
@given(plans(), SIZES, st.integers(1, 2))
def test_every_position(plan: Plan, sizes: list[int], partitions: int):
    history = play(plan, partitions)
    for position in history.checkpoints[::3]:
        same(history, position, sizes)


@few
@given(st.lists(anything, max_size=12), SIZES)
def test_any_events(plan: Plan, sizes: list[int]):
    history = play(plan, 2)
    same(history, history.head(), sizes)
