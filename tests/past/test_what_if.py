"""What the labels would be: exactly what a log without these events gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger.columnar import replay as columnar_replay
from ledger.core.events import CorrectionProposed, Geometry, ReviewDecided
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.past import Past, Selection, columns, whatif
from ledger.past.selection import Chosen
from ledger.past.whatif import WhatIf, moves, opened, preview, what_if
from ledger.snapshot import Change
from tests.columnar.test_replay import stored
from tests.core.history import Entry, History, State
from tests.core.strategies import PEOPLE, Plan, checkpoint, plans, play, wild_plans
from tests.past.books import animals, corrected, labels, without

patient = settings(
    max_examples=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


WAYS = (1.0, -1.0)
"""Whether few are left out, so that a first pass looks for them, or not: see `columns.FEW_MAX`."""


def by_columns(
    dataset: Dataset, position: Position, chosen: list[Chosen], few_max: float, rows: int
) -> WhatIf:
    """What-if by columns, in one of its ways, so many rows at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "FEW_MAX", few_max)
        patch.setattr(columns, "ROWS", rows)
        patch.setattr(columnar_replay, "ROWS", rows)
        return columns.what_if(dataset, position, chosen)


def lines(state: State) -> dict[str, bytes]:
    """Each labelled item's canonical line."""
    found = state.canonical().splitlines(keepends=True)
    return dict(zip(sorted(state.labels(), key=str.encode), found, strict=True))


def sides(changes: list[Change]) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Each change's canonical lines."""
    return {
        each.item_id: (
            each.before.line() if each.before else None,
            each.after.line() if each.after else None,
        )
        for each in changes
    }


def differing(
    one: dict[str, bytes], two: dict[str, bytes]
) -> dict[str, tuple[bytes | None, bytes | None]]:
    """The items whose lines differ."""
    return {
        name: (one.get(name), two.get(name))
        for name in one.keys() | two.keys()
        if one.get(name) != two.get(name)
    }


@patient
@given(
    plan=wild_plans(),
    who=st.sampled_from(PEOPLE),
    votes=st.booleans(),
    window=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    back=st.integers(0, 6),
    rows=st.sampled_from((1, 3, 20)),
)
def test_it_is_a_log_without_these_events(
    *, plan: Plan, who: str, votes: bool, window: tuple[int, int], back: int, rows: int
) -> None:
    """In every history, for every author and reviewer, in any window, at any position, in every way
    of folding.
    """
    history = play(plan, partitions=2)
    position = history.governed().floor(checkpoint(history, back))
    since, until = (history.governed().floor(checkpoint(history, each)) for each in window)
    if not since.within(until):
        since, until = until, since
    event_type = ReviewDecided if votes else CorrectionProposed
    chosen = Chosen(event_type, {"actor": who}, since, until)

    def left_out(entry: Entry) -> bool:
        inside = since.labels[entry.partition] <= entry.offset < until.labels[entry.partition]
        return isinstance(entry.event, event_type) and entry.event.actor == who and inside

    expected = differing(lines(history.at(position)), lines(without(history, position, left_out)))
    with tempfile.TemporaryDirectory() as folder:
        dataset = stored(history, Path(folder) / "log.db")
        found = what_if(dataset, position, [chosen])
        others = [by_columns(dataset, position, [chosen], few, rows) for few in WAYS]
        dataset.log.close()
    for each in (found, *others):
        assert sides(list(each.difference)) == expected
        assert (each.passed_over, each.records) == (found.passed_over, found.records)
    count = sum(
        left_out(entry)
        for partition, stop in enumerate(position.labels)
        for entry in history.label_logs[partition][:stop]
    )
    assert found.passed_over == count


def void_ids() -> History:
    """Eve's proposal was rolled back, and its id keeps Ann's from counting."""
    history = History.of_classes("cat", "dog", partitions=2)
    history.item("r", "cat")
    start = history.head()
    history.propose("r", "cat", "dog", correction_id="c", by="eve")
    history.rollback(start)
    history.vote(history.propose("r", "cat", "dog", correction_id="c"))
    return history


def shared_ids() -> History:
    """Eve and Ann say the same under one id, and it is accepted."""
    history = History.of_classes("cat", "dog", partitions=2)
    history.item("r", "cat")
    history.propose("r", "cat", "dog", correction_id="c", by="eve")
    history.vote(history.propose("r", "cat", "dog", correction_id="c"))
    return history


