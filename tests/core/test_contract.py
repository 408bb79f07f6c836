from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ledger.core.contract import ClassState, Contract, Contracts, Unresolved
from ledger.core.events import ClassAdded
from ledger.core.outcome import Outcome
from tests.core.history import History, box

ADMINS = {"admin": ("max", "ada")}


def contract_after(*changes: Mapping[str, Any]) -> Contract:
    """The contract that schema changes make, one after the other."""
    history = History()
    for change in changes:
        assert history.outcome(history.schema(**change)) is Outcome.CHANGED
    return history.at().contract


def classes(contract: Contract) -> dict[str, bool]:
    """Each class and whether it is deprecated."""
    return {name: state.deprecated for name, state in contract.classes.items()}


# Version 0


def test_it_starts_at_version_0():
    """No class, one approval, no roles."""
    contract = History().at().contract
    assert contract == Contract()
    assert (contract.version, contract.approvals_required) == (0, 1)
    assert not contract.classes
    assert not contract.roles


def test_version_0_can_be_named():
    """An event under version 0 is under a contract; it can name no class."""
    history = History()
    assert history.outcome(history.item("r", version=0)) is Outcome.REGISTERED
    assert history.outcome(history.item("s", "x", version=0)) is Outcome.CLASS_NOT_IN_CONTRACT


# What one change does


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rename": {"a": "x"}}, {"x": False, "b": False, "old": True}),
        ({"rename": {"a": "b", "b": "a"}}, {"b": False, "a": False, "old": True}),
        ({"rename": {"ghost": "x"}}, {"a": False, "b": False, "old": True}),
        ({"rename": {"old": "x"}}, {"a": False, "b": False, "x": True}),
        ({"rename": {"old": "a"}}, {"a": True, "b": False}),
        ({"rename": {"a": "old"}}, {"old": True, "b": False}),
        ({"rename": {"a": "x", "old": "x"}}, {"x": True, "b": False}),
        ({"rename": {"a": "old", "old": "x"}}, {"old": False, "x": True, "b": False}),
        ({"merge": {"a": "b"}}, {"b": False, "old": True}),
        ({"merge": {"a": "x"}}, {"x": False, "b": False, "old": True}),
        ({"merge": {"ghost": "x"}}, {"a": False, "b": False, "old": True}),
        ({"merge": {"old": "a"}}, {"a": False, "b": False}),
        ({"merge": {"a": "old"}}, {"b": False, "old": True}),
        ({"merge": {"a": "b", "b": "x"}}, {"b": False, "x": False, "old": True}),
        ({"merge": {"a": "b", "b": "a"}}, {"a": False, "b": False, "old": True}),
        ({"split": {"a": {"x": "n>1", "b": "n<1"}}}, {"x": False, "b": False, "old": True}),
        (
            {"split": {"a": {"a": "n>1", "x": "n<1"}}},
            {"a": False, "x": False, "b": False, "old": True},
        ),
        ({"split": {"a": {"b": "n>1"}, "b": {"a": "n>1"}}}, {"a": False, "b": False, "old": True}),
        ({"split": {"ghost": {"x": "n>1"}}}, {"a": False, "b": False, "old": True}),
        ({"split": {"a": {}}}, {"b": False, "old": True}),
        ({"add": ["x"]}, {"a": False, "b": False, "old": True, "x": False}),
        ({"add": ["old"]}, {"a": False, "b": False, "old": False}),
        ({"add": ["x"], "deprecate": ["x"]}, {"a": False, "b": False, "old": True, "x": True}),
        ({"deprecate": ["a", "ghost"]}, {"a": True, "b": False, "old": True}),
    ],
    ids=str,
)
def test_what_one_change_does(change: Mapping[str, Any], expected: Mapping[str, bool]):
    """Each map applies simultaneously; a key that is no class does nothing; a missing target is
    made; rename keeps a deprecation, merge its target's state, adding again lifts it.
    """
    before = {"add": ["a", "b", "old"], "deprecate": ["old"]}
    assert classes(contract_after(before, change)) == expected


def test_the_order_within_one_change():
    """Rename, then merge, then split, then add, then deprecate: each step sees the one before."""
    change = {
        "rename": {"a": "b"},
        "merge": {"b": "c"},
        "split": {"c": {"d": "n > 0", "e": "n <= 0"}},
        "add": ["f"],
        "deprecate": ["d", "f"],
    }
    contract = contract_after({"add": ["a"]}, change)
    assert classes(contract) == {"d": True, "e": False, "f": True}


