"""Which contract an event is under, whose keys are taken, and what items are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ledger.core.events import CorrectionProposed, Geometry, ItemRegistered
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import Entry, History, box, record_in, right_after

ADMINS = {"admin": ("max", "ada")}


def before(back: Entry) -> Position:
    """The position right before a rollback."""
    return replace(right_after(back), governance=back.offset)


def animals(partitions: int = 1) -> History:
    """Contract 1 has cat, dog and cow; `r` is a cat."""
    history = History.of_classes("cat", "dog", "cow", partitions=partitions)
    history.item("r", "cat")
    return history


# Misplaced


def test_a_wrong_partition_is_misplaced():
    """An event whose partition is not its key's is refused and has no effect."""
    history = History.of_classes("cat", partitions=2)
    here, there = record_in(0, 2), record_in(1, 2)
    entry = history.item(here, "cat")
    assert history.outcome(history.append(entry.event, partition=1)) is Outcome.MISPLACED
    assert history.outcome(history.item(there, "cat")) is Outcome.REGISTERED


@pytest.mark.parametrize("key", [b"", b"other", b"r#1"])
def test_a_wrong_key_is_misplaced(key: bytes):
    """An event whose record id is not its key is refused, even in the right partition."""
    history = animals()
    entry = history.propose("r", "cat", "dog")
    assert history.outcome(history.append(entry.event, key=key)) is Outcome.MISPLACED


def test_a_misplaced_event_has_no_effect():
    """It takes no id and raises no contract version: whether it shares a partition with its record
    depends on the number of partitions.
    """
    history = animals()
    history.policy(roles={**ADMINS, "reviewer": ("eve",)})
    elsewhere = History.of_classes("cat", "dog")
    proposal = elsewhere.propose("r", "cat", "dog", correction_id="c").event
    newer = replace(proposal, contract_version=2)
    assert history.outcome(history.append(newer, key=b"other")) is Outcome.MISPLACED
    again = history.append(proposal)
    assert history.outcome(again) is Outcome.PROPOSED
    assert history.outcome(history.vote(again, version=1)) is Outcome.APPLIED


# Which contract


@pytest.mark.parametrize("version", [2, 7, 2**62])
def test_a_version_that_does_not_exist(version: int):
    """Refused, and it changes nothing."""
    history = animals()
    entry = history.item("s", "cat", version=version)
    assert history.outcome(entry) is Outcome.UNKNOWN_CONTRACT
    assert history.labels() == {"r": "cat"}


def test_a_version_guessed_before_it_was_made():
    """Its change says `at` beyond the event: refused for good, however much governance is read."""
    history = animals()
    guess = history.item("s", "cat", version=2)
    history.policy(approvals=1)
    assert history.outcome(guess) is Outcome.UNKNOWN_CONTRACT
    after = history.item("t", "cat", version=2)
    assert history.outcome(after) is Outcome.REGISTERED


def test_heads_count_per_partition():
    """`at` is compared with the offset in the event's own partition."""
    history = History.of_classes("cat", partitions=2)
    first, second = record_in(0, 2), record_in(1, 2)
    early = [history.item(first, "cat", version=2), history.item(second, "cat", version=2)]
    history.schema(add=["dog"], at=(1, 0))
    assert [history.outcome(each) for each in early] == [
        Outcome.UNKNOWN_CONTRACT,
        Outcome.REGISTERED,
    ]


def test_a_void_version_is_unknown():
    """After a rollback its contract changes are no contract any more; before it they are."""
    history = animals()
    start = history.head()
    history.schema(add=["ox"])
    early = history.item("s", "ox")
    then = history.head()
    history.rollback(start)
    after = history.item("s", "ox", version=2)
    assert history.outcome(early, then) is Outcome.REGISTERED
    assert history.outcome(after) is Outcome.UNKNOWN_CONTRACT


def test_names_are_read_under_the_events_own_version():
    """A late event under contract 1 uses contract 1's names and is mapped forward."""
    history = animals()
    history.schema(rename={"cat": "dog", "dog": "cat"})
    history.correct("r", "cat", "cow", version=1)
    history.item("s", "dog", version=1)
    history.item("t", "dog", version=2)
    assert history.labels() == {"r": "cow", "s": "cat", "t": "dog"}


def test_judged_under_the_highest_version_of_the_record():
    """A vote under an old version does not escape a newer policy that its record has met."""
    history = animals()
    history.policy(roles={**ADMINS, "reviewer": ("eve",)})
    proposal = history.propose("r", "cat", "dog")
    assert history.outcome(history.vote(proposal, by="bob", version=1)) is Outcome.NOT_PERMITTED
    assert history.outcome(history.vote(proposal, by="eve", version=1)) is Outcome.APPLIED


