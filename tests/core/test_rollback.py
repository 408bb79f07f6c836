"""Rollback is one event: what becomes void, what stays, nested and undone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core.governance import Span
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import History, record_in, right_after

ADMINS = {"admin": ("max", "ada")}


def three_steps() -> tuple[History, list[Position]]:
    """`r` is a cat, then a dog, then a cow; the heads after each."""
    history = History.of_classes("cat", "dog", "cow")
    history.item("r", "cat")
    heads = [history.head()]
    for before, after in (("cat", "dog"), ("dog", "cow")):
        history.correct("r", before, after)
        heads.append(history.head())
    return history, heads


def test_the_labels_go_back():
    """What lies between `to` and `at` is void; what comes after is live."""
    history, heads = three_steps()
    back = history.rollback(heads[0])
    assert history.outcome(back) is Outcome.ROLLED_BACK
    assert history.labels() == {"r": "cat"}
    assert history.outcome(history.correct("r", "cat", "cow")) is Outcome.APPLIED
    assert history.labels() == {"r": "cow"}


def test_what_is_void_is_still_there():
    """Its outcome is `void`, and every older position still reads it."""
    history, heads = three_steps()
    before = [history.at(head).canonical() for head in heads]
    history.rollback(heads[0])
    assert [history.at(head).canonical() for head in heads] == before
    outcomes = [history.outcome(entry) for entry in history.label_logs[0]]
    assert outcomes == [Outcome.REGISTERED, *[Outcome.VOID] * 4]


def test_live_ranges():
    """`[0, to)` and `[at, ...)` of each partition."""
    history = History.of_classes("cat", partitions=2)
    here, there = record_in(0, 2), record_in(1, 2)
    history.item(here, "cat")
    start = history.head()
    history.item(there, "cat")
    history.rollback(start)
    history.item(here + "#1", "cat")
    governance = history.governed()
    live = [[s for s in governance.spans(p, 9) if s.live] for p in (0, 1)]
    assert [(live[0][0].start, live[0][-1].stop), live[1]] == [(0, 9), [Span(1, 9, live=True)]]
    assert [s for s in governance.spans(1, 9) if not s.live] == [Span(0, 1, live=False)]
    assert not [s for s in governance.spans(0, 9) if not s.live]


def test_spans_end_where_the_position_does():
    """No span reaches beyond the stop, none is empty, and together they are the prefix."""
    history, heads = three_steps()
    history.rollback(heads[1], at=Position((5,), 1))
    for stop in range(8):
        spans = history.governed().spans(0, stop)
        assert [o for s in spans for o in range(s.start, s.stop)] == list(range(stop))
        assert all(span.start < span.stop for span in spans)


def test_schema_changes_are_void():
    """The contract goes back with the labels, byte for byte."""
    history, heads = three_steps()
    before = history.at(heads[2]).canonical()
    history.schema(rename={"cow": "ox"})
    assert history.labels() == {"r": "ox"}
    history.rollback(heads[2])
    assert history.at().canonical() == before
    assert "ox" not in history.at().contract.classes


def test_policies_stay():
    """A rollback takes no role and no approval back, and an event may name the policy's version."""
    history, heads = three_steps()
    history.policy(approvals=2, roles={**ADMINS, "reviewer": ("bob", "cleo")})
    history.rollback(heads[0])
    state = history.at()
    assert (state.contract.version, state.contract.approvals_required) == (2, 2)
    proposal = history.propose("r", "cat", "cow")
    assert history.outcome(proposal) is Outcome.PROPOSED
    assert history.outcome(history.vote(proposal)) is Outcome.VOTED


def test_a_policy_outlives_the_schema_it_followed():
    """Its version stays in force over the classes that are live."""
    history, heads = three_steps()
    history.schema(add=["ox"])
    history.policy(approvals=2)
    history.rollback(heads[0])
    contract = history.at().contract
    assert (contract.version, contract.approvals_required) == (3, 2)
    assert set(contract.classes) == {"cat", "dog", "cow"}


def test_version_numbers_after_a_rollback():
    """One more than the highest that ever counted, under the highest that is live."""
    history, heads = three_steps()
    history.schema(add=["ox"])
    history.rollback(heads[0])
    reused = history.schema(add=["pig"], makes=2, version=1)
    under_void = history.schema(add=["pig"], makes=3, version=2)
    counts = history.schema(add=["pig"], makes=3, version=1)
    state = history.at()
    assert state[reused] is Outcome.VERSION_CONFLICT
    assert state[under_void] is Outcome.VERSION_CONFLICT
    assert state[counts] is Outcome.CHANGED
    assert set(state.contract.classes) == {"cat", "dog", "cow", "pig"}


# Which rollbacks count


def test_somebody_was_faster():
    """`at.governance` must be the rollback's own offset."""
    history, heads = three_steps()
    at = history.head()
    history.policy(approvals=1)
    assert history.outcome(history.rollback(heads[0], at=at)) is Outcome.VERSION_CONFLICT
    later = replace(history.head(), governance=history.head().governance + 1)
    assert history.outcome(history.rollback(heads[0], at=later)) is Outcome.VERSION_CONFLICT
    assert history.labels() == {"r": "cow"}
    assert history.outcome(history.rollback(heads[0])) is Outcome.ROLLED_BACK