def test_a_step_does_not_see_a_later_one():
    """What is added in a change is not yet there for the change's own rename, merge and split."""
    for map_ in ({"rename": {"x": "y"}}, {"merge": {"x": "y"}}, {"split": {"x": {"y": "n > 0"}}}):
        assert classes(contract_after({"add": ["x"], **map_})) == {"x": False}


def test_meaning_and_anchor():
    """Both follow a rename; adding again keeps what is not given anew."""
    contract = contract_after(
        {"add": [ClassAdded("a", "what a is", "wd:1")]},
        {"rename": {"a": "b"}},
        {"add": [ClassAdded("b", anchor="wd:2")]},
    )
    assert contract.classes == {"b": ClassState("what a is", "wd:2")}


@pytest.mark.parametrize(
    ("change", "expert"),
    [
        ({"rename": {"a": "x"}}, {"x"}),
        ({"rename": {"a": "b", "b": "a"}}, {"b"}),
        ({"merge": {"a": "b"}}, {"b"}),
        ({"merge": {"b": "a"}}, {"a"}),
        ({"split": {"a": {"x": "n>1", "b": "n<1"}}}, {"x", "b"}),
        ({"split": {"b": {"x": "n>1", "y": "n<1"}}}, {"a"}),
        ({"deprecate": ["a"]}, {"a"}),
    ],
    ids=str,
)
def test_expert_classes_follow(change: Mapping[str, Any], expert: set[str]):
    """Expert classes follow renames and merges; a split makes all its parts expert."""
    history = History.of_classes("a", "b")
    history.policy(expert_classes=("a",))
    history.schema(**change)
    contract = history.at().contract
    assert {name for name in ("a", "b", "x", "y") if contract.expert(name)} == expert


def test_a_policy_that_leaves_a_field_out_leaves_it():
    """Each field of the policy stands until a policy names it again."""
    history = History()
    history.policy(approvals=3, roles=ADMINS, expert_classes=("a",), thresholds={"kappa": 0.7})
    history.policy(thresholds={"psi": 0.2})
    contract = history.at().contract
    assert contract.approvals_required == 3
    assert contract.roles == ADMINS
    assert contract.expert_classes == {"a"}
    assert contract.thresholds == {"psi": 0.2}


def test_roles_replace_the_whole_map():
    """An unnamed role is nobody's: here nobody may review any more."""
    history = History.of_classes("a", "b")
    history.policy(roles={**ADMINS, "reviewer": ("bob",)})
    history.policy(roles=ADMINS)
    history.item("r", "a")
    assert history.outcome(history.correct("r", "a", "b")) is Outcome.NOT_PERMITTED


# Which changes count


def test_a_version_counts_once():
    """Two writers can't both win: the second change to a version is a conflict, roles included."""
    history = History.of_classes("a")
    assert history.outcome(history.policy(approvals=2)) is Outcome.CHANGED
    late = history.policy(roles={"admin": ("eve", "mallory")}, makes=2, version=1)
    assert history.outcome(late) is Outcome.VERSION_CONFLICT
    assert not history.at().contract.roles
    assert history.at().contract.approvals_required == 2


@pytest.mark.parametrize(("makes", "version"), [(1, 1), (3, 1), (2, 0), (2, 2), (0, 1), (2, 7)])
def test_version_conflict(makes: int, version: int):
    """One more than the highest that counted, under the contract in force, else a conflict."""
    history = History.of_classes("a")
    change = history.schema(add=["b"], makes=makes, version=version)
    assert history.outcome(change) is Outcome.VERSION_CONFLICT
    assert classes(history.at().contract) == {"a": False}


def test_a_refused_change_leaves_its_version_free():
    """A version is taken by a change that counted only."""
    history = History()
    history.schema(add=["a"], by="max", approved_by="max")
    assert history.outcome(history.schema(add=["b"], makes=1)) is Outcome.CHANGED


@pytest.mark.parametrize("at", [(), (0,), (0, 0, 0)])
def test_a_change_has_one_head_per_partition(at: tuple[int, ...]):
    """Heads of another number of partitions are no position of this log."""
    history = History(partitions=2)
    assert history.outcome(history.schema(add=["a"], at=at)) is Outcome.BAD_POSITION


# Who may govern