def test_judged_by_the_records_own_events_only():
    """Another record's events, and governance itself, raise nothing."""
    history = animals()
    history.item("s", "cat")
    history.policy(roles={**ADMINS, "reviewer": ("eve",)})
    history.propose("s", "cat", "dog")
    assert history.outcome(history.correct("r", "cat", "dog", version=1)) is Outcome.APPLIED


def test_a_refused_event_raises_the_version():
    """Whatever else became of it, an event under a newer contract shows that its record met it."""
    history = animals()
    history.policy(roles={**ADMINS, "reviewer": ("eve",)})
    refused = history.propose("r", "cat", "unicorn")
    assert history.outcome(refused) is Outcome.CLASS_NOT_IN_CONTRACT
    assert history.outcome(history.correct("r", "cat", "dog", version=1)) is Outcome.NOT_PERMITTED


def test_an_unknown_contract_raises_nothing():
    """Only an event refused as `unknown_contract` does not count."""
    history = animals()
    early = history.propose("r", "cat", "dog", version=2)
    history.policy(roles={**ADMINS, "reviewer": ("eve",)})
    assert history.outcome(early) is Outcome.UNKNOWN_CONTRACT
    assert history.outcome(history.correct("r", "cat", "dog", version=1)) is Outcome.APPLIED


def test_a_void_event_raises_nothing():
    """Only live events count."""
    history = animals()
    start = history.head()
    history.policy(roles={**ADMINS, "reviewer": ("eve",)})
    history.propose("r", "cat", "dog")
    history.rollback(start)
    assert history.outcome(history.correct("r", "cat", "dog", version=1)) is Outcome.APPLIED


# Identity


def test_keys_are_scoped_by_record():
    """The same correction id in another record is another correction."""
    history = animals()
    history.item("s", "cat")
    mine = history.propose("r", "cat", "dog", correction_id="c")
    theirs = history.propose("s", "cat", "cow", correction_id="c")
    history.vote(mine)
    history.vote(theirs)
    assert history.labels() == {"r": "dog", "s": "cow"}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.DUPLICATE),
        ({"split": "train"}, Outcome.DUPLICATE),
        ({"attributes": {"n": 1.0}}, Outcome.DUPLICATE),
        ({"content": "text"}, Outcome.DUPLICATE),
        ({"actor": "somebody"}, Outcome.DUPLICATE),
        ({"label": "dog"}, Outcome.ID_CONFLICT),
        ({"label": "unicorn"}, Outcome.ID_CONFLICT),
        ({"label": None}, Outcome.ID_CONFLICT),
        ({"geometry": box(2, 2)}, Outcome.ID_CONFLICT),
        ({"geometry": None}, Outcome.ID_CONFLICT),
    ],
    ids=str,
)
def test_a_second_registration(change: Mapping[str, Any], outcome: Outcome):
    """`duplicate`, or `id_conflict` when label or geometry differ; neither changes anything."""
    history = animals()
    first = history.item("r#1", "cat", box(1, 1), split="test")
    lines = history.at().canonical()
    again = history.append(replace(first.event, event_id="other", **change))
    assert history.outcome(again) is outcome
    assert history.at().canonical() == lines
    assert not history.at().item("r#1").attributes.keys() - {"area"}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.DUPLICATE),
        ({"reason": "because"}, Outcome.DUPLICATE),
        ({"actor": "somebody"}, Outcome.DUPLICATE),
        ({"item_id": "r#1"}, Outcome.ID_CONFLICT),
        ({"from_label": "dog"}, Outcome.ID_CONFLICT),
        ({"to_label": "cow"}, Outcome.ID_CONFLICT),
        ({"to_label": "unicorn"}, Outcome.ID_CONFLICT),
        ({"from_geometry": box(1, 1)}, Outcome.ID_CONFLICT),
        ({"to_geometry": box(1, 1)}, Outcome.ID_CONFLICT),
    ],
    ids=str,
)
def test_a_second_proposal(change: Mapping[str, Any], outcome: Outcome):
    """`duplicate`, or `id_conflict` when item, labels or geometry differ; the first one stands."""
    history = animals()
    first = history.propose("r", "cat", "dog")
    again = history.append(replace(first.event, event_id="other", **change))
    history.vote(first)
    assert history.outcome(again) is outcome
    assert history.labels() == {"r": "dog"}


