"""Equal strings get equal codes, others do not, whatever their hashes are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import numpy as np

from ledger.columnar import strings
from ledger.columnar.strings import Interner, joined

ids = st.text("ab\0é\x01", max_size=20)


def repeated(text: str, count: int) -> str:
    return text * count


longer = st.builds(repeated, ids, st.sampled_from([1, 8, 60]))
# As long as two words and as one, with what a table that mixes them up would look at next.
MIXED = ["abcdefgh", "abcdefgh\1\0\0\0\1\0\0\0", "abcdefgh\0\0\0\0\1\0\0", "", "\0"]
LONG = "x" * 257


def check(batches: Sequence[Sequence[str]]) -> None:
    interner, known = Interner(), dict[str, int]()
    for batch in batches:
        data, starts, lengths = joined([each.encode() for each in batch])
        codes = interner.codes(data, starts, lengths).tolist()
        assert interner.of(np.array(codes, np.int64)).to_list() == list(batch)
        for string, code in zip(batch, codes, strict=True):
            assert known.setdefault(string, code) == code
    assert sorted(known.values()) == list(range(interner.size))
    assert set(interner.strings()) == known.keys()


@settings(deadline=None)
@given(st.lists(st.lists(longer, max_size=40), max_size=6))
@example([MIXED, MIXED[::-1], [LONG, *MIXED, LONG], [LONG + "x"]])
def test_codes(batches: list[list[str]]):
    check(batches)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(longer, max_size=12), max_size=4))
@example([MIXED, MIXED[::-1]])
def test_codes_where_all_hashes_are_one(monkeypatch: pytest.MonkeyPatch, batches: list[list[str]]):
    monkeypatch.setattr(strings, "_MULTIPLIER", np.uint64(0))
    check(batches)


def test_a_table_grows():
    """Past several sizes of the table, with strings that come more than once in a batch."""
    names = [f"item-{i % 7_000}" for i in range(20_000)]
    check([names[:10], names, ["other", *names[5_000:]], names[::-1]])
