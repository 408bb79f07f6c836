"""Application: when an accepted correction is applied, and under which contract it then stands."""

from __future__ import annotations

import pytest

from ledger.core.contract import Unresolved
from ledger.core.events import Geometry
from ledger.core.outcome import Outcome
from tests.core.history import History, box

BY_AREA = {"vehicle": {"car": "area <= 10", "truck": "area > 10"}}


@pytest.mark.parametrize(
    ("label", "from_label", "outcome"),
    [
        ("cat", "cat", Outcome.APPLIED),
        ("cat", "dog", Outcome.STALE),
        ("cat", None, Outcome.STALE),
        (None, None, Outcome.APPLIED),
        (None, "cat", Outcome.STALE),
    ],
)
def test_from_label_must_still_be_true(label: str | None, from_label: str | None, outcome: Outcome):
    """Equal, or null against an item with no label; else stale, and nothing changes."""
    history = History.of_classes("cat", "dog", "cow")
    history.item("r", label)
    before = history.labels()
    vote = history.correct("r", from_label, "cow")
    assert history.outcome(vote) is outcome
    assert history.labels() == ({"r": "cow"} if outcome is Outcome.APPLIED else before)


def test_compared_at_the_moment_of_acceptance():
    """The later of two corrections accepted on one item is stale; before, it was a conflict."""
    history = History.of_classes("cat", "dog", "cow")
    history.item("r", "cat")
    first, second = history.propose("r", "cat", "dog"), history.propose("r", "cat", "cow")
    assert history.outcome(history.vote(second)) is Outcome.APPLIED
    assert history.outcome(history.vote(first)) is Outcome.STALE
    assert history.labels() == {"r": "cow"}


@pytest.mark.parametrize(
    ("from_geometry", "to_geometry", "outcome"),
    [
        (box(1, 1), box(2, 2), Outcome.APPLIED),
        (box(1, 1, -0.0), box(2, 2), Outcome.APPLIED),
        (box(3, 3), box(2, 2), Outcome.STALE),
        (None, box(2, 2), Outcome.STALE),
        (Geometry("polygon", (0, 0, 1, 1)), box(2, 2), Outcome.STALE),
        (box(3, 3), None, Outcome.APPLIED),
        (None, None, Outcome.APPLIED),
    ],
)
def test_from_geometry_counts_where_to_geometry_is_given(
    from_geometry: Geometry | None, to_geometry: Geometry | None, outcome: Outcome
):
    """A null `to_geometry` changes nothing and asks for nothing."""
    history = History.of_classes("cat", "dog")
    history.item("r#1", "cat", box(1, 1))
    vote = history.correct("r#1", "cat", "dog", from_geometry, to_geometry)
    assert history.outcome(vote) is outcome
    applied = outcome is Outcome.APPLIED
    assert history.at().item("r#1").geometry == (
        to_geometry if applied and to_geometry else box(1, 1)
    )
    assert history.labels() == {"r#1": "dog" if applied else "cat"}


def test_geometry_alone():
    """A correction may change the geometry and keep the class."""
    history = History.of_classes("cat")
    history.item("r#1", "cat", box(1, 1))
    history.correct("r#1", "cat", "cat", box(1, 1), box(2, 2))
    assert history.at().item("r#1").geometry == box(2, 2)


@pytest.mark.parametrize(
    ("from_geometry", "to_geometry", "exists"),
    [(None, None, True), (None, box(1, 1), True), (box(1, 1), box(1, 1), False)],
)
def test_adding(from_geometry: Geometry | None, to_geometry: Geometry | None, exists: bool):
    """An item that a stale correction would have added does not come into being."""
    history = History.of_classes("cat")
    vote = history.correct("r#1", None, "cat", from_geometry, to_geometry)
    assert history.outcome(vote) is (Outcome.APPLIED if exists else Outcome.STALE)
    assert ("r#1" in history.at().record("r").items) is exists


def test_adding_twice():
    """The second accepted addition of one item finds a label where it expected none."""
    history = History.of_classes("cat", "dog")
    first, second = history.propose("r#1", None, "cat"), history.propose("r#1", None, "dog")
    history.vote(first)
    assert history.outcome(history.vote(second)) is Outcome.STALE
    assert history.labels() == {"r#1": "cat"}


