"""What a contract change may not ask for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ledger import InvalidRequest
from ledger.contracts import change_of
from ledger.contracts.checks import check, remarks
from ledger.core.contract import ClassState, Contract

CONTRACT = Contract(
    version=3,
    classes={
        **{name: ClassState() for name in ("cat", "dog", "sedan", "hatchback", "hound")},
        "cow": ClassState(deprecated=True),
    },
    expert_classes=frozenset({"hound"}),
    thresholds={"labelled_min": 0.5},
)
HALVES = {"small": "area < 10", "large": "area >= 10"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rename": {"dgo": "wolf"}}, "there is no class 'dgo'; is 'dog' meant?"),
    ({"rename": {"zebra": "wolf"}}, "there are: 'cat', 'dog'"),
    ({"rename": {"dog": "cat"}}, "which is a class already: that is a merge"),
    ({"rename": {"dog": "pet", "cat": "pet"}}, "that is a merge"),
    ({"rename": {"dog": "dog"}}, "in a circle: 'dog' -> 'dog'"),
    ({"rename": {"dog": "cat", "cat": "dog"}}, "in a circle: 'dog' -> 'cat' -> 'dog'"),
    ({"rename": {"cow": "dog", "dog": "cat", "cat": "dog"}}, "circle: 'dog' -> 'cat' -> 'dog'"),
    ({"rename": {"dog": "cat", "cat": "puma"}}, "'cat' is an old and a new name of one rename"),
    ({"rename": {"dog": "pet"}, "merge": {"pet": "dog"}}, "circle: 'dog' -> 'pet' -> 'dog'"),
    (
        {"rename": {"dog": "pet"}, "merge": {"pet": "dog"}, "add": ["dog"]},
        "circle: 'dog' -> 'pet' -> 'dog'",
    ),
    ({"merge": {"sedan": "hatchback", "hatchback": "sedan"}}, "circle"),
    ({"merge": {"sedan": "car"}}, "there is no class 'car'; is 'cat' meant?"),
    ({"merge": {"sedan": "car"}}, 'add it in the same change, {"add": ["car"]}'),
    ({"merge": {"tank": "dog"}}, "merge of 'tank': there is no class"),
    ({"merge": {"cat": "dog", "dog": "hound"}}, "'dog' is an old and a new name of one merge"),
    (
        {"rename": {"dog": "wolf"}, "merge": {"dog": "cat"}},
        "the same change makes 'dog' 'wolf' before that",
    ),
    ({"rename": {"dog": "wolf"}, "split": {"dog": HALVES}}, "makes 'dog' 'wolf' before"),
    ({"split": {"zebra": HALVES}}, "split of 'zebra': there is no class"),
    ({"split": {"dog": {"cat": "area < 10", "large": "area >= 10"}}}, "'cat', which is a class"),
    ({"split": {"dog": HALVES, "cat": HALVES}}, "split of both 'dog' and 'cat' into 'small'"),
    ({"split": {"dog": {"s": "area < 10", "l": "area > 10"}}}, "leave a gap"),
    ({"split": {"dog": {"s": "area <= 10", "l": "area >= 10"}}}, "overlap"),
    ({"add": ["dog"]}, "add of 'dog': it is a class already"),
    ({"rename": {"dog": "wolf"}, "add": ["dog"]}, "'dog' goes in this change and is added in it"),
    ({"deprecate": ["zebra"]}, "deprecate of 'zebra': there is no class"),
    ({"deprecate": ["cow"]}, "deprecated already"),
    ({"deprecate": ["ox"], "add": ["ox"]}, "'ox' is added and deprecated in one change"),
    ({"rename": {"dog": "wolf"}, "deprecate": ["dog"]}, "makes 'dog' 'wolf' before"),
    ({"roles": {"boss": ["ann"]}}, "roles: 'boss' is none"),
    ({"roles": {"reviewer": ["ann"]}}, "no one is an admin"),
    ({"roles": {"admin": ["ann", "ann"]}}, "only 'ann' is an admin"),
    ({"expert_classes": ["dgo"]}, "is 'dog' meant?"),
    ({"thresholds": {"class_shift": 0.1}}, "is 'class_shift_max' meant?"),
    ({"thresholds": {"class_shift_max": 25}}, "bounds a share, between 0 and 1"),
    ({"thresholds": {"retrain_after": -1}}, "below 0"),
    ({"service_levels": {"asleep": 3600}}, "no state that a correction waits in"),
    ({"service_levels": {"proposed": 0}}, "more than 0"),
    ({"approvals_required": 1}, "nothing is to change"),
    ({"expert_classes": ["hound"]}, "nothing is to change"),
]


@pytest.mark.parametrize(("fields", "expected"), REFUSED)
def test_what_can_not_be_meant_is_refused(fields: dict[str, Any], expected: str) -> None:
    """In words, which name what is wrong and where it stands."""
    with pytest.raises(InvalidRequest) as error:
        check(change_of([("map.json", fields)]), CONTRACT)
    assert str(error.value).startswith("map.json: ")
    assert expected in str(error.value)


def test_a_way_through_very_many_classes_is_no_trap() -> None:
    """Each name is passed once: where every start followed its whole way, it would take hours."""
    names = [f"c{i}" for i in range(200_000)]
    follow = dict(pairwise(names))
    with pytest.raises(InvalidRequest, match="'c1' is an old and a new name of one rename"):
        check(change_of([("map.json", {"rename": follow})]), Contract(1, {"c0": ClassState()}))
    change_of([("map.json", {"add": names})])


TAKEN: list[dict[str, Any]] = [
    {"rename": {"dog": "wolf"}},
    {"merge": {"sedan": "car", "hatchback": "car"}, "add": ["car"]},
    {"merge": {"sedan": "hatchback"}},
    {"rename": {"dog": "wolf"}, "split": {"wolf": HALVES}},
    {"merge": {"dog": "cat"}, "split": {"cat": HALVES}},
    {"split": {"dog": {"dog": "area < 10", "large": "area >= 10"}}},
    {"add": [{"name": "dog", "meaning": "barks"}]},
    {"add": ["cow"]},
    {"rename": {"dog": "wolf"}, "add": [{"name": "wolf", "anchor": "wd:Q18498"}]},
    {"split": {"dog": HALVES}, "deprecate": ["small"]},
    {"roles": {"admin": ["ann", "bob"]}},
    {"roles": {"admin": ["*"]}},
    {"thresholds": {"class_shift_max": 0.5, "agreement_min": -0.5}},
    {"service_levels": {"proposed": 3600, "escalated": 60}},
]


@pytest.mark.parametrize("fields", TAKEN)
def test_what_can_be_meant_is_taken(fields: dict[str, Any]) -> None:
    """No check stands in the way of a plain change."""
    check(change_of([("map.json", fields)]), CONTRACT)


def test_remarks_tell_what_can_be_put_right_later() -> None:
    """Each is about something that a later change can undo."""
    named = {"admin": ("ann", "bob"), "reviewer": ("cat",)}
    cases: list[tuple[dict[str, Any], Contract, str]] = [
        ({"merge": {"dog": "cow"}}, CONTRACT, "'cow' is deprecated, and items of 'dog' get it"),
        ({"deprecate": ["hound"]}, CONTRACT, "'hound' stays an expert class"),
        ({"split": {"hound": HALVES}}, CONTRACT, "every part of 'hound' is an expert class"),
        ({"roles": {}}, CONTRACT, "everybody may review and govern"),
        (
            {"thresholds": {"retrain_after": 9}},
            Contract(thresholds={"retrain_after": 9}),
            "labelled_min is no longer among them",
        ),
        ({"approvals_required": 2}, Contract(approvals_required=2, roles=named), "2 must agree"),
        (
            {"roles": {}},
            Contract(roles={**named, "proposer": ()}),
            "no item can be registered",
        ),
    ]
    for fields, after, expected in cases:
        said = remarks(change_of([("map.json", fields)]), CONTRACT, after)
        assert any(expected in each for each in said), said
