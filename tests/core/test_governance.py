"""Tags, the chain of named positions, causal closure and its floor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core.events import VersionTagged
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import History, record_in


def two_partitions() -> tuple[History, str, str]:
    """Two partitions under contract 1, and a record in each."""
    return History.of_classes("cat", "dog", partitions=2), record_in(0, 2), record_in(1, 2)


# Tags


def test_a_tag_names_a_position():
    """Past positions and the head alike."""
    history = History.of_classes("cat")
    history.item("r", "cat")
    past = history.tag("v1", Position((0,), 1))
    head = history.tag("v2")
    state = history.at()
    assert (state[past], state[head]) == (Outcome.TAGGED, Outcome.TAGGED)
    assert list(state.governance.tags) == ["v1", "v2"]


def test_a_second_tag_of_one_name():
    """`duplicate`, or `id_conflict` when it names something else; the first one stands."""
    history = History.of_classes("cat")
    first = history.tag("v", content_hash="00")
    same = history.again(first)
    other_hash = history.tag("v", Position((0,), 1), content_hash="11")
    other_position = history.tag("v", content_hash="00")
    state = history.at()
    assert state[same] is Outcome.DUPLICATE
    assert state[other_hash] is Outcome.ID_CONFLICT
    assert state[other_position] is Outcome.ID_CONFLICT
    assert state.governance.tags["v"].offset == first.offset


@pytest.mark.parametrize(
    "position",
    [
        Position((0,), 2),
        Position((0, 0, 0), 1),
        Position((0, 0), 3),
    ],
)
def test_a_tag_of_no_position(position: Position):
    """Another number of partitions, or what lies beyond the tag itself."""
    history = History.of_classes("cat", partitions=2)
    history.policy(approvals=2)
    assert history.outcome(history.tag("v", position)) is Outcome.BAD_POSITION


def test_a_tag_may_name_all_that_is_before_it():
    """An offset means the next event to read, so its own offset excludes itself."""
    history = History.of_classes("cat")
    assert history.outcome(history.tag("v", Position((0,), 1))) is Outcome.TAGGED
    assert history.outcome(history.tag("w", Position((0,), 3))) is Outcome.BAD_POSITION


def test_a_tag_carries_other_topics():
    """They are kept and not compared."""
    history = History.of_classes("cat")
    history.tag("v", Position((0,), 1, feedback=(7,)))
    assert history.outcome(history.tag("v", Position((0,), 1, feedback=(8,)))) is Outcome.DUPLICATE
    assert history.at().governance.tags["v"].event.position.feedback == (7,)


def test_a_tag_of_an_open_position():
    """A position that includes an event whose contract it leaves out is not closed."""
    history = History.of_classes("cat")
    history.schema(add=["dog"])
    history.item("r", "dog")
    assert history.outcome(history.tag("v", Position((1,), 1))) is Outcome.BAD_POSITION
    assert history.outcome(history.tag("v", Position((1,), 2))) is Outcome.TAGGED


@pytest.mark.parametrize("version", [1, 9])
def test_governance_under_an_unknown_contract(version: int):
    """A tag or a rollback that names a void version, or none that was made, is refused."""
    history = History()
    start = history.head()
    history.schema(add=["cat"])
    history.rollback(start)
    tag = history.tag("v", version=version)
    back = history.rollback(start, version=version)
    state = history.at()
    assert (state[tag], state[back]) == (Outcome.UNKNOWN_CONTRACT, Outcome.UNKNOWN_CONTRACT)


# The chain


def test_named_positions_form_a_chain():
    """Tags, `to` and `at`: one that is neither before nor after every other is refused."""
    history, first, second = two_partitions()
    history.item(first, "cat")
    history.item(second, "cat")
    left, right = Position((1, 0), 1), Position((0, 1), 1)
    assert history.outcome(history.tag("left", left)) is Outcome.TAGGED
    tag = history.tag("right", right)
    to = history.rollback(right)
    assert history.outcome(tag) is Outcome.BAD_POSITION
    assert history.outcome(to) is Outcome.BAD_ROLLBACK
    assert history.outcome(history.rollback(left)) is Outcome.ROLLED_BACK


def test_at_must_fit_the_chain():
    """A rollback read before a tag was put on later heads must be tried again."""
    history, first, second = two_partitions()
    history.item(first, "cat")
    stale = history.head().labels
    history.item(second, "cat")
    history.tag("v")
    at = Position(stale, history.head().governance)
    assert history.outcome(history.rollback(Position((0, 0), 1), at=at)) is Outcome.BAD_ROLLBACK


def test_to_and_at_are_named():
    """After a rollback its two positions belong to the chain, even when it is void itself."""
    history, first, second = two_partitions()
    history.item(first, "cat")
    start = history.head()
    history.item(second, "cat")
    history.item(first + "#1", "cat")
    history.rollback(start)
    history.rollback(Position((0, 0), 1))
    assert history.outcome(history.tag("v", Position((0, 1), 1))) is Outcome.BAD_POSITION
    assert history.outcome(history.tag("w", start)) is Outcome.TAGGED


def test_names_stay_taken():
    """A tag in a void range stays, readable as ever, and its name is not free."""
    history = History.of_classes("cat")
    start = history.head()
    history.item("r", "cat")
    tag = history.tag("v")
    history.rollback(start)
    assert history.outcome(tag) is Outcome.TAGGED
    assert history.outcome(history.tag("v")) is Outcome.ID_CONFLICT
    assert isinstance(tag.event, VersionTagged)
    assert history.labels(tag.event.position) == {"r": "cat"}
    assert history.governed().closed(tag.event.position)


# Closure and floor


def test_a_label_event_needs_its_contract():
    """The floor ends before the first event whose contract change it leaves out."""
    history, first, second = two_partitions()
    history.item(first, "cat")
    history.schema(add=["cow"])
    history.item(first + "#1", "cat", version=1)
    history.item(first + "#2", "cow")
    history.item(second, "cat")
    governance = history.governed()
    assert governance.floor(Position((3, 1), 1)) == Position((2, 0), 1)
    assert governance.floor(Position((3, 1), 2)) == Position((3, 1), 2)
    assert governance.closed(Position((2, 0), 1))
    assert not governance.closed(Position((2, 1), 1))


def test_a_rollback_needs_its_at():
    """The floor leaves out a rollback whose `at` lies beyond the labels, and then what needs it."""
    history = History.of_classes("cat", "dog")
    start = history.head()
    history.item("r", "cat")
    history.rollback(start)
    history.schema(add=["cow"])
    history.item("s", "cow")
    governance = history.governed()
    assert governance.floor(Position((0,), 3)) == Position((0,), 1)
    assert governance.floor(Position((2,), 2)) == Position((1,), 2)
    assert governance.floor(Position((2,), 3)) == Position((2,), 3)
    assert governance.floor(Position((2,), 1)) == Position((1,), 1)


def test_an_event_that_is_unknown_for_good_does_not_count():
    """No change will ever make its version, or its change said `at` beyond it."""
    history = History.of_classes("cat")
    history.item("r", "cat", version=2)
    history.item("s", "cat", version=99)
    history.schema(add=["dog"])
    assert history.governed().closed(Position((2,), 1))


def test_a_refused_change_does_not_count():
    """An event that names the version of a change that was refused waits for nothing."""
    history = History.of_classes("cat")
    history.schema(add=["dog"], approved_by="max")
    history.item("r", "cat", version=2)
    assert history.governed().closed(Position((1,), 1))


def test_a_refused_rollback_does_not_count():
    """A rollback that counts for nothing asks for nothing."""
    history = History.of_classes("cat")
    history.item("r", "cat")
    history.rollback(Position((1,), 1), at=Position((1,), 7))
    assert history.governed().closed(Position((0,), 2))


def test_a_void_change_is_still_needed():
    """An older position under a contract that is void today needs it as ever."""
    history = History.of_classes("cat")
    start = history.head()
    history.schema(add=["dog"])
    history.item("r", "dog")
    history.rollback(start)
    governance = history.governed()
    assert governance.floor(Position((1,), 1)) == Position((0,), 1)
    assert governance.closed(Position((1,), 2))
    assert history.labels(Position((1,), 2)) == {"r": "dog"}


def test_heads_that_were_not_read_open_a_position():
    """A change whose `at` lies below events that guessed its version makes them count after all:
    positions that include them without it are no longer closed (their tags are still readable).
    """
    history = History.of_classes("cat")
    history.item("r", "cat", version=2)
    tag = history.tag("v").event
    history.schema(add=["dog"], at=(0,))
    assert isinstance(tag, VersionTagged)
    assert history.governed().floor(tag.position) == Position((0,), tag.position.governance)
    assert history.at(tag.position).canonical() == b""


@pytest.mark.xfail(
    strict=True,
    reason="a position beyond the end of the label log is judged by what is there today; honest "
    "writers never name one, and the fold cannot know the end",
)
def test_a_verdict_does_not_depend_on_the_day():
    """What was tagged once stays tagged, whatever is appended to the label log later."""
    history = History.of_classes("cat")
    history.policy(approvals=2)
    tag = history.tag("v", Position((5,), 1))
    today = history.outcome(tag)
    history.item("r", "cat")
    assert history.outcome(tag) is today


def test_every_verdict_stands():
    """What was said of a governance event when it was the last is said of it for ever."""
    history, first, second = two_partitions()
    history.item(first, "cat")
    history.tag("v1")
    history.item(second, "dog")
    history.rollback(history.checkpoints[1])
    entries = list(history.governance)
    then = [history.at(replace(history.head(), governance=e.offset + 1))[e] for e in entries]
    history.policy(approvals=3)
    history.item(first, "dog")
    state = history.at()
    assert [state[entry] for entry in entries] == then


def test_foretelling_changes_nothing():
    """`foretell` answers what `apply` would, and leaves the state as it was."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    before = history.head()
    history.correct("r", "cat", "dog")
    for entry in (
        history.schema(rename={"dog": "hound"}),
        history.policy(approvals=2),
        history.tag("v"),
        history.rollback(before),
        history.rollback(before, at=before),
    ):
        governance = history.governed(entry.offset)
        told = governance.foretell(entry.offset, entry.event)
        untouched = history.governed(entry.offset)
        assert told is history.outcome(entry)
        assert vars(governance).keys() == vars(untouched).keys()
        for name in ("changes", "rollbacks", "tags", "named", "live_rollbacks"):
            assert getattr(governance, name) == getattr(untouched, name)
        assert governance.contract == untouched.contract
        assert governance.apply(entry.offset, entry.event) is told
