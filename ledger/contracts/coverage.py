"""What split rules say of every item there could be: where two hold, and where none does.

Truth changes only at the constants that an attribute is compared with. So the rules are asked at
each constant, between neighbours and beyond both ends, for every attribute together. What is found
is certain: it names values for which it is so. Attributes compared with one another are asked at
the same values, and not everything about them is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise, product

from ledger.core.rules import Attribute, Rule, comparisons, matches

WORK_MAX = 200_000
"""After so many comparisons the rest is not asked: the data will tell."""

Values = dict[str, float | str]


def problem(parts: Mapping[str, Rule]) -> str | None:
    """The first values for which several parts' rules hold, or none does though they lie within
    the constants that the rules name; None where the rules are sound as far as is certain.
    """
    constants, ordered = _constants(parts.values())
    axes = [[(name, value) for value in _points(found)] for name, found in constants.items()]
    gap: Values | None = None
    work = sum(1 for rule in parts.values() for _ in comparisons(rule))
    for point in islice(product(*axes), WORK_MAX // work):
        values: Values = dict(point)
        truth = {part: matches(rule, values) for part, rule in parts.items()}
        holding = [part for part, holds in truth.items() if holds]
        if len(holding) > 1:
            both = " and of ".join(map(repr, holding))
            return f"the rules of {both} overlap: all hold for {_text(values)}"
        if gap is None and not holding and None not in truth.values():
            inside = (
                _inside(value, constants[name], name in ordered) for name, value in values.items()
            )
            gap = values if all(inside) else None
    return None if gap is None else f"the rules leave a gap: none holds for {_text(gap)}"


def attributes_of(rule: Rule) -> Iterator[str]:
    """The attributes that a rule asks for, each as often as it does."""
    for comparison in comparisons(rule):
        for side in (comparison.left, comparison.right):
            if isinstance(side, Attribute):
                yield side.name


def _constants(parts: Iterable[Rule]) -> tuple[dict[str, list[float | str]], set[str]]:
    """What each attribute is compared with, sorted, numbers before strings; and which of the
    attributes are compared by order.
    """
    found: dict[str, set[float | str]] = {}
    ordered = set[str]()
    for comparison in (each for rule in parts for each in comparisons(rule)):
        sides = (comparison.left, comparison.right)
        for side, other in (sides, sides[::-1]):
            if isinstance(side, Attribute):
                values = found.setdefault(side.name, set())
                if not isinstance(other, Attribute):
                    values.add(other)
                if comparison.compare not in ("==", "!="):
                    ordered.add(side.name)
    sort = {
        name: sorted(values, key=lambda each: (isinstance(each, str), each))
        for name, values in sorted(found.items())
    }
    return sort, ordered


def _points(constants: Iterable[float | str]) -> Iterator[float | str]:
    """The constants, something between each two neighbours, and something beyond the ends."""
    numbers = [each for each in constants if not isinstance(each, str)]
    if numbers:
        yield from numbers
        yield from (one / 2 + two / 2 for one, two in pairwise(numbers))
        yield numbers[0] - 1
        yield numbers[-1] + 1
    for text in (each for each in constants if isinstance(each, str)):
        yield text
        yield text + "~"  # some string between this one and the next


def _inside(value: float | str, constants: list[float | str], ordered: bool) -> bool:
    """Whether the value is one of the constants, or a number among them where order matters. What
    lies beyond may be impossible: an area below zero, a size that is none of those listed.
    """
    if isinstance(value, str) or not ordered:
        return value in constants
    numbers = [each for each in constants if not isinstance(each, str)]
    return numbers[0] <= value <= numbers[-1]


def _text(values: Values) -> str:
    """The values as a rule would compare them."""
    return " and ".join(
        f"{name} = {value!r}" if isinstance(value, str) else f"{name} = {value:.15g}"
        for name, value in values.items()
    )
