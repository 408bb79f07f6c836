"""Finding the step that broke something."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core.contract import Contract
from ledger.core.events import ItemRegistered, ReviewDecided, RolledBack, SchemaChanged
from ledger.core.position import Position
from ledger.errors import InvalidRequest
from ledger.logs.base import Message, Topic
from ledger.past import Past, bisecting
from ledger.past.bisecting import Found, Test, Verdict
from ledger.past.steps import Step, Steps, steps_between
from ledger.patches import Edit, Patches
from ledger.reading import Where
from ledger.snapshot import Difference, Snapshot
from tests.events import item, proposal, schema, vote
from tests.past.books import animals, corrected


class Line:
    """A ledger of snapshots without rows; of a position only its governance offset counts."""

    def snapshot(self, at: Where) -> Snapshot:
        assert isinstance(at, Position)
        return Snapshot(at, Contract(), [])

    def diff(self, before: Where, after: Where) -> Difference:
        del before, after
        return Difference([])


def halved(
    count: int, verdict: Callable[[int], Verdict], *, check: bool = False
) -> tuple[Found, list[int]]:
    """Search `count` steps, numbered from 1; what was found, and which were asked."""
    asked: list[int] = []

    def test(snapshot: Snapshot) -> Verdict:
        asked.append(snapshot.position.governance)
        return verdict(asked[-1])

    steps = Steps(
        "versions", Position((0,), 0), [Step(Position((0,), i + 1)) for i in range(count)]
    )
    found = bisecting.search(Line(), steps, test, check=check)  # type: ignore[arg-type]
    return found, asked


@settings(max_examples=200)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_so_many_runs(case: tuple[int, int]) -> None:
    """At most ceil(log2 n) + 1 over n steps, none asked twice, and the first bad one is found."""
    count, first = case
    found, asked = halved(count, lambda number: "bad" if number >= first else "good")
    assert found.first_bad.position.governance == first
    assert found.last_good.governance == first - 1
    assert len(asked) == len(set(asked)) == found.runs
    assert found.runs <= math.ceil(math.log2(count)) + 1


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(1, n), st.sets(st.integers(1, n - 1 or 1)))
    )
)
def test_skipped_steps(case: tuple[int, int, set[int]]) -> None:
    """The first bad step is among the candidates, which the steps that were skipped keep apart."""
    count, first, skipped = case
    skipped -= {count}

    def verdict(number: int) -> Verdict:
        return "skip" if number in skipped else "bad" if number >= first else "good"

    found, _ = halved(count, verdict)
    numbers = [step.position.governance for step in found.candidates]
    assert first in numbers
    assert set(numbers[:-1]) <= skipped


def test_ends_that_are_not_what_they_were_said_to_be() -> None:
    """A test that is bad at GOOD, or good at BAD, is refused in words."""
    with pytest.raises(InvalidRequest, match="bad at GOOD already"):
        halved(5, lambda _: "bad")
    with pytest.raises(InvalidRequest, match="good at BAD"):
        halved(5, lambda _: "good")


def test_only_who_asks_learns_that_a_test_is_not_monotone() -> None:
    """With `check` every step is asked, and a good one after a bad one is refused."""

    def verdict(number: int) -> Verdict:
        return "good" if number in (0, 1, 6) else "bad"

    found, asked = halved(8, verdict)
    assert found.first_bad.position.governance == 2
    assert len(asked) <= 4
    with pytest.raises(InvalidRequest, match="not monotone"):
        halved(8, verdict, check=True)
    found, asked = halved(8, lambda number: "bad" if number > 3 else "good", check=True)
    assert found.first_bad.position.governance == 4
    assert sorted(asked) == list(range(9))


# On a ledger


def lacks(item_id: str, label: str) -> Test:
    """Good as long as the item has not this label."""

    def test(snapshot: Snapshot) -> Verdict:
        there = {row.item_id: row.label for row in snapshot.rows}
        return "bad" if there.get(item_id) == label else "good"

    return test


def test_the_first_bad_version(tmp_path: Path) -> None:
    """Versions are looked through where two or more lie between, and BAD need not be one."""
    with animals(tmp_path) as book:
        book.tag("v0", actor="ann")
        for number, name in enumerate("abcd", 1):
            book.append(corrected(str(number), name, "cat", "dog"))
            book.tag(f"v{number}", actor="ann")
        past = Past(book)
        found = past.bisect("v0", "v4", lacks("c", "dog"))
        assert (found.by, found.steps, found.first_bad.names) == ("versions", 4, ("v3",))
        assert found.last_good == book.resolve("v2")
        assert [change.item_id for change in found.difference] == ["c"]
        book.append(corrected("5", "e", "cat", "dog"))
        last = past.bisect("v1", "head", lacks("e", "dog"))
        assert (last.first_bad.names, last.steps) == ((), 4)
        between = past.bisect("v2", "v4", lacks("c", "dog"))
        assert between.by == "corrections"


def test_the_correction_that_did_it(tmp_path: Path) -> None:
    """Among corrections, a patch, a contract change and an import: each is one step."""
    with animals(tmp_path) as book:
        good = book.resolve()
        book.append(corrected("1", "a", "cat", "dog"))
        patches = Patches(book)
        edits = [Edit(name, "cat", "dog") for name in "bcd"]
        patch = patches.propose(edits, actor="eve", reason="a bad batch")
        book.append(corrected("2", "e", "cat", "dog", by="bob"))
        patches.settle(patch, "accept", actor="ann")
        book.append([schema(2, rename={"dog": "hound"})])
        book.append([item(f"new-{i}", "cow") for i in range(9)])
        past = Past(book)
        found = past.bisect(good, "head", lacks("c", "dog"))
        assert (found.by, found.steps) == ("corrections", 5)
        causes = found.first_bad.causes
        assert {cause.proposal.item_id for cause in causes if cause.proposal} == {"b", "c", "d"}
        assert {cause.proposal.patch_id for cause in causes if cause.proposal} == {patch}
        assert [change.item_id for change in found.difference] == ["b", "c", "d"]
        renamed = past.bisect(good, "head", lacks("a", "hound"))
        assert [type(cause.event) for cause in renamed.first_bad.causes] == [SchemaChanged]
        imported = past.bisect(good, "head", lacks("new-3", "cow"))
        assert imported.first_bad.count == 9
        assert all(isinstance(cause.event, ItemRegistered) for cause in imported.first_bad.causes)


def test_a_rollback_is_a_step(tmp_path: Path) -> None:
    """And so is what it took back."""
    with animals(tmp_path) as book:
        good = book.resolve()
        book.append(corrected("1", "a", "cat", "dog"))
        book.append(corrected("2", "b", "cat", "dog"))
        book.rollback(good, actor="ann", approved_by="bob")
        steps = steps_between(book, good, book.resolve(), "corrections").steps
        assert [type(step.causes[0].event) for step in steps] == [
            ReviewDecided,
            ReviewDecided,
            RolledBack,
        ]
        assert [book.snapshot(step.position).labels()["cat"] for step in steps] == [5, 4, 6]


def test_what_changes_nothing_is_no_step(tmp_path: Path) -> None:
    """Foreign bytes, broken events, votes to keep, accepted corrections that went stale."""
    with animals(tmp_path) as book:
        good, log = book.resolve(), book.dataset.log
        whole = next(value for batch in log.read(Topic.LABELS, 1, 0, 1) for value in batch.values)
        assert whole is not None
        for value in (b"", b"\0", b"\0\0\0\0\x63?", b"no event", whole[:-1]):
            log.append(Topic.LABELS, [Message(1, b"a", value, 1)])
        book.append(corrected("1", "a", "dog", "cow"))
        book.append([proposal("2", "a", "cat", "dog", "eve"), vote("2", "a", "keep")])
        book.append(corrected("3", "b", "cat", "dog"))
        (step,) = steps_between(book, good, book.resolve(), "corrections").steps
        assert [cause.proposal and cause.proposal.correction_id for cause in step.causes] == ["3"]


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("head", "labels=0,0,0;governance=0", "does not come after"),
        ("head", "head", "does not come after"),
        ("v1", "head", "no label changes"),
    ],
)
def test_where_there_is_nothing_to_find(good: str, bad: str, words: str, tmp_path: Path) -> None:
    """BAD before GOOD, or no change between them: refused in words, and nothing is run."""
    with animals(tmp_path) as book:
        book.tag("v1", actor="ann")
        with pytest.raises(InvalidRequest, match=words):
            Past(book).bisect(good, bad, lambda _: pytest.fail("it was run"))