def later_votes() -> History:
    """A vote for Eve is the first to say that two must approve; Ann's correction comes after."""
    history = History.of_classes("cat", "dog", partitions=2)
    history.item("r", "cat")
    proposal = history.propose("r", "cat", "dog", by="eve")
    history.policy(approvals=2)
    history.vote(proposal)
    history.correct("r", "cat", "dog", version=1)
    return history


def earlier_votes() -> History:
    """A vote for Eve is the first to say that two must approve; Ann's was accepted before."""
    history = History.of_classes("cat", "dog", partitions=2)
    history.item("r", "cat")
    proposal = history.propose("r", "cat", "dog", by="eve")
    history.correct("r", "cat", "dog")
    history.policy(approvals=2)
    history.vote(proposal)
    return history


def taken_ids() -> History:
    """An id is Ann's correction of one record, and of another; Eve corrects both."""
    history = History.of_classes("cat", "dog", partitions=1)
    for name in ("r", "s"):
        history.item(name, "cat")
    history.propose("s", "cat", "dog", by="eve")
    one = history.propose("r", "cat", "dog", correction_id="c")
    other = history.propose("s", "cat", "dog", correction_id="c")
    history.propose("r", "cat", "dog", by="eve")
    history.vote(one)
    history.vote(other)
    return history


def drawn() -> History:
    """Ann adds a region with a geometry, and Eve corrects its record."""
    history = History.of_classes("cat", "dog", partitions=1)
    history.item("r", "cat")
    history.correct("r#1", None, "dog", None, Geometry("span", (0, 3)))
    history.correct("r", "cat", "dog", by="eve")
    return history


def boxes() -> History:
    """Eve and Ann correct boxes, one of which comes later; then their class is split by area."""
    history = History.of_classes("cat", "dog", partitions=1)
    for number in range(3):
        history.item(f"other{number}", "dog", Geometry("bbox", (0, 0, number + 1, 2)))
    history.item("r", "cat", Geometry("bbox", (0, 0, 10, 10)))
    history.correct("r", "cat", "dog", by="eve")
    history.item("r#1", "cat", Geometry("bbox", (0, 0, 5, 5)))
    history.item("r#2", "dog", Geometry("bbox", (1, 1, 20, 5)))
    history.correct("r#2", "dog", "cat")
    history.schema(split={"cat": {"small": "area < 50", "large": "area >= 50"}})
    return history


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (void_ids, {"r": "dog"}),
        (shared_ids, {"r": "dog"}),
        (later_votes, {"r": "cat"}),
        (earlier_votes, {"r": "dog"}),
        (taken_ids, {"r": "dog", "s": "dog"}),
        (drawn, {"r": "cat", "r#1": "dog"}),
        (
            boxes,
            {"other0": "dog", "other1": "dog", "other2": "dog"}
            | {"r": "large", "r#1": "small", "r#2": "large"},
        ),
    ],
)
@pytest.mark.parametrize("rows", [1, 20])
def test_what_an_event_does_beside_its_correction(
    make: Callable[[], History], expected: dict[str, str], rows: int, tmp_path: Path
) -> None:
    """Ids that it keeps taken, and the contract that votes on it bring; by both ways of folding."""
    history = make()
    now = history.labels()
    dataset = stored(history, tmp_path / "log.db")
    chosen = [Chosen(CorrectionProposed, {"actor": "eve"}, None, None)]
    for found in (
        what_if(dataset, history.head(), chosen).difference,
        *(by_columns(dataset, history.head(), chosen, few, rows).difference for few in WAYS),
    ):
        changed = {each.item_id: each.after and each.after.label for each in found}
        assert now | changed == expected


@patient
@given(plans(), st.booleans())
def test_a_preview_is_an_expert_who_accepts_everything(plan: Plan, long: bool) -> None:
    """What is previewed is what an expert's votes on every open correction then do; by columns as
    by the reference fold.
    """
    history = play(plan, partitions=2)
    position = history.head()
    before = history.at()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if long:
            patch.setattr(whatif, "COLUMNS_FROM", 0)
        dataset = stored(history, Path(folder) / "log.db")
        found = preview(dataset, position)
        dataset.log.close()
    opened = [
        entry
        for log in history.label_logs
        for entry in log
        if isinstance(entry.event, CorrectionProposed) and _open(before, entry)
    ]
    history.policy(roles={"admin": ("*",), "expert": ("judge",)})
    outcomes = [history.outcome(history.vote(entry, by="judge")) for entry in opened]
    assert found.applied == outcomes.count(Outcome.APPLIED)
    assert found.stale == outcomes.count(Outcome.STALE)
    assert found.applied + found.stale == len(outcomes)
    assert sides(list(found.difference)) == differing(lines(before), lines(history.at()))


