"""Review: who may decide what, in which order the checks stand, and what a decision settles."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger.core.events import Decision
from ledger.core.outcome import Outcome
from tests.core.history import Entry, History, Roles, box

ROLES: Roles = {
    "admin": ("max", "ada"),
    "reviewer": ("bob", "cleo", "dan"),
    "expert": ("eve", "eli"),
}


def cats(
    *, approvals: int = 1, roles: Roles | None = None, expert_classes: tuple[str, ...] | None = None
) -> tuple[History, Entry]:
    """`r` is a cat and ann proposes a dog, under a policy."""
    history = History.of_classes("cat", "dog")
    history.policy(approvals=approvals, roles=roles, expert_classes=expert_classes)
    history.item("r", "cat")
    return history, history.propose("r", "cat", "dog")


Vote = tuple[str, Decision]


def outcomes(history: History, proposal: Entry, votes: Sequence[Vote]) -> list[Outcome]:
    entries = [history.vote(proposal, decision, by=by) for by, decision in votes]
    state = history.at()
    return [state[entry] for entry in entries]


A, K, E = "accept", "keep", "escalate"
VOTED, APPLIED, KEPT, ESCALATED = Outcome.VOTED, Outcome.APPLIED, Outcome.KEPT, Outcome.ESCALATED
NOT_PERMITTED, DUPLICATE, DECIDED = (
    Outcome.NOT_PERMITTED,
    Outcome.DUPLICATE,
    Outcome.ALREADY_DECIDED,
)

NO_ROLES: list[tuple[int, list[Vote], list[Outcome]]] = [
    (1, [("bob", A)], [APPLIED]),
    (1, [("bob", K)], [KEPT]),
    (1, [("bob", E)], [ESCALATED]),
    (1, [("bob", A), ("cleo", K)], [APPLIED, DECIDED]),
    (2, [("bob", A), ("cleo", A)], [VOTED, APPLIED]),
    (2, [("bob", K), ("cleo", K)], [VOTED, KEPT]),
    (2, [("bob", A), ("bob", A), ("cleo", A)], [VOTED, DUPLICATE, APPLIED]),
    (2, [("bob", A), ("bob", K)], [VOTED, DUPLICATE]),
    (2, [("bob", A), ("cleo", K)], [VOTED, ESCALATED]),
    (2, [("bob", K), ("cleo", A)], [VOTED, ESCALATED]),
    (3, [("bob", A), ("cleo", A), ("dan", K)], [VOTED, VOTED, ESCALATED]),
    # escalated while no roles are named: anybody who has not voted on it settles it
    (1, [("bob", E), ("cleo", A)], [ESCALATED, APPLIED]),
    (1, [("bob", E), ("bob", A), ("cleo", K)], [ESCALATED, DUPLICATE, KEPT]),
    (2, [("bob", A), ("cleo", K), ("bob", A), ("dan", A)], [VOTED, ESCALATED, DUPLICATE, APPLIED]),
    (3, [("bob", A), ("cleo", K), ("dan", K)], [VOTED, ESCALATED, KEPT]),
    (1, [("bob", E), ("cleo", E), ("dan", A)], [ESCALATED, VOTED, APPLIED]),
]


@pytest.mark.parametrize(("approvals", "votes", "expected"), NO_ROLES)
def test_while_no_roles_are_named(approvals: int, votes: list[Vote], expected: list[Outcome]):
    """Everybody reviews; what first gathers the approvals stands; a disagreement escalates."""
    assert outcomes(*cats(approvals=approvals), votes) == expected


WITH_ROLES: list[tuple[int, list[Vote], list[Outcome]]] = [
    (1, [("zoe", A), ("bob", A)], [NOT_PERMITTED, APPLIED]),
    (1, [("max", A)], [NOT_PERMITTED]),
    (2, [("bob", A), ("cleo", A)], [VOTED, APPLIED]),
    (9, [("eve", A)], [APPLIED]),
    (9, [("eve", K)], [KEPT]),
    (9, [("bob", K), ("eve", A)], [VOTED, APPLIED]),
    (9, [("eve", E), ("eve", A), ("eli", A)], [ESCALATED, DUPLICATE, APPLIED]),
    # escalated: only an expert settles it, and what may not settle is not recorded
    (1, [("bob", E), ("cleo", A), ("eve", A)], [ESCALATED, NOT_PERMITTED, APPLIED]),
    (1, [("bob", E), ("cleo", E), ("eve", K)], [ESCALATED, NOT_PERMITTED, KEPT]),
    (1, [("bob", E), ("bob", A)], [ESCALATED, DUPLICATE]),
    (1, [("bob", E), ("eve", E), ("eli", A)], [ESCALATED, VOTED, APPLIED]),
    (2, [("bob", A), ("cleo", K), ("dan", A)], [VOTED, ESCALATED, NOT_PERMITTED]),
]


@pytest.mark.parametrize(("approvals", "votes", "expected"), WITH_ROLES)
def test_where_roles_are_named(approvals: int, votes: list[Vote], expected: list[Outcome]):
    """Reviewers and experts review; an expert settles at once, and alone what is escalated."""
    assert outcomes(*cats(approvals=approvals, roles=ROLES), votes) == expected


EXPERT_CLASSES: list[tuple[str, Roles | None, list[Vote], list[Outcome]]] = [
    ("cat", ROLES, [("bob", A), ("eve", A)], [ESCALATED, APPLIED]),
    ("dog", ROLES, [("bob", A), ("cleo", A), ("eve", K)], [ESCALATED, NOT_PERMITTED, KEPT]),
    ("dog", ROLES, [("eve", A)], [APPLIED]),
    ("dog", ROLES, [("bob", K)], [KEPT]),
    ("cow", ROLES, [("bob", A)], [APPLIED]),
    ("dog", None, [("bob", A), ("bob", A), ("cleo", A)], [ESCALATED, DUPLICATE, APPLIED]),
]


@pytest.mark.parametrize(("expert_class", "roles", "votes", "expected"), EXPERT_CLASSES)
def test_an_expert_class(
    expert_class: str, roles: Roles | None, votes: list[Vote], expected: list[Outcome]
):
    """From or to an expert class: accepted by an expert only, a reviewer's accept escalates."""
    history, proposal = cats(roles=roles, expert_classes=(expert_class,))
    assert outcomes(history, proposal, votes) == expected


