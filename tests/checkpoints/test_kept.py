"""Ranges of offsets are what sets of offsets would be, and messages are gathered once each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger.checkpoints.kept import Ranges, apart, batches_of, frame_of, gather, joined, within
from ledger.logs.base import Batch, Topic

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def offsets(ranges: Ranges) -> set[int]:
    """Every offset of the ranges."""
    return {offset for start, stop in ranges for offset in range(start, stop)}


def message(start: int, stop: int) -> Batch:
    """The messages of these offsets; every other one has no key."""
    numbers = range(start, stop)
    keys = [None if n % 2 else b"%d" % n for n in numbers]
    return Batch(Topic.LABELS, 0, numbers, [n + 1 for n in numbers], keys, [b"v"] * len(numbers))


@given(one=RANGES, other=RANGES, gap=st.integers(0, 3))
def test_ranges(one: Ranges, other: Ranges, gap: int):
    mine, theirs = joined(one, 0), joined(other, 0)
    assert offsets(mine) == offsets(one)
    assert all(a[1] < b[0] for a, b in pairwise(mine))
    assert all(a[1] + gap < b[0] for a, b in pairwise(joined(one, gap)))
    assert offsets(apart(mine, theirs)) == offsets(one) - offsets(other)
    assert offsets(within(mine, 5, 20)) == offsets(one) & set(range(5, 20))


@given(wanted=RANGES, have=RANGES)
def test_messages_are_gathered_once(wanted: Ranges, have: Ranges):
    """What is at hand is not read again, and nothing that is not wanted is kept."""
    at_hand = joined(have, 0)
    known = frame_of(message(0, 31)).filter([n in offsets(at_hand) for n in range(31)])
    read: list[int] = []

    def reading(start: int, stop: int) -> Iterator[Batch]:
        read.extend(range(start, stop))
        yield message(start, stop)

    found = gather(joined(wanted, 0), known, at_hand, reading)
    assert found["offset"].to_list() == sorted(offsets(wanted))
    assert offsets(wanted) - offsets(have) <= set(read)
    assert not offsets(wanted) <= offsets(have) or not read
    for batch in batches_of(found, 0, 4):
        for row, offset in enumerate(batch.offsets):
            same = message(offset, offset + 1)
            assert (batch.keys[row], batch.timestamps_ms[row]) == (same.keys[0], offset + 1)