def _open(state: State, entry: Entry) -> bool:
    """Whether this proposal stands and is open."""
    event = entry.event
    assert isinstance(event, CorrectionProposed)
    record = state.folds[entry.partition].records.get(event.record_id)
    known = record.corrections.get(event.correction_id) if record else None
    return known is not None and known.open and known.offset == entry.offset


@pytest.mark.parametrize("long", [False, True])
def test_records_with_open_corrections(
    long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found by columns as by the reference fold."""
    if long:
        monkeypatch.setattr(whatif, "COLUMNS_FROM", 0)
    history = History.of_classes("cat", "dog", partitions=2)
    for name in ("r0", "r1", "r2", "r3", "r4#1"):
        history.item(name, "cat")
    history.propose("r0", "cat", "dog")
    history.correct("r1", "cat", "dog")
    history.vote(history.propose("r2", "cat", "dog"), "escalate")
    history.withdraw(history.propose("r3", "cat", "dog"))
    history.propose("r4#1", "cat", None)
    dataset = stored(history, tmp_path / "log.db")
    found = opened(dataset, history.head()).records()
    assert sorted(name for name, _ in found) == ["r0", "r2", "r4"]


CONDITIONS: dict[str, Callable[[], Selection]] = {
    "author": lambda: Selection(author="mia"),
    "source": lambda: Selection(source="audit"),
    "patch": lambda: Selection(patch="p-1"),
    "audit_run": lambda: Selection(audit_run="run-7"),
    "model_version": lambda: Selection(model_version="m-2"),
    "segment": lambda: Selection(segment="mobile"),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_condition(name: str, tmp_path: Path) -> None:
    """Only the correction for which it holds is passed over, though others mention its value."""
    fields: dict[str, dict[str, str]] = {
        "author": {"actor": "mia"},
        "source": {"source": "audit"},
        "patch": {"patch_id": "p-1"},
        "audit_run": {"audit_run_id": "run-7"},
        "model_version": {"model_version": "m-2"},
        "segment": {"segment": "mobile"},
    }
    value = next(iter(fields[name].values()))
    chosen = corrected("1", "a", "cat", "dog")
    chosen[0] |= fields[name]
    other = corrected("2", "b", "cat", "dog", reason=f"not {value}")
    with animals(tmp_path, *chosen, *other) as book:
        found = Past(book).what_if(CONDITIONS[name]())
        assert [(each.item_id, each.kind) for each in found.difference] == [("a", "changed")]
        assert (found.passed_over, found.records) == (1, 1)
        assert moves(found.difference) == [("dog", "cat", 1)]


def test_several_are_left_out_together(tmp_path: Path) -> None:
    """Without one author and without another reviewer; and a later correction then applies."""
    events = [
        *corrected("1", "a", "cat", "dog", by="eve"),
        *corrected("2", "a", "cat", "cow", by="mia"),  # stale, for it is a dog by then
        *corrected("3", "b", "cat", "dog", by="mia"),
    ]
    with animals(tmp_path, *events) as book:
        past, before = Past(book), book.resolve()
        found = past.what_if(Selection(author="eve"))
        assert [
            (c.before and c.before.label, c.after and c.after.label) for c in found.difference
        ] == [("dog", "cow")]
        both = past.what_if(Selection(author="eve"), Selection(reviewer="ann"))
        assert {c.item_id: c.after and c.after.label for c in both.difference} == {
            "a": "cat",
            "b": "cat",
        }
        assert book.resolve() == before
        assert labels(book) == dict.fromkeys("cdef", "cat") | {"a": "dog", "b": "dog"}


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({}, "which corrections"),
        ({"author": ""}, "author is empty"),
        ({"source": "rumour"}, "none of feedback"),
        ({"reviewer": "bob", "author": "ann"}, "no other condition"),
    ],
)
def test_a_selection_that_says_nothing_is_refused(given_: dict[str, str], words: str) -> None:
    """In words."""
    with pytest.raises(InvalidRequest, match=words):
        Selection(**given_)


def test_a_window_that_ends_before_it_begins(tmp_path: Path) -> None:
    """Is refused, as is one that lies beyond the log."""
    with animals(tmp_path) as book:
        head, start = book.resolve(), book.resolve("2000-01-01")
        with pytest.raises(InvalidRequest, match="ends before it begins"):
            Past(book).what_if(Selection(author="eve", since=head, until=start))
        with pytest.raises(InvalidRequest, match="beyond the end"):
            Past(book).what_if(Selection(author="eve", since="labels=99,0,0;governance=1"))