def test_expert_classes_are_judged_under_the_records_contract():
    """Class names are mapped forward to it: an expert class by its later name."""
    history, proposal = cats(roles=ROLES)
    history.schema(rename={"dog": "hound"})
    history.policy(expert_classes=("hound",))
    assert history.outcome(history.vote(proposal, by="bob")) is Outcome.ESCALATED


def test_an_added_item_takes_its_attributes_from_the_correction():
    """For an item not yet there the part of a split is judged by `to_geometry`."""
    history = History.of_classes("vehicle")
    small = history.propose("r#1", None, "vehicle", None, box(1, 1))
    large = history.propose("r#2", None, "vehicle", None, box(9, 9))
    history.schema(split={"vehicle": {"car": "area <= 10", "truck": "area > 10"}})
    history.policy(roles=ROLES, expert_classes=("truck",))
    assert outcomes(history, small, [("bob", A)]) == [APPLIED]
    assert outcomes(history, large, [("bob", A)]) == [ESCALATED]


@pytest.mark.parametrize(("from_label", "version"), [("tumor", 1), (None, 3)])
def test_an_unresolved_label_is_no_expert_class(from_label: str | None, version: int):
    """A split makes the parts of an expert class expert; a label that is none of them is no class
    at all, so a reviewer may relabel it to a class that is not expert.
    """
    history = History.of_classes("tumor", "healthy")
    history.policy(roles=ROLES, expert_classes=("tumor",))
    history.item("r", "tumor", version=1)
    history.schema(split={"tumor": {"benign": "grade <= 1", "malignant": "grade > 1"}})
    proposal = history.propose("r", from_label, "healthy", version=version)
    history.propose("r", None, "benign")  # the record has met the split
    assert history.outcome(history.vote(proposal, by="bob")) is Outcome.APPLIED
    towards = history.propose("r", "healthy", "benign")
    assert history.outcome(history.vote(towards, by="bob")) is Outcome.ESCALATED


# The order of the checks


def test_an_unknown_correction():
    """No such correction in this record."""
    history, proposal = cats()
    history.item("s", "cat")
    elsewhere = history.vote(proposal, item_id="s")
    assert history.outcome(elsewhere) is Outcome.UNKNOWN_CORRECTION


def test_closed_comes_before_self_review():
    """A closed correction is `already_decided`, for its proposer and the unpermitted too."""
    history, proposal = cats(roles=ROLES)
    votes: list[Vote] = [("bob", A), ("ann", A), ("zoe", A), ("bob", A)]
    assert outcomes(history, proposal, votes) == [APPLIED, DECIDED, DECIDED, DECIDED]


