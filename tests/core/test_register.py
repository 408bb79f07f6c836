"""Patches, models and waivers: what governance keeps by name."""

from __future__ import annotations

from dataclasses import replace

from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import ADMIN, APPROVER, History


def patched() -> tuple[History, Position, Position]:
    """A history in which two corrections were settled as one patch; before and after the votes."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    history.item("s", "cat")
    history.patch("p", count=2)
    one = history.propose("r", "cat", "dog")
    two = history.propose("s", "cat", "dog")
    before = history.head()
    history.vote(one)
    history.vote(two)
    history.settle("p", start=before.labels)
    return history, before, history.head()


def test_no_version_names_the_midst_of_a_patch():
    """Before the first vote and after the last a version may be tagged; in between it may not."""
    history, before, after = patched()
    middle = replace(before, labels=(before.labels[0] + 1,))
    assert history.governed().cuts(middle) == ["p"]
    assert history.outcome(history.tag("middle", middle)) is Outcome.BAD_POSITION
    assert history.outcome(history.tag("before", before)) is Outcome.TAGGED
    assert history.outcome(history.tag("after", after)) is Outcome.TAGGED


def test_no_rollback_goes_back_to_the_midst_of_a_patch():
    """Half a patch is no place to go back to."""
    history, before, _ = patched()
    middle = replace(before, labels=(before.labels[0] + 1,))
    assert history.outcome(history.rollback(middle)) is Outcome.BAD_ROLLBACK
    assert history.outcome(history.rollback(before)) is Outcome.ROLLED_BACK
    assert history.labels() == {"r": "cat", "s": "cat"}


def test_a_patch_that_was_rolled_back_cuts_nothing():
    """Its votes are void, so that no position holds a part of what it did."""
    history, before, _ = patched()
    history.rollback(before)
    assert not history.governed().cuts(replace(before, labels=(before.labels[0] + 1,)))


def test_a_second_person_settles_a_patch():
    """Neither its proposer, nor somebody without the role, nor twice, nor one that is not there."""
    history = History.of_classes("cat")
    history.policy(roles={"reviewer": ("bob", "ann"), "admin": (ADMIN, APPROVER)})
    history.patch("p")
    assert history.outcome(history.settle("p", by="ann")) is Outcome.SELF_REVIEW
    assert history.outcome(history.settle("p", by="eve")) is Outcome.NOT_PERMITTED
    assert history.outcome(history.settle("q")) is Outcome.UNKNOWN_PATCH
    assert history.outcome(history.settle("p", start=(0, 0))) is Outcome.BAD_POSITION
    assert history.outcome(history.settle("p")) is Outcome.DECIDED
    assert history.outcome(history.settle("p")) is Outcome.ALREADY_DECIDED


def test_a_patch_id_is_taken_once():
    """The same again changes nothing; another patch of the id is a conflict."""
    history = History.of_classes("cat")
    history.patch("p")
    assert history.outcome(history.patch("p")) is Outcome.DUPLICATE
    assert history.outcome(history.patch("p", sha256="cd" * 32)) is Outcome.ID_CONFLICT
    assert history.outcome(history.patch("q", at=(0, 0))) is Outcome.BAD_POSITION


def test_who_may_propose_opens_patches_and_registers_models():
    """Where proposers are named, nobody else does."""
    history = History.of_classes("cat")
    history.tag("v1")
    history.policy(roles={"proposer": ("ann",), "admin": (ADMIN, APPROVER)})
    assert history.outcome(history.patch("p", by="eve")) is Outcome.NOT_PERMITTED
    assert history.outcome(history.model("m", "v1", by="eve")) is Outcome.NOT_PERMITTED
    assert history.outcome(history.patch("p")) is Outcome.PROPOSED
    assert history.outcome(history.model("m", "v1")) is Outcome.REGISTERED


def test_a_model_names_a_version_that_is_there():
    """What it was trained on; its name says one thing only."""
    history = History.of_classes("cat")
    assert history.outcome(history.model("m", "v1")) is Outcome.UNKNOWN_VERSION
    history.tag("v1")
    assert history.outcome(history.model("m", "v1", metrics={"f1": 0.7})) is Outcome.REGISTERED
    assert history.outcome(history.model("m", "v1", metrics={"f1": 0.7})) is Outcome.DUPLICATE
    assert history.outcome(history.model("m", "v1", metrics={"f1": 0.9})) is Outcome.ID_CONFLICT


def test_two_people_grant_a_waiver():
    """Governing takes an admin and another one; a check of a release is waived once."""
    history = History.of_classes("cat")
    history.policy(roles={"admin": (ADMIN, APPROVER)})
    assert history.outcome(history.waive("v2", "area", approved_by=None)) is Outcome.NOT_PERMITTED
    assert history.outcome(history.waive("v2", "area", approved_by=ADMIN)) is Outcome.NOT_PERMITTED
    assert history.outcome(history.waive("v2", "area")) is Outcome.GRANTED
    assert history.outcome(history.waive("v2", "area")) is Outcome.DUPLICATE
    assert history.outcome(history.waive("v2", "shift")) is Outcome.GRANTED


def test_names_stay_through_a_rollback():
    """Models, patches and waivers are what was said; only labels and the contract go back."""
    history = History.of_classes("cat")
    history.tag("v1")
    before = history.head()
    history.item("r", "cat")
    history.model("m", "v1")
    history.waive("v2", "area")
    history.patch("p")
    history.rollback(before)
    register = history.governed().register
    assert (set(register.models), set(register.patches)) == ({"m"}, {"p"})
    assert set(register.waivers) == {("v2", "area")}


def test_a_prefix_knows_what_was_known():
    """The register as of an earlier governance offset, a settled patch open again."""
    history, _, _ = patched()
    whole = history.governed()
    for stop in range(len(history.governance) + 1):
        assert whole.prefix(stop).register == history.governed(stop).register


def test_an_older_contract_is_good_enough_and_a_missing_one_is_not():
    """As for tags: the version that an event was written under must be live."""
    history = History.of_classes("cat")
    entry = history.patch("p")
    history.policy(approvals=2)
    assert history.outcome(entry) is Outcome.PROPOSED
    unknown = replace(entry.event, contract_version=9, event_id="x")
    assert history.outcome(history.append(unknown)) is Outcome.UNKNOWN_CONTRACT
