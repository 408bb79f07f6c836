"""What split rules leave open for sure, and where they are sound."""

from __future__ import annotations

import pytest

from ledger.contracts.coverage import problem
from ledger.core.rules import parse

CASES = [
    (["area < 8000", "area >= 8000"], None),
    (["area < 8000", "area > 8000"], "none holds for area = 8000"),
    (["area < 8000"], "none holds for area = 8000"),
    (["area <= 8000", "area >= 8000"], "overlap: all hold for area = 8000"),
    (["count <= 1", "count >= 2"], "none holds for count = 1.5"),
    (["x >= 0 and x < 10", "x >= 10 and x <= 20"], None),  # what is beyond 20 may not occur
    (["not x < 10", "x < 10"], None),
    (["count == 1", "count == 2"], None),  # they list what there is
    (["size == 'small'", "size == 'large'"], None),
    (["size == 'small'", "size != 'large'"], "hold for size = 'small'"),
    (["size < 'm'", "size > 'm'"], "none holds for size = 'm'"),
    (["a < 1", "b < 1"], "hold for a = 0 and b = 0"),
    (["a < 1 and b < 1", "a >= 1 or b >= 1"], None),
    (["8000 > area", "8000 <= area"], None),
    (["width < height", "width >= height"], None),  # nothing certain is known of these
    (["x < 1 or s == 'q'", "x >= 1"], "hold for s = 'q' and x = 1"),
    (["x < 1e308", "x > 1e308"], "none holds for x = 1e+308"),
]


@pytest.mark.parametrize(("rules", "expected"), CASES)
def test_overlaps_and_gaps_name_values_for_which_they_are_so(
    rules: list[str], expected: str | None
) -> None:
    """What is said is true of the values that it names."""
    found = problem({f"part{i}": parse(rule) for i, rule in enumerate(rules)})
    assert found is None if expected is None else expected in (found or "")


def test_very_many_attributes_are_no_trap() -> None:
    """Combinations are looked through up to a limit."""
    many = " and ".join(f"a{i} < 1" for i in range(100))
    assert problem({"one": parse(many), "other": parse(f"not ({many})")}) is None
