"""Geometries in columns are the same geometries, and are written as the canonical form has them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import numpy as np
import polars as pl

from ledger.columnar.shapes import KINDS, LIST, NONE, Shapes, as_json, from_columns
from ledger.core import canonical
from ledger.core.events import Geometry

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 0.1, 1e-4, 9.9e-5, 1e15, 1e16, 9999999999999998.0, 5e-324, -1e22]),
)
geometries = st.builds(
    Geometry, type=st.sampled_from(KINDS), coordinates=st.lists(numbers, max_size=5).map(tuple)
)
POWERS = Geometry("polygon", tuple(sign * 10.0**i for i in range(-30, 31) for sign in (1, -1)))


def columns_of(given: list[Geometry | None]) -> tuple[pl.Series, pl.Series]:
    kinds = [each and each.type for each in given]
    lists = [list(each.coordinates) if each else None for each in given]
    return pl.Series(kinds, dtype=pl.String), pl.Series(lists, dtype=LIST)


@given(st.lists(geometries | st.none()))
@example([POWERS, None, Geometry("polygon", ())])
def test_canonical_text(given: list[Geometry | None]):
    expected = [None if each is None else canonical.geometry_json(each) for each in given]
    assert as_json(*columns_of(given)).to_list() == expected


@given(st.lists(st.lists(geometries, max_size=4), max_size=3))
def test_what_is_kept_comes_back(batches: list[list[Geometry]]):
    """By number, in any order, with none in between: exactly, the sign of a zero included."""
    shapes = Shapes()
    given = [each for batch in batches for each in batch]
    found = [shapes.add(*from_columns(*columns_of(list(batch)))) for batch in batches]
    asked = np.concatenate([*found, np.array([NONE], np.int64)])[::-1]
    expected = [None, *given[::-1]]
    assert list(map(repr, shapes.geometries(asked))) == list(map(repr, expected))
    for mine, theirs in zip(shapes.columns(asked), columns_of(expected), strict=True):
        assert repr(mine.to_list()) == repr(theirs.to_list())
        assert mine.dtype == theirs.dtype