def test_a_refused_event_leaves_its_key_free():
    """A correction id, an item id and a reviewer's vote that were refused can be used again."""
    history = animals()
    assert history.outcome(history.item("s", "unicorn")) is Outcome.CLASS_NOT_IN_CONTRACT
    assert history.outcome(history.item("s", "cat")) is Outcome.REGISTERED
    refused = history.propose("r", "cat", "unicorn", correction_id="c")
    early = history.vote(refused)
    proposal = history.propose("r", "cat", "dog", correction_id="c")
    assert history.outcome(early) is Outcome.UNKNOWN_CORRECTION
    assert history.outcome(proposal) is Outcome.PROPOSED
    assert history.outcome(history.vote(proposal)) is Outcome.APPLIED


def test_a_closed_correction_keeps_its_id():
    """Settled, kept or withdrawn: the id stays taken."""
    history = animals()
    proposal = history.propose("r", "cat", "dog")
    history.withdraw(proposal)
    assert history.outcome(history.again(proposal)) is Outcome.DUPLICATE


def test_a_vote_about_another_item():
    """Settled in the module: a vote or withdrawal that names another item is an `id_conflict`."""
    history = animals()
    history.item("r#1", "cat")
    proposal = history.propose("r", "cat", "dog")
    assert history.outcome(history.vote(proposal, item_id="r#1")) is Outcome.ID_CONFLICT
    assert history.outcome(history.withdraw(proposal, item_id="r#1")) is Outcome.ID_CONFLICT
    assert history.outcome(history.vote(proposal)) is Outcome.APPLIED


def test_redelivery_changes_nothing():
    """Every unrefused event once more: each copy is refused, each label stays."""
    history = animals()
    proposal = history.propose("r", "cat", "dog")
    escalation = history.vote(proposal, "escalate")
    settling = history.vote(proposal, by="cleo")
    back = history.correct("r", "dog", "cat")
    for entry in list(history.log[1:]):
        history.again(entry)
    state = history.at()
    assert state.labels() == {"r": "cat"}
    assert state[escalation] is Outcome.ESCALATED
    assert (state[settling], state[back]) == (Outcome.APPLIED, Outcome.APPLIED)


# Identity after a rollback


def test_a_rolled_back_import_can_be_imported_again():
    """With new event ids; the item ids are free."""
    history = History.of_classes("cat", "dog")
    start = history.head()
    history.item("r", "cat")
    history.rollback(start)
    again = history.item("r", "dog")
    assert history.outcome(again) is Outcome.REGISTERED
    assert history.labels() == {"r": "dog"}


def test_a_late_redelivery_after_a_rollback():
    """An event whose id stands in a void range of its record is a duplicate."""
    history = History.of_classes("cat", "dog")
    start = history.head()
    void = history.item("r", "cat")
    back = history.rollback(start)
    late = history.again(void)
    assert history.outcome(late) is Outcome.DUPLICATE
    assert history.labels() == {}
    assert history.outcome(void, before(back)) is Outcome.REGISTERED


def test_a_void_id_is_of_its_record_only():
    """The same event id in another record is no redelivery."""
    history = History.of_classes("cat")
    start = history.head()
    history.item("r", "cat", event_id="e")
    history.rollback(start)
    assert history.outcome(history.item("s", "cat", event_id="e")) is Outcome.REGISTERED


def test_a_live_event_id_is_no_key():
    """Only void ranges make an event id count: natural keys do the rest."""
    history = animals()
    history.item("r#1", "cat", event_id="e")
    assert history.outcome(history.item("r#2", "cat", event_id="e")) is Outcome.REGISTERED


@pytest.mark.parametrize(
    ("to_label", "outcome"), [("dog", Outcome.DUPLICATE), ("cow", Outcome.ID_CONFLICT)]
)
def test_a_void_correction_id_stays_taken(to_label: str, outcome: Outcome):
    """A correction cannot come back under its id, however new its event id."""
    history = animals()
    start = history.head()
    history.propose("r", "cat", "dog", correction_id="c")
    history.rollback(start)
    again = history.propose("r", "cat", to_label, correction_id="c")
    assert history.outcome(again) is outcome
    assert history.outcome(history.vote(again)) is Outcome.UNKNOWN_CORRECTION


def test_a_void_correction_id_stays_taken_whatever_became_of_it():
    """Even a void proposal that had been refused keeps its id."""
    history = animals()
    start = history.head()
    history.propose("r", "cat", "unicorn", correction_id="c")
    history.rollback(start)
    again = history.propose("r", "cat", "dog", correction_id="c")
    assert history.outcome(again) is Outcome.ID_CONFLICT