@pytest.mark.parametrize(
    ("roles", "by", "approved_by", "outcome"),
    [
        (None, "anybody", None, Outcome.CHANGED),
        (None, "anybody", "else", Outcome.CHANGED),
        (None, "same", "same", Outcome.NOT_PERMITTED),
        (ADMINS, "max", "ada", Outcome.CHANGED),
        (ADMINS, "ada", "max", Outcome.CHANGED),
        (ADMINS, "max", "max", Outcome.NOT_PERMITTED),
        (ADMINS, "max", None, Outcome.NOT_PERMITTED),
        (ADMINS, "max", "eve", Outcome.NOT_PERMITTED),
        (ADMINS, "eve", "max", Outcome.NOT_PERMITTED),
        ({"admin": ("*",)}, "eve", "max", Outcome.CHANGED),
        ({"admin": ("*",)}, "eve", "eve", Outcome.NOT_PERMITTED),
        ({"reviewer": ("max", "ada")}, "max", "ada", Outcome.NOT_PERMITTED),
        ({"reviewer": ("bob",), "expert": ("*",)}, "max", "ada", Outcome.NOT_PERMITTED),
    ],
)
def test_who_may_govern(
    roles: Mapping[str, tuple[str, ...]] | None, by: str, approved_by: str | None, outcome: Outcome
):
    """Where roles are named: an admin, and another who approves. Never oneself."""
    history = History()
    history.policy(roles=roles)
    change = history.schema(add=["a"], by=by, approved_by=approved_by)
    assert history.outcome(change) is outcome
    tag = history.tag("v", by=by, reviewer=approved_by)
    back = history.rollback(history.checkpoints[0], by=by, approved_by=approved_by)
    state = history.at()
    if outcome is Outcome.CHANGED:
        assert (state[tag], state[back]) == (Outcome.TAGGED, Outcome.ROLLED_BACK)
    else:
        assert (state[tag], state[back]) == (Outcome.NOT_PERMITTED, Outcome.NOT_PERMITTED)


@pytest.mark.parametrize(
    ("roles", "by", "allowed"),
    [
        (None, "ann", True),
        ({"reviewer": ("bob",)}, "ann", True),
        ({"proposer": ("ann",)}, "ann", True),
        ({"proposer": ("ann",)}, "eve", False),
        ({"proposer": ("*",)}, "eve", True),
        ({"proposer": (), "reviewer": ("ann",), "admin": ("ann",)}, "ann", False),
    ],
)
def test_who_may_propose_and_register(
    roles: Mapping[str, tuple[str, ...]] | None, by: str, allowed: bool
):
    """Open to everybody unless the role `proposer` is named."""
    history = History.of_classes("a", "b")
    history.item("r", "a")
    history.policy(roles=roles)
    registration = history.item("s", "a", by=by)
    proposal = history.propose("r", "a", "b", by=by)
    state = history.at()
    assert state[registration] is (Outcome.REGISTERED if allowed else Outcome.NOT_PERMITTED)
    assert state[proposal] is (Outcome.PROPOSED if allowed else Outcome.NOT_PERMITTED)


# Mapping forward


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rename": {"a": "x"}}, {"ra": "x", "rb": "b", "rc": "c"}),
        ({"rename": {"a": "b", "b": "a"}}, {"ra": "b", "rb": "a", "rc": "c"}),
        ({"rename": {"a": "b", "b": "c"}}, {"ra": "b", "rb": "c", "rc": "c"}),
        ({"merge": {"a": "c", "b": "c"}}, {"ra": "c", "rb": "c", "rc": "c"}),
        ({"merge": {"a": "b", "b": "c"}}, {"ra": "b", "rb": "c", "rc": "c"}),
        ({"rename": {"a": "x"}, "merge": {"x": "y", "a": "c"}}, {"ra": "y", "rb": "b", "rc": "c"}),
        ({"rename": {"ghost": "a"}, "deprecate": ["a"]}, {"ra": "a", "rb": "b", "rc": "c"}),
        (
            {"rename": {"a": "x"}, "merge": {"x": "y"}, "split": {"y": {"z": "1==1"}}},
            {"ra": "z", "rb": "b", "rc": "c"},
        ),
        ({"split": {"a": {"b": "1==1"}, "b": {"c": "1==1"}}}, {"ra": "b", "rb": "c", "rc": "c"}),
    ],
    ids=str,
)
def test_labels_follow_a_change(change: Mapping[str, Any], expected: Mapping[str, str]):
    """Every label is mapped forward class by class to the contract in force; no event is needed."""
    history = History.of_classes("a", "b", "c")
    for label in ("a", "b", "c"):
        history.item(f"r{label}", label)
    history.schema(**change)
    assert history.labels() == expected


SIZES = {"vehicle": {"truck": "area > 10", "car": "area <= 10"}}


