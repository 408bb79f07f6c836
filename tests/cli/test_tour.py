"""Every command once, in the order in which a person meets them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import click
import pytest

from ledger.cli import main
from tests.cli.command import Errata
from tests.events import item

COMMANDS = main.list_commands(click.Context(main))


@pytest.mark.parametrize("command", COMMANDS)
def test_help(errata: Errata, command: str) -> None:
    """Every command explains itself, and needs no dataset for that."""
    shown = errata(command, "--help").out
    assert shown.startswith("Usage: ")
    assert "--log" in shown or command == "demo"


def test_help_lists_every_command_with_a_whole_sentence(errata: Errata) -> None:
    """The list of commands is readable: nothing is cut off."""
    listed = errata("--help").out.partition("Commands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == COMMANDS
    ours = [line for line in listed.splitlines() if line.split()[0] != "import"]
    assert not [line for line in ours if line.endswith("...")]


def test_wrong_usage_is_2(errata: Errata) -> None:
    """No command, an unknown one, an unknown flag and a missing argument are wrong usage."""
    for arguments in ((), ("comit",), ("status", "--nope"), ("show",), ("rollback", "--to", "v1")):
        assert "Usage: errata" in errata(*arguments, code=2).err


def test_init(errata: Errata) -> None:
    """A dataset is set up once; again it is left as it is, and only new classes are added."""
    said = errata("init", "--partitions", "2", "--class", "cat", "--class", "cat")
    assert said.out == "labels=0,0;governance=1\n"
    assert "2 label partitions, contract version 1, 1 classes" in said.err
    assert errata("init", "--partitions", "2", "--class", "cat").out == said.out
    again = errata("init", "--partitions", "2", "--class", "dog")
    assert again.out == "labels=0,0;governance=2\n"
    assert errata("status", "--json").json["classes"] == ["cat", "dog"]


def test_init_with_another_number_of_partitions(book: Errata) -> None:
    """The number of partitions is fixed, and the refusal names both numbers."""
    before = book.position()
    assert "3 partitions and not 5" in book.refused("init", "--partitions", "5")
    assert book.position() == before


def test_init_checks_before_it_makes_anything(errata: Errata) -> None:
    """A wrong call leaves no file behind."""
    errata("init", "--class", "cat", code=2, env={"ERRATA_ACTOR": ""})
    errata("init", "--class", "", code=2)
    errata("init", "--partitions", "0", code=2)
    errata("init", "--partitions", "100000", code=1)
    errata("--dataset", "no.dots", "init", code=1)
    assert not list(errata.folder.iterdir())


def test_no_such_dataset(errata: Errata) -> None:
    """Every command says that there is no dataset, and how one is set up."""
    file = str(errata.write("x.jsonl", [{"id": "a"}]))
    calls = (
        *(("status",), ("log",), ("snapshot",), ("review",), ("tag",), ("append", file)),
        *(("import", file), ("show", "a"), ("blame", "a"), ("diff", "head")),
        *(("correct", "a", "--to", "b"), ("withdraw", "c"), ("rollback", "--to", "x")),
    )
    for call in calls:
        more = ("--reason", "r", "--approved-by", "b") if call[0] == "rollback" else ()
        told = errata.refused(*call, *more)
        assert told == (
            "there is no dataset 'default' at sqlite:///errata.db; `errata init` sets one up"
        )
    assert not (errata.folder / "errata.db").exists()
    errata("init")
    assert "there is no dataset 'other'" in errata.refused("--dataset", "other", "status")


def test_correct_and_review(book: Errata) -> None:
    """A correction is proposed, listed, decided by a second person, and then applied."""
    said = book("correct", "b", "--to", "dog", "--reason", "it barks", "--as", "bob")
    name = said.out.strip()
    assert said.err == "proposed\n"
    (listed,) = book("review", "--json").lines
    assert listed["correction_id"] == name
    assert (listed["status"], listed["votes"], listed["conflict"]) == ("proposed", {}, False)
    assert listed["reason"] == "it barks"
    assert name in book("review").out
    told = book.refused("review", name, "accept", "--as", "bob")
    assert told == (
        f"accept of correction '{name}' by 'bob' is refused as self_review: a second person "
        "decides; nothing changed"
    )
    decided = book("review", name, "accept", "--rationale", "so it does", "--json").json
    assert decided == {"correction_id": name, "outcome": "applied", "reason": None}
    assert book.labels() == {"a": "dog", "b": "dog", "c": "cat"}
    assert "already_decided" in book.refused("review", name, "keep", "--as", "eve")
    assert book("review").err == "no correction is open\n"


def test_a_stale_correction_says_that_nothing_changed(book: Errata) -> None:
    """Of two corrections of one label the second to be accepted is stale, in words."""
    first, second = (
        book("correct", "b", "--to", "dog", "--as", who).out.strip() for who in ("bob", "eve")
    )
    book("review", first, "accept")
    assert "conflict" in book("review").out
    assert book("review", second, "accept").err.startswith("stale: the item no longer is")


def test_withdraw(book: Errata) -> None:
    """Only the proposer takes a correction back."""
    name = book("correct", "b", "--to", "dog", "--as", "bob").out.strip()
    assert "not_permitted" in book.refused("withdraw", name, "--as", "eve")
    assert book("withdraw", name, "--as", "bob", "--json").json["outcome"] == "withdrawn"
    assert book.labels()["b"] == "cat"


def test_correct_refuses_in_words(book: Errata) -> None:
    """Each refusal names the item, the rule and the value, and stores nothing."""
    before = book.position()
    told = book.refused("correct", "b", "--to", "bird", "--as", "bob")
    assert "'b' to 'bird' by 'bob'" in told
    assert "contract version 1 (its classes: 'cat', 'dog')" in told
    refused = book("correct", "b", "--to", "bird", "--json", code=1).json
    assert refused["correction_id"] is None
    assert refused["outcome"] == "class_not_in_contract"
    assert "item 'zzz' does not exist" in book.refused("correct", "zzz", "--to", "cat")
    assert "record_id '' must be" in book.refused("correct", "#r", "--to", "cat", "--add")
    assert "no correction 'zzz'" in book.refused("review", "zzz", "keep")
    assert "no correction 'zzz'" in book.refused("withdraw", "zzz")
    for wrong in (
        ("correct", "b"),
        ("correct", "b", "--to", "dog", "--remove"),
        ("correct", "b", "--to", "dog", "--source", "hearsay"),
        ("correct", "b", "--to", "dog", "--as", ""),
        ("correct", "b", "--to", "dog", "--geometry", "nope"),
        ("correct", "b", "--to", "dog", "--geometry", '{"type":"ring","coordinates":[1]}'),
        ("review", "c1"),
        ("review", "c1", "perhaps"),
    ):
        book(*wrong, code=2)
    assert book.position() == before


def test_an_empty_flag_is_never_somebody_else(book: Errata) -> None:
    """`--as ""` (a variable that is not set) does not fall back to ERRATA_ACTOR."""
    assert "say who acts" in book.refused("correct", "b", "--to", "dog", "--as", "", code=2)


def test_a_region_is_added_moved_and_removed(book: Errata) -> None:
    """--add makes an item, --geometry alone keeps its label, --remove takes the label away."""

    def corrected(*arguments: str) -> None:
        name = book("correct", *arguments, "--as", "bob").out.strip()
        book("review", name, "accept")

    box = {"type": "bbox", "coordinates": [1.0, 2.0, 3.0, 4.0]}
    corrected("b#1", "--to", "dog", "--add", "--geometry", json.dumps(box))
    shown = book("show", "b#1", "--json").json
    assert (shown["label"], shown["geometry"], shown["record"]) == ("dog", box, "b")
    at = book.position()
    corrected("b#1", "--geometry", '{"type":"bbox","coordinates":[1.25,2,3,1234567.5]}')
    moved = book("diff", at).out
    assert "dog bbox [1, 2, 3, 4]" in moved
    assert "dog bbox [1.25, 2, 3, 1234567.5]" in moved
    corrected("b#1", "--remove")
    assert "b#1" not in book.labels()
    assert book("show", "b#1", "--json").json["label"] is None


def test_show_and_blame(book: Errata) -> None:
    """An item as it is, and how it came to be so, for people and as JSON."""
    more: dict[str, Any] = {"content": "one\ntwo", "attributes": {"n": 1}, "split": "train"}
    book("append", book.write("t.jsonl", [item("t", "cat", **more)]))
    shown = book("show", "t").out
    assert "content            one\n                   two\n" in shown
    assert 'attributes         {"n": 1.0}' in shown
    fields = book("show", "a", "--json").json
    assert (fields["label"], fields["corrections"][0]["status"]) == ("dog", "applied")
    assert fields["position"] == book("status", "--json").json["position"]
    told = book("blame", "a").out.splitlines()
    assert told[-1] == "a is dog"
    assert told[-2].startswith("*")
    steps = book("blame", "a", "--json").json["history"]
    assert [step["outcome"] for step in steps] == ["registered", "proposed", "applied"]
    assert [step["stands"] for step in steps] == [False, False, True]
    assert "item 'zz' does not exist" in book.refused("show", "zz")
    assert "item 'zz' has no history" in book.refused("blame", "zz")


def test_versions(book: Errata) -> None:
    """A version keeps the hash of its snapshot, which `sha256sum` of the export checks."""
    assert book("tag").err == "no version is tagged\n"
    made = book("tag", "v1", "--reason", "first", "--json").json
    lines = book("snapshot", "--at", "v1").out
    assert hashlib.sha256(lines.encode()).hexdigest() == made["content_hash"]
    assert made["position"]["governance"] == 1
    assert [each["name"] for each in book("tag", "--json").lines] == ["v1"]
    assert made["content_hash"] in book("tag").out
    assert "'v1' is taken" in book.refused("tag", "v1")
    assert "name 'a b' must have" in book.refused("tag", "a b")
    assert "'head'" in book.refused("tag", "head")


def test_rollback(book: Errata) -> None:
    """After a rollback the snapshot is that of its target, byte for byte; older positions stay."""
    book("tag", "v1")
    name = book("correct", "b", "--to", "dog", "--as", "bob").out.strip()
    book("review", name, "accept")
    book("tag", "v2")
    good, bad = book("snapshot", "--at", "v1").out, book("snapshot").out
    assert good != bad
    (change,) = book("diff", "v1", "v2", "--json").lines
    assert (change["id"], change["change"]) == ("b", "changed")
    assert (change["before"]["label"], change["after"]["label"]) == ("cat", "dog")
    assert "takes two people" in book.refused("rollback", "--to", "v1", "--reason", "bad", code=2)
    why = ("--reason", "bad", "--approved-by", "bob")
    reached = book("rollback", "--to", "v1", *why, "--json").json
    assert reached["position_text"] == book.position()
    assert book("snapshot").out == good
    assert book("snapshot", "--at", "v2").out == bad
    assert book("diff", "v1").err == "0 items differ\n"
    assert book("diff", "v1").out == ""
    assert book("diff", "v2").err == "1 item differs\n"
    assert "where the log ends" in book.refused("rollback", "--to", "head", *why)
    assert "'ann' can't approve what 'ann' does" in book.refused(
        "rollback", "--to", "v2", "--reason", "r", "--approved-by", "ann"
    )


def test_status(book: Errata) -> None:
    """The position is a list of label offsets and the governance offset."""
    book("tag", "v1")
    status = book("status", "--json").json
    assert sum(status["position"]["labels"]) == 5
    assert len(status["position"]["labels"]) == status["partitions"] == 3
    assert status["position"]["governance"] == 2
    assert status["classes"] == ["cat", "dog"]
    assert status["labels"] == {"cat": 2, "dog": 1}
    assert status["outcomes"] == {
        **{"applied": 1, "changed": 1, "proposed": 1, "registered": 3, "tagged": 1},
    }
    assert list(status["versions"]) == ["v1"]
    assert status["undecodable"] == []
    assert f"position           {status['position_text']}\n" in book("status").out
    assert book("status", "--json", "--at", "v1").json["position"]["governance"] == 1


def test_the_log_as_json(book: Errata) -> None:
    """Each line gives topic, partition, offset, timestamp, type and the event's fields."""
    lines = book("log", "--json").lines
    first = lines[0]
    assert first["type"] == "SchemaChanged"
    assert [line["type"] for line in lines if line.get("item_id") == "a"] == [
        *("ItemRegistered", "CorrectionProposed", "ReviewDecided"),
    ]
    assert list(first)[:5] == ["topic", "partition", "offset", "timestamp", "type"]
    assert (first["topic"], first["partition"], first["offset"]) == ("governance", 0, 0)
    assert first["timestamp"].endswith("Z")
    assert [added["name"] for added in first["add"]] == ["cat", "dog"]
    assert {line["topic"] for line in lines[1:]} == {"labels"}
    for partition in range(3):
        offsets = [line["offset"] for line in lines[1:] if line["partition"] == partition]
        assert offsets == list(range(len(offsets)))
    (vote,) = (line for line in lines if line["type"] == "ReviewDecided")
    assert (vote["decision"], vote["actor"]) == ("accept", "ann")