def test_a_void_copy_of_a_live_correction_takes_nothing_away():
    """The live correction stays open when only a copy of it is void."""
    history = animals()
    proposal = history.propose("r", "cat", "dog")
    start = history.head()
    history.again(proposal)
    history.rollback(start)
    assert history.outcome(history.vote(proposal)) is Outcome.APPLIED


def test_a_void_correction_id_is_of_its_record_only():
    """In another record of the same partition the id is free."""
    history = animals()
    history.item("s", "cat")
    start = history.head()
    history.propose("r", "cat", "dog", correction_id="c")
    history.rollback(start)
    elsewhere = history.propose("s", "cat", "dog", correction_id="c")
    assert history.outcome(elsewhere) is Outcome.PROPOSED


def test_a_misplaced_event_in_a_void_range_takes_nothing():
    """Neither its event id nor its correction id."""
    history = animals()
    start = history.head()
    elsewhere = History.of_classes("cat", "dog")
    proposal = elsewhere.propose("r", "cat", "dog").event
    misplaced = history.append(proposal, key=b"other")
    history.rollback(start)
    assert history.outcome(misplaced) is Outcome.VOID
    assert history.outcome(history.append(proposal)) is Outcome.PROPOSED


def test_a_vote_on_a_void_correction():
    """A correction that is void does not exist."""
    history = animals()
    start = history.head()
    proposal = history.propose("r", "cat", "dog")
    history.rollback(start)
    assert history.outcome(history.vote(proposal)) is Outcome.UNKNOWN_CORRECTION
    assert history.outcome(history.withdraw(proposal)) is Outcome.UNKNOWN_CORRECTION


def test_a_retry_after_a_rollback_changes_nothing():
    """A late redelivery under a newer policy must not change how its record is judged: without
    it, the vote below would have been counted.
    """
    outcomes: list[Outcome] = []
    for redelivered in (False, True):
        history = animals()
        start = history.head()
        history.policy(roles={**ADMINS, "reviewer": ("eve",)})
        void = history.propose("r", "cat", "dog")
        history.rollback(start)
        if redelivered:
            history.again(void)
        outcomes.append(history.outcome(history.correct("r", "cat", "cow", version=1)))
    assert outcomes[0] is outcomes[1]


# Items


def test_an_item_may_have_no_label():
    """It exists and is not in the snapshot."""
    history = History.of_classes("cat")
    history.item("r")
    assert history.labels() == {}
    assert history.at().item("r").label is None


def test_an_item_comes_into_being_by_an_applied_correction():
    """One that adds, when it is applied and not before."""
    history = History.of_classes("cat")
    proposal = history.propose("r#1", None, "cat", None, box(1, 1))
    assert "r#1" not in history.at().record("r").items
    history.vote(proposal)
    assert history.at().canonical() == (
        b'{"id":"r#1","record":"r","label":"cat",'
        b'"geometry":{"type":"bbox","coordinates":[0.0,0.0,1.0,1.0]}}\n'
    )


def test_an_item_that_lost_its_label_still_exists():
    """It leaves the snapshot, cannot be registered again, and takes a label again."""
    history = animals()
    history.correct("r", "cat", None)
    assert history.labels() == {}
    assert history.outcome(history.item("r", "cat")) is Outcome.DUPLICATE
    assert history.outcome(history.correct("r", None, "dog")) is Outcome.APPLIED
    assert history.labels() == {"r": "dog"}


def test_a_registration_fills_what_a_correction_left_empty():
    """Split, attributes and content; neither label nor geometry."""
    history = History.of_classes("cat", "dog")
    history.correct("r#1", None, "cat", None, box(1, 1))
    filled = history.item(
        "r#1", "dog", box(9, 9), split="test", attributes={"n": 1.0, "area": 5.0}, content="text"
    )
    state = history.at()
    item = state.item("r#1")
    assert state[filled] is Outcome.FILLED
    assert state.labels() == {"r#1": "cat"}
    assert (item.geometry, item.content) == (box(1, 1), "text")
    assert item.attributes == {"n": 1.0, "area": 1.0}
    assert b'"split":"test"' in state.canonical()


def test_what_a_registration_says_is_kept():
    """Content and attributes are the item's; the source says where it came from."""
    history = History.of_classes("cat")
    entry = history.item("r", "cat", attributes={"n": 1.0}, content="text")
    change: dict[str, Any] = {"record_id": "s", "item_id": "s", "source": "import"}
    history.append(replace(entry.event, **change))
    item = history.at().item("s")
    assert (item.content, item.source, item.attributes) == ("text", "import", {"n": 1.0})


