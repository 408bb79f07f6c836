"""`errata append`: what it takes, what it refuses, and how far it came."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.cli.command import Errata, Fields
from tests.events import item, schema

GOOD = json.dumps(item("good", "cat"))


def event(**changes: object) -> str:
    """A registration with other fields; a value of None takes a field out."""
    fields = {**item("x", "cat"), **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


BAD: dict[str, tuple[bytes | str, str]] = {
    "truncated": ('{"type":"ItemRegistered","item_id":"y"', "not JSON: Expecting ',' delimiter"),
    "NaN": (event(attributes={"n": float("nan")}), "NaN is no JSON number"),
    "infinity": (event(attributes={"n": 1}).replace(" 1}", " 1e999}"), "attributes['n'] is inf"),
    "huge number": (event(attributes={"n": 10**400}), "attributes['n'] is inf"),
    "huge integer": (json.dumps(schema(2**63, "x")), "version is 9223372036854775808, which does"),
    "5000 digits": (event(version="@").replace('"@"', "9" * 5000), "digits"),
    "true": (event(attributes={"n": True}), "attributes.n.float is True"),
    "key twice": ('{"type":"ItemRegistered","type":"x"}', "the key 'type' stands twice"),
    "not UTF-8": (b'{"type":"\xff"}', "not UTF-8: byte 9 is 0xff"),
    "lone surrogate": (event(label="\ud800"), "ItemRegistered: "),
    "deep": ('{"a":' * 100_000, "recursion"),
    "list": ("[1]", "not a JSON object: '[1]'"),
    "null": ("null", "not a JSON object: 'null'"),
    "no type": ("{}", "the event has no type; known are ItemRegistered, "),
    "type is a number": ('{"type":5}', "the event has the unknown type 5"),
    "unknown type": ('{"type":"Foo"}', "the event has the unknown type 'Foo'; known are Item"),
    "unknown field": (event(colour="red"), "ItemRegistered: colour is no field of it"),
    "missing fields": ('{"type":"ItemRegistered","actor":"x"}', "item_id is missing; record_id is"),
    "wrong type": (event(item_id=5), "item_id is 5: Input should be a valid string"),
    "no date": (event(occurred_at="yesterday"), "occurred_at is 'yesterday'"),
    "local time": (event(occurred_at="2026-01-01T00:00:00"), "is not in UTC; end it with Z"),
    "another record": (event(record_id="z"), "item_id 'x' must be the record id 'z' or 'z#REGION'"),
    "empty actor": (event(actor=""), "actor is empty"),
    "code in a rule": (
        json.dumps(schema(2, split={"cat": {"big": "__import__('os')"}})),
        "split of 'cat' into 'big': rule",
    ),
    "too big": (event(content="x" * 1_000_000), "bytes, and may have at most"),
    "undecodable": ('{"type":"undecodable","reason":"?"}', "these bytes were no event on the log"),
    "other partitions": (json.dumps(schema(2, "x", at=[0, 0])), "at names 2 label partitions and"),
    "other based_on": (
        json.dumps({"type": "CorrectionProposed", "based_on": {"labels": [1], "governance": 0}}),
        "based_on names 1 label partitions and this dataset has 3",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_of_a_file(book: Errata, kind: str) -> None:
    """It is named by file, line and rule, and nothing of the file is appended."""
    line, rule = BAD[kind]
    before = book.position()
    raw = line if isinstance(line, bytes) else line.encode()
    file = book.write("bad.jsonl", f"\n{GOOD}\n\n".encode() + raw + f"\n{GOOD}\n".encode())
    told = book.refused("append", file)
    assert told.startswith(f"{file}, line 4: ")
    assert rule in told
    assert told.endswith(". Nothing was appended")
    assert "event 1" not in told
    assert book.position() == before


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_of_a_stream(book: Errata, kind: str) -> None:
    """What stands before it is appended, and the position reached is told."""
    line, rule = BAD[kind]
    raw = line if isinstance(line, bytes) else line.encode()
    stream = f"{GOOD}\n".encode() + raw + f"\n{event()}\n".encode()
    told = book.refused("append", "-", stdin=stream)
    assert told.startswith("standard input, line 2: ")
    assert rule in told
    assert "The 1 events before it are appended, up to position labels=" in told
    assert "good" in book.labels()
    assert "x" not in book.labels()


def test_a_line_without_end(book: Errata) -> None:
    """A line of 50 MB is refused before it fills the memory."""
    file = book.write("long.jsonl", f'{GOOD}\n{{"a":"{"x" * 50_000_000}"}}\n')
    assert "line 2: it is longer than 16,777,216 bytes" in book.refused("append", file)


@pytest.mark.parametrize(
    "text",
    [f"{GOOD}\n", GOOD, f"\ufeff{GOOD}\n", f"{GOOD}\r\n", f"\n\r\n \n{GOOD}\n\n"],
    ids=["line", "no newline", "byte order mark", "CRLF", "empty lines"],
)
def test_what_is_a_line(book: Errata, text: str) -> None:
    """Editors differ in how they end lines and begin files; the event is the same."""
    said = book("append", book.write("x.jsonl", text), "--json").json
    assert said["appended"] == 1
    assert said["position_text"] == book.position()
    assert said["position"] == book("status", "--json").json["position"]
    assert book.labels()["good"] == "cat"


def test_an_empty_file(book: Errata) -> None:
    """Nothing to append is no error."""
    at = book.position()
    assert book("append", book.write("empty.jsonl", "")).out == f"{at}\n"
    assert book("append", "-").out == f"{at}\n"


def test_files_that_cannot_be_read(book: Errata) -> None:
    """The file and the reason are named."""
    assert book.refused("append", "nosuch.jsonl") == "nosuch.jsonl: No such file or directory"
    assert book.refused("append", ".") == ".: Is a directory"
    assert book.refused("import", "nosuch.csv") == "nosuch.csv: No such file or directory"
    assert book.refused("import", ".") == ".: Is a directory"


def test_what_is_left_out_is_stamped(book: Errata) -> None:
    """In the file's order: an event after a contract change is under the new contract."""
    lines = [schema(2, "bird"), item("w", "bird"), schema(3, rename={"bird": "fowl"}), item("v")]
    book("append", book.write("x.jsonl", lines))
    found = sorted(book("log", "-n", "4", "--json").lines, key=lambda each: each["occurred_at"])
    assert [each["contract_version"] for each in found] == [1, 2, 2, 3]
    assert all(each["event_id"] for each in found)
    assert len(found[0]["at"]) == 3
    assert book.labels()["w"] == "fowl"