def test_self_review_comes_before_the_role():
    """A proposer's own decision is `self_review`, reviewer, expert or neither."""
    for by in ("ann", "bob", "eve"):
        history = History.of_classes("cat", "dog")
        history.policy(roles=ROLES)
        history.item("r", "cat")
        proposal = history.propose("r", "cat", "dog", by=by)
        assert outcomes(history, proposal, [(by, A)]) == [Outcome.SELF_REVIEW]


def test_the_role_comes_before_the_second_vote():
    """Who lost the role is `not_permitted`, though the first vote keeps counting."""
    history, proposal = cats(approvals=2)
    first = history.vote(proposal, by="zoe")
    history.policy(roles=ROLES)
    votes: list[Vote] = [("zoe", A), ("bob", A)]
    assert outcomes(history, proposal, votes) == [NOT_PERMITTED, APPLIED]
    assert history.outcome(first) is VOTED


def test_the_second_vote_comes_before_escalation():
    """A reviewer's second vote on an escalated correction is a duplicate."""
    history, proposal = cats(approvals=2, roles=ROLES)
    votes: list[Vote] = [("bob", A), ("cleo", E), ("bob", A), ("dan", A)]
    assert outcomes(history, proposal, votes) == [VOTED, ESCALATED, DUPLICATE, NOT_PERMITTED]


def test_what_is_not_permitted_is_not_recorded():
    """A vote refused on an escalated correction can be cast again by one who became an expert."""
    history, proposal = cats(roles=ROLES)
    assert outcomes(history, proposal, [("bob", E), ("cleo", A)]) == [ESCALATED, NOT_PERMITTED]
    history.policy(roles={**ROLES, "expert": ("cleo",)})
    assert outcomes(history, proposal, [("cleo", A)]) == [APPLIED]


def test_no_roles_after_roles():
    """Roles replaced by an empty map are not named: everybody may review again."""
    history, proposal = cats(roles=ROLES)
    history.policy(roles={})
    assert outcomes(history, proposal, [("zoe", A)]) == [APPLIED]


def test_everybody():
    """`*` stands for everybody."""
    history, proposal = cats(roles={"reviewer": ("*",)})
    assert outcomes(history, proposal, [("ann", A), ("zoe", A)]) == [Outcome.SELF_REVIEW, APPLIED]


def test_fewer_approvals_later():
    """The decision that first gathers what the vote's contract asks for stands."""
    history, proposal = cats(approvals=3)
    history.vote(proposal, by="bob")
    history.policy(approvals=2)
    assert outcomes(history, proposal, [("cleo", A)]) == [APPLIED]


# Withdrawal


def test_the_proposer_may_withdraw():
    """While it is open, pending or escalated; then it is closed."""
    for decision in (None, "escalate"):
        history, proposal = cats(approvals=2)
        if decision:
            history.vote(proposal, "escalate")
        assert history.outcome(history.withdraw(proposal)) is Outcome.WITHDRAWN
        (correction,) = history.at().record("r").corrections.values()
        assert (correction.status, correction.open) == (Outcome.WITHDRAWN, False)
        assert outcomes(history, proposal, [("zoe", A)]) == [DECIDED]
        assert history.labels() == {"r": "cat"}


@pytest.mark.parametrize("by", ["bob", "eve", "max"])
def test_no_one_else_may_withdraw(by: str):
    """Not a reviewer, not an expert, not an admin."""
    history, proposal = cats(roles=ROLES)
    assert history.outcome(history.withdraw(proposal, by=by)) is NOT_PERMITTED
    assert outcomes(history, proposal, [("bob", A)]) == [APPLIED]


@pytest.mark.parametrize("decision", ["accept", "keep"])
def test_a_decided_correction_stays(decision: Decision):
    """Withdrawing what is closed is `already_decided`, whoever asks."""
    history, proposal = cats()
    history.vote(proposal, decision)
    assert history.outcome(history.withdraw(proposal)) is DECIDED
    assert history.outcome(history.withdraw(proposal, by="zoe")) is DECIDED


def test_the_fold_does_not_trust_the_producer():
    """A forged producer can't approve its own work: no role, no label, and no escape by naming an
    older contract once its record has met the newer one.
    """
    history, proposal = cats(roles=ROLES)
    forged = [history.vote(proposal, by="forger", version=version) for version in (0, 1, 2)]
    state = history.at()
    assert {state[vote] for vote in forged} == {NOT_PERMITTED}
    assert state.labels() == {"r": "cat"}
