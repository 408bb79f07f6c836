from __future__ import annotations

import pytest

from ledger.core.position import Position, parse


@pytest.mark.parametrize(
    "position",
    [
        Position((120, 98, 7, 44), 14),
        Position((0,), 0),
        Position((1, 2), 3, feedback=(4, 5), annotations=(6, 7), signals=(8, 9), quarantine=(0, 1)),
    ],
)
def test_the_text_form_reads_back(position: Position):
    """A position survives its text form, the other topics' offsets included."""
    assert parse(position.text()) == position == parse(str(position))


def test_the_text_form():
    """The form that the design gives."""
    assert Position((120, 98, 7, 44), 14).text() == "labels=120,98,7,44;governance=14"


def test_the_json_form():
    """{"labels": [offsets by partition], "governance": offset}."""
    assert Position((1, 2), 3).as_dict() == {"labels": [1, 2], "governance": 3}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "labels=1",
        "governance=1",
        "labels=1;governance=1,2",
        "labels=1;labels=1;governance=1",
        "labels=;governance=1",
        "labels=1,;governance=1",
        "labels=-1;governance=1",
        "labels=\u0661;governance=1",
        "labels=1;governance=1;offsets=3",
        "labels 1;governance=1",
        "labels=1;governance=1;",
    ],
)
def test_nonsense_is_no_position(text: str):
    """What is no vector of offsets is refused, and the message quotes it."""
    with pytest.raises(ValueError, match="position"):
        parse(text)


@pytest.mark.parametrize(
    ("mine", "other", "within"),
    [
        (Position((1, 2), 3), Position((1, 2), 3), True),
        (Position((1, 2), 3), Position((1, 3), 3), True),
        (Position((1, 3), 3), Position((1, 2), 4), False),
        (Position((1, 2), 4), Position((1, 2), 3), False),
        (Position((1, 2), 3), Position((1, 2, 3), 3), False),
    ],
)
def test_within_compares_every_partition(mine: Position, other: Position, within: bool):
    """Before means before in every partition, in the same number of partitions."""
    assert mine.within(other) is within


def test_other_topics_are_ignored():
    """A tag may carry other topics' offsets; the label fold ignores those."""
    mine, other = Position((1,), 1, feedback=(9,)), Position((1,), 1, feedback=(2,))
    assert mine.same_prefix(other)
    assert mine.within(other)
    assert other.within(mine)


def test_the_prefix_of_a_position():
    """What is compared of it: labels and governance."""
    assert Position((1,), 2, feedback=(9,), quarantine=(3,)).prefix() == Position((1,), 2)


def test_incomparable_positions():
    """Two positions of which neither is before the other."""
    assert not Position((1, 2), 0).comparable(Position((2, 1), 0))
    assert Position((1, 1), 0).comparable(Position((2, 1), 0))
