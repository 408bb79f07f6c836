"""The timeline gives what a replay does, at every covered position."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import numpy as np
import polars as pl

from ledger.checkpoints import rows
from ledger.checkpoints.rows import rows_of, slices_of
from ledger.checkpoints.timeline import Timeline
from ledger.columnar.delta import CHANGES
from ledger.columnar.snapshot import ColumnarSnapshot
from ledger.core.epochs import Epochs
from ledger.core.position import Position
from tests.checkpoints.deltas import delta_of
from tests.core.history import History
from tests.core.strategies import Plan, plans, play, wild_plans

many = settings(
    max_examples=120,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def timeline(history: History) -> Timeline:
    """The timeline of everything there is."""
    governance = history.governed()
    deltas = [
        delta_of(history, governance, i, len(log)) for i, log in enumerate(history.label_logs)
    ]
    found = rows_of(pl.concat([delta.changes for delta in deltas]), history.partitions)
    return Timeline(found)


def canonical(made: Timeline, history: History, position: Position) -> bytes:
    """The snapshot's canonical bytes."""
    governance = history.governed().prefix(position.governance)
    table = made.snapshot(governance, position)
    snapshot = ColumnarSnapshot(position, governance.contract, table, lambda: None)  # type: ignore[arg-type, return-value]
    return bytes(snapshot.canonical())


def covered(history: History) -> list[Position]:
    """The positions that the timeline must answer."""
    governance = history.governed()
    epochs = Epochs(governance)
    return [
        each for each in history.checkpoints if governance.closed(each) and epochs.covered(each)
    ]


@many
@given(plans())
def test_every_covered_position(plan: Plan):
    """Snapshots of all positions, and differences between neighbours and between ends."""
    history = play(plan, 2)
    made = timeline(history)
    positions = covered(history)
    assert positions
    expected = {each: history.at(each).canonical() for each in positions}
    for each in positions:
        assert canonical(made, history, each) == expected[each]
    pairs = [*pairwise(positions), (positions[0], positions[-1])]
    for before, after in [*pairs, *((two, one) for one, two in pairs)]:
        ends = [(history.governed().prefix(each.governance), each) for each in (before, after)]
        found = made.diff(*ends)
        lines = [set(expected[each].splitlines(keepends=True)) for each in (before, after)]
        assert {c.before.line() for c in found if c.before} == lines[0] - lines[1]
        assert {c.after.line() for c in found if c.after} == lines[1] - lines[0]
        ids = [change.item_id for change in found]
        assert ids == sorted(set(ids), key=str.encode)


def test_row_numbers():
    """The rows below an offset are counted, wherever there are gaps, and beyond the last one."""
    random = np.random.default_rng(5)
    offsets = [np.unique(random.integers(0, most, size)) for most, size in ((999, 300), (64, 64))]
    offsets += [np.arange(128), np.arange(0)]
    frame = pl.concat(
        pl.DataFrame({"partition": [i] * len(each), "offset": each}, strict=False)
        for i, each in enumerate(offsets)
    )
    blank = pl.DataFrame(schema={name: CHANGES[name] for name in rows.COLUMNS})
    frame = pl.concat([blank, frame.cast({"partition": pl.Int32})], how="diagonal")
    made = rows_of(frame.with_columns(item_id=pl.lit("a"), contract=pl.lit(0, pl.Int32)), 4)
    for stop in (0, 1, 63, 64, 65, 127, 128, 500, 999, 2**40):
        found = slices_of(made, [[(1, stop)]] * 4)
        expected: list[list[tuple[int, int]]] = []
        for first, each in zip(made.bounds, offsets, strict=False):
            start, end = (int(first + np.searchsorted(each, one)) for one in (1, stop))
            expected.append([(start, end)] if start < end else [])
        assert [list(each) for each in found] == expected


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """By bytes, whatever the number of items; the answers stay the same."""
    history = History.of_classes("cat", "dog", partitions=1)
    for i in range(20):
        history.item(f"r{i}", "cat")
    positions = covered(history)[::-1]
    for most, kept in ((0, 2), (5 * 20, 5)):  # an item takes a byte
        monkeypatch.setattr(rows, "_KEPT_BYTES_MAX", most)
        made = timeline(history)
        for each in positions:
            assert canonical(made, history, each) == history.at(each).canonical()
        assert len(made._kinds._kept) == kept  # pyright: ignore[reportPrivateUsage]


@many
@given(wild_plans())
def test_wild_histories(plan: Plan):
    history = play(plan, 3)
    made = timeline(history)
    for each in covered(history)[::2]:
        assert canonical(made, history, each) == history.at(each).canonical()