@pytest.mark.parametrize(
    "to",
    [
        Position((5,), 2),
        Position((6,), 1),
        Position((0,), 3),
        Position((1, 0), 1),
        Position((5,), 1),
    ],
    ids=["to is at", "beyond the labels", "beyond governance", "partitions", "not closed"],
)
def test_bad_rollback(to: Position):
    """`to` must be closed and before `at`."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    history.correct("r", "cat", "dog")
    history.policy(approvals=2)
    history.propose("r", "dog", "cat")
    history.propose("r", "dog", "cat")
    before = history.at().canonical()
    assert history.outcome(history.rollback(to)) is Outcome.BAD_ROLLBACK
    assert history.at().canonical() == before


@pytest.mark.parametrize("governance", [1, 2])
def test_to_must_lie_before_at(governance: int):
    """A closed `to` that is beyond `at`, here in the labels, takes nothing back."""
    history, heads = three_steps()
    history.policy(approvals=2)
    at = Position(heads[1].labels, history.head().governance)
    to = Position(heads[2].labels, governance)
    assert history.outcome(history.rollback(to, at=at)) is Outcome.BAD_ROLLBACK
    assert history.labels() == {"r": "cow"}


def test_at_must_be_closed():
    """An `at` below an earlier rollback's `at` is not closed."""
    history, heads = three_steps()
    history.rollback(heads[1])
    at = Position((4,), history.head().governance)
    assert history.outcome(history.rollback(heads[0], at=at)) is Outcome.BAD_ROLLBACK


def test_a_redelivered_rollback():
    """It is a conflict: its `at` is not its own offset."""
    history, heads = three_steps()
    back = history.rollback(heads[1])
    history.correct("r", "dog", "cat")
    assert history.outcome(history.again(back)) is Outcome.VERSION_CONFLICT
    assert history.labels() == {"r": "cat"}


def test_a_rollback_may_void_its_own_contract():
    """It names the contract in force, which it takes back."""
    history = History()
    start = history.head()
    history.schema(add=["cat"])
    back = history.rollback(start)
    assert history.outcome(back) is Outcome.ROLLED_BACK
    assert history.at().contract.version == 0


def test_what_was_appended_between_reading_and_rolling_back():
    """Label events beyond `at` are live, though they came before the rollback."""
    history, heads = three_steps()
    read = history.head().labels
    history.item("s", "cat")
    history.rollback(heads[0], at=Position(read, history.head().governance))
    assert history.labels() == {"r": "cat", "s": "cat"}


# Nested and undone


def test_nested_rollbacks():
    """A later rollback that includes an earlier one: the snapshot is that of its `to`."""
    history, heads = three_steps()
    history.rollback(heads[1])
    middle = history.head()
    history.correct("r", "dog", "cat")
    history.rollback(middle)
    assert history.labels() == {"r": "dog"}
    history.rollback(heads[0])
    assert history.labels() == {"r": "cat"}


def test_two_rollbacks_apart():
    """Each leaves its own hole."""
    history, heads = three_steps()
    history.rollback(heads[1])
    history.correct("r", "dog", "cat")
    keep = history.head()
    history.correct("r", "cat", "cow")
    history.rollback(keep)
    assert history.labels() == {"r": "cat"}
    spans = [(s.start, s.stop) for s in history.governed().spans(0, 9) if not s.live]
    assert spans == [(3, 5), (7, 9)]


def test_a_rollback_undone():
    """Rolling back to before a rollback makes live again what it had voided."""
    history, heads = three_steps()
    before = history.head()
    first = history.rollback(heads[0])
    history.correct("r", "cat", "dog")
    history.rollback(before)
    assert history.labels() == {"r": "cow"}
    assert history.labels(right_after(first)) == {"r": "cat"}
    assert history.at().governance.void(first.offset)


def test_an_undone_rollback_redone():
    """And so on: undoing the undoing brings the first rollback back."""
    history, heads = three_steps()
    before = history.head()
    history.rollback(heads[0])
    between = history.head()
    history.rollback(before)
    assert history.labels() == {"r": "cow"}
    history.rollback(between)
    assert history.labels() == {"r": "cat"}


def test_an_undone_rollback_brings_its_schema_changes_back():
    """What it had voided is live again, contract changes included."""
    history, heads = three_steps()
    history.schema(rename={"cow": "ox"})
    before = history.head()
    history.rollback(heads[2])
    assert history.labels() == {"r": "cow"}
    history.rollback(before)
    assert history.labels() == {"r": "ox"}


def test_to_in_an_earlier_void_range():
    """`to` may lie in what is void: the earlier rollback is void then, and the range live again."""
    history, heads = three_steps()
    history.rollback(heads[0])
    assert history.outcome(history.rollback(heads[1])) is Outcome.ROLLED_BACK
    assert history.labels() == {"r": "dog"}
    assert history.governed().spans(0, 9) == [
        Span(0, 3, live=True),
        Span(3, 5, live=False),
        Span(5, 9, live=True),
    ]


def test_a_rollback_that_only_governance_sees():
    """`to` and `at` may hold the same labels: only the contract goes back."""
    history, _ = three_steps()
    before = history.head()
    history.schema(rename={"cow": "ox"})
    assert history.outcome(history.rollback(before)) is Outcome.ROLLED_BACK
    assert history.labels() == {"r": "cow"}


def test_a_correction_goes_on_after_a_rollback():
    """An open correction before `to` is open again, with the votes it had there."""
    history = History.of_classes("cat", "dog")
    history.policy(approvals=2)
    history.item("r", "cat")
    proposal = history.propose("r", "cat", "dog")
    history.vote(proposal, by="bob")
    start = history.head()
    history.vote(proposal, by="cleo")
    assert history.labels() == {"r": "dog"}
    history.rollback(start)
    assert history.labels() == {"r": "cat"}
    assert history.outcome(history.vote(proposal, by="bob")) is Outcome.DUPLICATE
    assert history.outcome(history.vote(proposal, by="cleo")) is Outcome.APPLIED