def test_adding_what_was_registered_meanwhile():
    """Against an item registered without a label it is applied, with a label it is stale."""
    for label, outcome in ((None, Outcome.APPLIED), ("dog", Outcome.STALE)):
        history = History.of_classes("cat", "dog")
        proposal = history.propose("r#1", None, "cat")
        history.item("r#1", label)
        assert history.outcome(history.vote(proposal)) is outcome


def test_a_removal():
    """`to_label` null takes the label away."""
    history = History.of_classes("cat")
    history.item("r", "cat")
    assert history.outcome(history.correct("r", "cat", None)) is Outcome.APPLIED
    assert history.at().canonical() == b""


# Between contracts


@pytest.mark.parametrize(("item_version", "version"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_both_are_mapped_to_the_later_contract(item_version: int, version: int):
    """`cat` became `feline`, `dog` became `canine`: whichever names either side used."""
    history = History.of_classes("cat", "dog")
    history.schema(rename={"cat": "feline", "dog": "canine"})
    names = {1: ("cat", "dog"), 2: ("feline", "canine")}
    history.item("r", names[item_version][0], version=item_version)
    vote = history.correct("r", *names[version], version=version)
    assert history.outcome(vote) is Outcome.APPLIED
    assert history.labels() == {"r": "canine"}


def test_the_same_name_under_two_contracts():
    """After a swap `cat` under contract 1 is not `cat` under contract 2."""
    history = History.of_classes("cat", "dog", "cow")
    history.schema(rename={"cat": "dog", "dog": "cat"})
    history.item("r", "cat", version=1)
    assert history.outcome(history.correct("r", "cat", "cow", version=2)) is Outcome.STALE
    assert history.outcome(history.correct("r", "cat", "cow", version=1)) is Outcome.APPLIED


def test_classes_that_merged_are_equal():
    """Under the later contract `cat` and `lynx` are one class."""
    history = History.of_classes("cat", "lynx", "dog")
    history.schema(merge={"lynx": "cat"})
    history.item("r", "lynx", version=1)
    assert history.outcome(history.correct("r", "cat", "dog", version=2)) is Outcome.APPLIED


def test_what_was_decided_is_not_decided_again():
    """A correction that was stale under its contracts stays stale though a later merge makes both
    sides one class.
    """
    history = History.of_classes("cat", "lynx", "dog")
    history.item("r", "lynx")
    vote = history.correct("r", "cat", "dog")
    history.schema(merge={"lynx": "cat"})
    assert history.outcome(vote) is Outcome.STALE
    assert history.labels() == {"r": "cat"}


def test_the_label_stands_under_the_later_contract():
    """A later rename of the old name does not touch it; one of its new name does."""
    history = History.of_classes("cat", "dog")
    history.schema(rename={"cat": "feline"})
    history.item("r", "feline")
    history.correct("r", "cat", "dog", version=1)
    assert history.at().item("r").contract_version == 2


def test_one_event_renames_everything():
    """A snapshot maps every label forward; earlier positions read the earlier name."""
    history = History.of_classes("cat")
    for name in ("r", "s", "t"):
        history.item(name, "cat")
    before = history.head()
    history.schema(rename={"cat": "feline"})
    assert set(history.labels().values()) == {"feline"}
    assert set(history.labels(before).values()) == {"cat"}


def test_the_votes_contract_does_not_count():
    """The label stands under the later contract of item and proposal, whatever the vote names."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    proposal = history.propose("r", "cat", "dog")
    history.schema(rename={"dog": "hound"})
    history.vote(proposal, version=2)
    assert history.at().item("r").contract_version == 1
    assert history.labels() == {"r": "hound"}


def test_the_new_label_is_split_by_the_items_attributes():
    """Attributes of its registration decide, whether the geometry is corrected too or not."""
    for geometry in (None, box(1, 1)):
        history = History.of_classes("vehicle", "bike")
        history.schema(split={"vehicle": {"car": "wheels == 4", "cart": "wheels == 2"}})
        history.item("r#1", "bike", attributes={"wheels": 4.0})
        history.correct("r#1", "bike", "vehicle", None, geometry, version=1)
        assert history.at().item("r#1").label == "car"


def test_the_new_label_is_split_by_the_geometry_that_stands():
    """A correction without a geometry leaves the item's, and its area decides."""
    history = History.of_classes("vehicle", "bike")
    history.schema(split=BY_AREA)
    history.item("r#1", "bike", box(5, 5))
    history.correct("r#1", "bike", "vehicle", version=1)
    assert history.labels() == {"r#1": "truck"}


# Conflicts


@pytest.mark.parametrize(
    ("from_label", "from_geometry", "to_geometry", "agreed"),
    [
        ("cat", None, None, True),
        ("dog", None, None, False),
        (None, None, None, False),
        ("cat", box(1, 1), box(2, 2), True),
        ("cat", None, box(2, 2), False),
    ],
)
def test_a_pending_correction_whose_item_has_moved(
    from_label: str | None,
    from_geometry: Geometry | None,
    to_geometry: Geometry | None,
    agreed: bool,
):
    """It is a conflict exactly where accepting it would be stale."""
    history = History.of_classes("cat", "dog", "cow")
    history.item("r#1", "cat", box(1, 1))
    proposal = history.propose("r#1", from_label, "cow", from_geometry, to_geometry)
    state = history.at()
    (correction,) = state.record("r").corrections.values()
    version = state.folds[0].agreed(state.record("r"), correction.proposal)
    assert version == (1 if agreed else None)
    outcome = history.outcome(history.vote(proposal))
    assert outcome is (Outcome.APPLIED if agreed else Outcome.STALE)


# Unresolved


def test_null_against_an_unresolved_label():
    """A correction from nothing resolves it."""
    history = History.of_classes("vehicle")
    history.item("r", "vehicle")
    history.schema(split=BY_AREA)
    assert history.outcome(history.correct("r", None, "car")) is Outcome.APPLIED
    assert history.labels() == {"r": "car"}


def test_an_unresolved_label_equals_itself():
    """The old name under the old contract still matches it; a part's name does not."""
    history = History.of_classes("vehicle")
    history.item("r", "vehicle")
    history.item("s", "vehicle")
    history.schema(split=BY_AREA)
    assert history.outcome(history.correct("r", "car", "truck")) is Outcome.STALE
    history.item("t", "car")
    late = history.propose("r", "vehicle", "vehicle", version=1)
    assert history.outcome(history.vote(late, version=2)) is Outcome.APPLIED


def test_unresolved_labels_of_two_splits_differ():
    """The pair of the class and the version that split it, equal only to itself."""
    history = History.of_classes("vehicle")
    history.schema(split=BY_AREA)
    history.schema(add=["vehicle"])
    history.item("r", "vehicle", version=3)
    history.schema(split=BY_AREA)
    stale = history.correct("r", "vehicle", "vehicle", version=1)
    assert history.at().unresolved() == {"r": Unresolved("vehicle", 4)}
    assert history.outcome(stale) is Outcome.STALE


def test_a_stored_unresolved_label_needs_another_correction():
    """Once stored by an applied correction, later attributes do not resolve it."""
    history = History.of_classes("vehicle", "bike")
    history.correct("r", None, "vehicle")
    history.schema(split={"vehicle": {"car": "wheels == 4"}})
    history.correct("r", None, "bike", version=2)
    history.correct("r", "bike", "vehicle", version=1)
    assert history.at().item("r").label == Unresolved("vehicle", 2)
    history.item("r", "bike", attributes={"wheels": 4})
    assert history.at().unresolved() == {"r": Unresolved("vehicle", 2)}
    history.correct("r", None, "car")
    assert history.labels() == {"r": "car"}


def test_geometry_first_then_the_label():
    """The new label is split by the new geometry, the old one by the old."""
    history = History.of_classes("vehicle", "bike")
    history.schema(split=BY_AREA)
    history.item("r#1", "truck", box(5, 5))
    history.correct("r#1", "vehicle", "vehicle", box(5, 5), box(2, 2), version=1)
    assert history.labels() == {"r#1": "car"}
    assert history.at().item("r#1").label == "car"