def test_a_registration_fills_once():
    """It takes the item id; the next one is a second."""
    history = History.of_classes("cat", "dog")
    history.correct("r", None, "cat")
    history.item("r", "dog", attributes={"n": 1.0})
    assert history.outcome(history.item("r", "dog", split="test")) is Outcome.DUPLICATE
    assert history.outcome(history.item("r", "cat", split="test")) is Outcome.ID_CONFLICT
    assert history.labels() == {"r": "cat"}
    assert history.at().record("r").split is None


def test_filled_attributes_resolve_a_split():
    """A label is unresolved only for as long as the attributes leave it so."""
    history = History.of_classes("vehicle")
    history.correct("r", None, "vehicle")
    history.schema(split={"vehicle": {"car": "wheels == 4", "bike": "wheels == 2"}})
    assert "r" in history.at().unresolved()
    history.item("r", "car", attributes={"wheels": 2})
    assert history.labels() == {"r": "bike"}


def test_the_split_belongs_to_the_record():
    """The first one given by an unrefused registration stands; regions inherit it."""
    history = History.of_classes("cat")
    history.item("r", "cat")
    history.item("r#1", "unicorn", split="refused")
    history.item("r#2", "cat", split="test")
    history.item("r#3", "cat", split="train")
    history.correct("r#4", None, "cat")
    lines = history.at().canonical().splitlines()
    assert len(lines) == 4
    assert all(each.endswith(b'"split":"test"}') for each in lines)


@pytest.mark.parametrize("geometry", [None, Geometry("polygon", (0, 0, 9, 0, 9, 9))])
def test_the_area_of_anything_but_a_box_is_an_attribute(geometry: Geometry | None):
    """Only a box's area comes from its geometry."""
    history = History.of_classes("cat")
    history.item("r#1", "cat", geometry, attributes={"area": 2.0})
    assert history.at().item("r#1").attributes == {"area": 2.0}


# Corrections at the door of the fold


@pytest.mark.parametrize(
    ("from_label", "outcome"), [("cat", Outcome.UNKNOWN_ITEM), (None, Outcome.PROPOSED)]
)
def test_a_correction_of_no_item(from_label: str | None, outcome: Outcome):
    """`unknown_item`, unless it adds; checked before the class."""
    history = History.of_classes("cat")
    assert history.outcome(history.propose("r", from_label, "cat")) is outcome
    unknown = history.propose("s", "cat", "unicorn")
    assert history.outcome(unknown) is Outcome.UNKNOWN_ITEM


@pytest.mark.parametrize(
    ("version", "label", "allowed"),
    [
        (1, "cat", True),
        (1, "dog", False),
        (2, "dog", True),
        (2, "cat", False),
        (2, "cow", True),
        (1, "cow", True),
        (3, "cow", False),
        (2, None, True),
    ],
)
def test_towards_a_class_of_the_contract(version: int, label: str | None, allowed: bool):
    """Under the event's own contract: it must be there and not deprecated. So for registrations."""
    history = History.of_classes("cat", "cow")
    history.item("r", "cow")
    history.schema(rename={"cat": "dog"})
    history.schema(deprecate=["cow"])
    proposal = history.propose("r", "cow", label, version=version)
    registration = history.item("s", label, version=version)
    state = history.at()
    refused = Outcome.CLASS_NOT_IN_CONTRACT
    assert state[proposal] is (Outcome.PROPOSED if allowed else refused)
    assert state[registration] is (Outcome.REGISTERED if allowed else refused)


def test_labels_given_before_a_deprecation_stay():
    """Deprecating a class takes no label away, and lets it be corrected."""
    history = animals()
    pending = history.propose("r", "cat", "dog")
    history.schema(deprecate=["cat", "dog"])
    assert history.labels() == {"r": "cat"}
    assert history.outcome(history.vote(pending)) is Outcome.APPLIED


def test_what_from_label_names_is_not_checked():
    """A correction from a class that does not exist waits like any other; it can only be stale."""
    history = animals()
    proposal = history.propose("r", "unicorn", "dog")
    assert history.outcome(proposal) is Outcome.PROPOSED
    assert history.outcome(history.vote(proposal)) is Outcome.STALE


def test_history_events_are_what_they_seem():
    """The DSL appends the events that its lines name."""
    history = animals()
    history.propose("r", "cat", "dog")
    assert [type(entry.event) for entry in history.log[1:]] == [ItemRegistered, CorrectionProposed]
