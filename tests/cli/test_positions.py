"""Whatever takes a position takes offsets, a version, a timestamp or head, and refuses the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.command import Errata

CALLS = (
    ("snapshot", "--at"),
    ("status", "--at"),
    ("show", "a", "--at"),
    ("blame", "a", "--at"),
    ("tag", "new", "--at"),
    ("diff",),
    ("diff", "head"),
    ("log", "--since"),
    ("log", "--until"),
    ("rollback", "--reason", "r", "--approved-by", "bob", "--to"),
)
WRONG = {
    "labels=1;governance=1": "names 1 label partitions; dataset 'default' has 3",
    "labels=1,1,1": "governance is missing",
    "governance=1": "labels is missing",
    "labels=99,0,0;governance=1": "beyond the end of labels partition 0: offset 99 of",
    "labels=0,0,0;governance=99": "beyond the end of governance: offset 99 of",
    "labels=9999999999999999999999999,0,0;governance=1": "beyond the end",
    "labels=-1,0,0;governance=1": "is not TOPIC=OFFSET",
    "labels=a,0,0;governance=1": "is not TOPIC=OFFSET",
    "labels=;governance=1": "is not TOPIC=OFFSET",
    "labels=0,0,0;governance=1,1": "governance has one partition",
    "labels=0,0,0;labels=0,0,0;governance=1": "labels is given twice",
    "lables=0,0,0;governance=1": "'lables' is no topic of a position",
    "nosuch": "is no version (there are: v1)",
    "": "position '' is no version",
    "2026-13-01": "position '2026-13-01' is no version",
    '{"labels":[0,0,0],"governance":1}': "is no version",
}


@pytest.mark.parametrize("where", WRONG)
def test_a_wrong_position_is_refused(book: Errata, where: str) -> None:
    """The refusal repeats what was given and says what is wrong with it."""
    book("tag", "v1")
    told = book.refused("snapshot", "--at", where)
    assert WRONG[where] in told
    assert where in told


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_command_refuses_it(book: Errata, call: tuple[str, ...]) -> None:
    """A position that does not exist stops every command that takes one, and nothing is stored."""
    before = book.position()
    assert "position 'nosuch' is no version" in book.refused(*call, "nosuch")
    assert book.position() == before


def test_a_position_that_is_not_closed(book: Errata) -> None:
    """Offsets that include an event without its contract are refused, naming the floor."""
    labels = book.position().partition(";")[0]
    told = book.refused("snapshot", "--at", f"{labels};governance=0")
    assert "is not closed" in told
    assert told.endswith("The greatest closed position below is labels=0,0,0;governance=0")


def test_every_form_of_a_position(book: Errata) -> None:
    """Offsets, a version, a timestamp before, between and after, and head."""
    book("tag", "v1")
    offsets = book("tag", "--json").lines[0]["position"]
    text = f"labels={','.join(map(str, offsets['labels']))};governance={offsets['governance']}"
    expected = book("snapshot", "--at", "v1").out
    moment = datetime.now(UTC) + timedelta(seconds=1)
    for where in (text, f" {text} ", "head", moment.isoformat(), "2999-01-01"):
        assert book("snapshot", "--at", where).out == expected
    assert book("snapshot", "--at", "2001-01-01T00:00:00Z").out == ""
    assert book("snapshot", "--at", "0001-01-01T00:00:00+14:00").out == ""
    assert book("snapshot", "--at", "9999-12-31T23:59:59-14:00").out == expected
    assert book("snapshot", "--at", "v1", "--json").json["position_text"] == text