def test_the_log_filtered(book: Errata) -> None:
    """By item, type, range and number; with what became of each event."""
    book("tag", "v1")
    assert len(book("log", "--item", "a", "--json").lines) == 3
    assert len(book("log", "--type", "ItemRegistered", "--json").lines) == 3
    assert [each["type"] for each in book("log", "-n", "1", "--json").lines] == ["VersionTagged"]
    assert len(book("log", "--until", "v1", "--json").lines) == 6
    assert len(book("log", "--since", "v1", "--json").lines) == 1
    outcomes = [each["outcome"] for each in book("log", "--outcomes", "--json").lines]
    assert (outcomes[0], outcomes[-1]) == ("changed", "tagged")
    assert "[applied]" in book("log", "--outcomes").out
    assert len(book("log").out.splitlines()) == 7
    book("log", "--type", "Nonsense", code=2)
    book("log", "--follow", "--until", "v1", code=2)


def test_what_people_wrote_cannot_forge_a_line(book: Errata) -> None:
    """Control characters of labels, ids and reasons are escaped wherever people read them."""
    hostile = "x\n\x1b[2Jlabels/0@9 ReviewDecided\u202e!"
    book("init", "--partitions", "3", "--class", hostile)
    book("correct", "b", "--to", hostile, "--reason", hostile, "--as", hostile)
    calls = (("log",), ("review",), ("blame", "b"), ("show", "b"), ("status",))
    for call in calls:
        shown = book(*call).out
        assert "ReviewDecided\\u202e" in shown
        assert not {"\x1b", "\u202e"} & set(shown)
    assert len(book("log").out.splitlines()) == len(book("log", "--json").lines)
    assert "\x1b" not in book.refused("show", hostile)