@pytest.mark.parametrize(
    ("attributes", "label"),
    [({"area": 11.0}, "truck"), ({"area": 10.0}, "car"), ({}, None), ({"area": "11"}, None)],
)
def test_a_split_looks_at_attributes(attributes: Mapping[str, float | str], label: str | None):
    """A comparison with a missing attribute is unknown, and unknown matches nothing."""
    history = History.of_classes("vehicle")
    history.item("r", "vehicle", attributes=attributes)
    history.schema(split=SIZES)
    assert history.labels() == ({"r": label} if label else {})
    assert history.at().unresolved() == ({} if label else {"r": Unresolved("vehicle", 2)})


def test_not_unknown_matches_nothing():
    """`not` does not turn a missing attribute into a match."""
    history = History.of_classes("vehicle")
    history.item("r", "vehicle")
    history.schema(split={"vehicle": {"car": "not area > 10"}})
    assert history.labels() == {}


def test_several_matches_are_unresolved():
    """Two rules that match decide nothing."""
    history = History.of_classes("a")
    history.item("r", "a", attributes={"n": 5})
    history.schema(split={"a": {"b": "n > 1", "c": "n > 2"}})
    assert history.at().unresolved() == {"r": Unresolved("a", 2)}


def test_unresolved_at_every_later_contract():
    """No later rename, merge or split of the class name moves an unresolved label."""
    history = History.of_classes("a", "b")
    history.item("r", "a")
    history.schema(rename={"a": "old"}, split={"old": {"b": "n > 1"}})
    history.schema(add=["old"])
    history.schema(rename={"old": "b"}, merge={"b": "c"})
    assert history.labels() == {}
    assert history.at().unresolved() == {"r": Unresolved("old", 2)}


def test_a_box_takes_its_area_from_its_geometry():
    """Whatever the attribute says; other geometries and regions without one take the attribute."""
    history = History.of_classes("vehicle")
    history.item("r#1", "vehicle", box(4, 5), attributes={"area": 1.0})
    history.item("r#2", "vehicle", attributes={"area": 1.0})
    history.schema(split=SIZES)
    assert history.labels() == {"r#1": "truck", "r#2": "car"}


def test_attributes_count_as_they_are_at_the_position():
    """A split is read when it is asked: a box that is corrected later changes its part."""
    history = History.of_classes("vehicle")
    history.item("r#1", "vehicle", box(4, 5))
    history.schema(split=SIZES)
    before = history.head()
    history.correct("r#1", "vehicle", "vehicle", box(4, 5), box(1, 1), version=1)
    assert history.labels(before) == {"r#1": "truck"}
    assert history.labels() == {"r#1": "car"}


def test_the_contract_at_a_version():
    """Each live version keeps the contract it made; a void or unknown one has none."""
    history = History.of_classes("a")
    history.schema(add=["b"])
    contracts = history.at().governance.contracts
    assert contracts.versions == [0, 1, 2]
    assert set(contracts.at(1).classes) == {"a"}
    assert contracts.live(2)
    assert not contracts.live(3)


def test_forward_between_versions():
    """From the label's contract to a later one, not beyond."""
    history = History.of_classes("a")
    history.schema(rename={"a": "b"})
    history.schema(rename={"b": "c"})
    contracts = history.at().governance.contracts
    forward = [contracts.forward("a", 1, until, {}) for until in (1, 2, 3)]
    assert forward == ["a", "b", "c"]
    assert contracts.forward("b", 2, 3, {}) == "c"
    assert contracts.forward(None, 1, 3, {}) is None


def test_no_change_is_the_empty_contract():
    """Contracts of nothing hold version 0 alone."""
    assert Contracts().versions == [0]


def test_where_an_attribute_is_cut():
    """At the numbers that any split compares it with; nowhere to be known beside another one."""
    history = History.of_classes("a", "b")
    assert history.at().governance.contracts.cuts("area") == []
    rules = {"c": "area > 4 and not (kind == 'x' or 2.5 <= area)", "d": "area == 'x' or n < 7"}
    history.schema(split={"a": rules})
    history.schema(split={"b": {"e": "area != -1"}})
    contracts = history.at().governance.contracts
    assert (contracts.cuts("area"), contracts.cuts("n")) == ([-1.0, 2.5, 4.0], [7.0])
    assert contracts.cuts("kind") == []
    history.schema(split={"c": {"f": "width > area"}})
    contracts = history.at().governance.contracts
    assert (contracts.cuts("area"), contracts.cuts("width")) == (None, None)