def test_a_refused_contract_change_is_told(book: Errata) -> None:
    """It stands on the log, changes nothing, and is named on standard error."""
    said = book("append", book.write("x.jsonl", [schema(7, "bird")]))
    assert "SchemaChanged" in said.err
    assert "is version_conflict: it is not the next one on what is in force" in said.err
    assert book("status", "--json").json["classes"] == ["cat", "dog"]


def test_appending_again_changes_nothing(book: Errata) -> None:
    """The same events twice are duplicates."""
    before = book("snapshot").out
    book("append", book.folder / "book.jsonl")
    assert book("snapshot").out == before


def lived(book: Errata) -> list[Fields]:
    """The log of a book with versions, a rename and a rollback."""
    book("tag", "v1")
    book("append", "-", stdin=json.dumps(schema(2, rename={"cat": "feline"})))
    name = book("correct", "b", "--to", "dog", "--as", "bob").out.strip()
    book("review", name, "accept")
    book("tag", "v2")
    book("rollback", "--to", "v1", "--reason", "r", "--approved-by", "bob")
    return book("log", "--json").lines


def piped(lines: Sequence[Fields]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_log_appended_to_another_dataset(book: Errata) -> None:
    """`errata log --json | errata append -` keeps event ids, positions, versions and labels."""
    lines = lived(book)
    copy = book.on("--dataset", "copy")
    copy("init", "--partitions", "3")
    copy("append", "-", stdin=piped(lines))

    def without_time(each: Fields) -> Fields:
        return {name: value for name, value in each.items() if name != "timestamp"}

    copied = copy("log", "--json").lines
    key = json.dumps
    assert sorted(map(key, map(without_time, copied))) == sorted(map(key, map(without_time, lines)))
    for where in ("v1", "v2", "head"):
        assert copy("snapshot", "--at", where).out == book("snapshot", "--at", where).out


def test_a_log_appended_to_another_number_of_partitions(book: Errata) -> None:
    """Positions hold for one layout: they are refused in words instead of losing every label.
    Without them labels and event ids are the same, and versions are tagged anew.
    """
    lines = lived(book)
    copy = book.on("--dataset", "copy")
    copy("init", "--partitions", "2")
    told = copy.refused("append", "-", stdin=piped(lines))
    assert told.startswith(
        "standard input, line 1: SchemaChanged: at names 3 label partitions and this dataset has 2"
    )
    assert "tag and roll back here anew. The 0 events before it are appended" in told
    assert copy.position() == "labels=0,0;governance=0"
    kept = [each for each in lines if each["type"] not in ("VersionTagged", "RolledBack")]
    bare = [{k: v for k, v in each.items() if k not in ("at", "based_on")} for each in kept]
    copy("append", "-", stdin=piped(bare))
    assert copy("snapshot").out == book("snapshot", "--at", "v2").out
    ids = {each["event_id"] for each in copy("log", "--json").lines}
    assert ids == {each["event_id"] for each in kept}
