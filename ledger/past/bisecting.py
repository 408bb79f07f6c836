"""Looks for the first step at which a test fails, by halving.

With n steps, and none that the test skips, it is asked ceil(log2 n) times, and once more where the
answer lies at an end, whether that end is what it was said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ledger.core.position import Position
from ledger.errors import InvalidRequest
from ledger.past.steps import By, Step, Steps
from ledger.reading import Reading
from ledger.snapshot import Difference, Snapshot

Verdict = Literal["good", "bad", "skip"]
Test = Callable[[Snapshot], Verdict]


@dataclass(frozen=True, slots=True)
class Found:
    """The first bad step.

    Attributes:
        by: what the steps are.
        steps: how many there were.
        runs: how often the test was asked.
        last_good: the position before the first bad step.
        first_bad: the step; of several that could not be told apart, the last.
        candidates: the steps of which any may be the first bad one: one, unless the test skipped.
        difference: what the labels were before, and what they are there.
    """

    by: By
    steps: int
    runs: int
    last_good: Position
    first_bad: Step
    candidates: tuple[Step, ...]
    difference: Difference


def search(book: Reading, between: Steps, test: Test, *, check: bool) -> Found:
    """Find the first bad step.

    Raises:
        InvalidRequest: the test is bad at GOOD, or good at BAD; with `check`, it is not monotone.
    """
    asked = _Asked(book, between, test)
    low, high = asked.halve()
    if check:
        asked.check()
    steps = between.steps
    if high == len(steps) - 1 and not asked.any_bad():
        if asked.of(high) == "good":
            raise InvalidRequest(
                f"the test is good at BAD, {steps[high].position}: there is nothing to find"
            )
    elif low == 0 and asked.of(-1) == "bad":
        raise InvalidRequest(
            f"the test is bad at GOOD already, {between.good}: give an earlier position"
        )
    last_good = between.good if low == 0 else steps[low - 1].position
    return Found(
        between.by,
        len(steps),
        len(asked.verdicts),
        last_good,
        steps[high],
        tuple(steps[low : high + 1]),
        book.diff(last_good, steps[high].position),
    )


class _Asked:
    """What the test has said so far, by the number of the step; -1 is the good position."""

    def __init__(self, book: Reading, between: Steps, test: Test) -> None:
        self._book = book
        self._between = between
        self._test = test
        self.verdicts: dict[int, Verdict] = {}

    def of(self, number: int) -> Verdict:
        """The verdict on a step, asked once."""
        if number not in self.verdicts:
            between = self._between
            position = between.good if number < 0 else between.steps[number].position
            self.verdicts[number] = self._test(self._book.snapshot(position))
        return self.verdicts[number]

    def any_bad(self) -> bool:
        """Whether some step was found to be bad."""
        return "bad" in self.verdicts.values()

    def halve(self) -> tuple[int, int]:
        """The first and the last step that may be the first bad one. The last step of all is bad:
        that is what was said.
        """
        low, high = 0, len(self._between.steps) - 1
        while (number := self._next(low, high)) is not None:
            verdict = self.of(number)
            if verdict == "bad":
                high = number
            elif verdict == "good":
                low = number + 1
        return low, high

    def _next(self, low: int, high: int) -> int | None:
        """The step in `low <= step < high` nearest to the middle that was not skipped."""
        middle = (low + high) // 2
        for away in range(high - low):
            for number in (middle - away, middle + away):
                if low <= number < high and self.verdicts.get(number) != "skip":
                    return number
        return None

    def check(self) -> None:
        """Ask about every step.

        Raises:
            InvalidRequest: one is good after one that is bad.
        """
        worst: int | None = None
        for number in range(-1, len(self._between.steps)):
            verdict = self.of(number)
            if verdict == "bad" and worst is None:
                worst = number
            if verdict == "good" and worst is not None:
                raise InvalidRequest(
                    f"the test is not monotone: it is bad at {self._name(worst)} and good again at "
                    f"{self._name(number)}, so that there is no one step that broke it"
                )

    def _name(self, number: int) -> str:
        if number < 0:
            return f"GOOD, {self._between.good}"
        step = self._between.steps[number]
        return ", ".join(step.names) or str(step.position)
