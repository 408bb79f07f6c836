"""`errata contract` and `errata remap` on the command line."""

from __future__ import annotations

import json

import pytest

from tests.cli.command import Errata
from tests.cli.conftest import book, errata
from tests.events import item

__all__ = ["book", "errata"]

SPLIT = {"split": {"dog": {"dog_small": "area < 8000", "dog_large": "area >= 8000"}}}


@pytest.fixture
def pictures(book: Errata) -> Errata:
    """The book, with a box, and mapping files beside it."""
    box = {"type": "bbox", "coordinates": [0.0, 0.0, 80.0, 100.0]}
    book("append", book.write("box.jsonl", [item("d#1", "dog", geometry=box, split="test")]))
    book.write("split.json", json.dumps(SPLIT))
    book.write("rename.json", '{"rename": {"cat": "chat"}}')
    return book


def test_a_dry_run_says_what_would_happen(pictures: Errata) -> None:
    """To people and as JSON; the log stays as it is."""
    before = pictures.position()
    arguments = ("contract", "apply", "rename.json", "split.json", "--dry-run")
    said = pictures(*arguments)
    assert "cat (gone)       2 -> 0   2 -> 0" in said.out
    assert "a                  dog      none" in said.out
    assert '{"aggregate_for_old": {"cat": ["chat"], "dog": ["dog_small", "dog_large"]}}' in said.out
    assert "this was a dry run" in said.err
    fields = pictures(*arguments, "--json").json
    assert (fields["applied"], fields["before"], fields["after"]) == (False, 1, 2)
    assert fields["classes"]["dog_large"] == {
        "before": 0,
        "after": 1,
        "by_split": {"test": {"before": 0, "after": 1}},
    }
    assert fields["unresolved"] == [{"id": "a", "class": "dog", "matching": []}]
    assert pictures.position() == before


def test_a_split_from_the_file_to_the_last_label(pictures: Errata) -> None:
    """Shadow, application by two, the queue, and the correction that ends the wait."""
    assert pictures("contract", "shadow", "split.json", "--json").lines == [
        {"id": "a", "before": "dog", "after": None},
        {"id": "d#1", "before": "dog", "after": "dog_large"},
    ]
    assert "a       dog       -" in pictures("contract", "shadow", "split.json").out
    pictures("contract", "apply", "split.json", "--approved-by", "bob")
    assert pictures.labels() == {"b": "cat", "c": "cat", "d#1": "dog_large"}
    waiting = {
        "type": "unresolved",
        "item_id": "a",
        "record_id": "a",
        "split": None,
        "class": "dog",
        "split_by": 2,
    }
    assert pictures("contract", "unresolved", "--json").lines == [waiting]
    assert pictures("review", "--json").lines == [waiting]
    assert "a                dog    contract 2" in pictures("review").out
    correction = pictures("correct", "a", "--to", "dog_small", "--as", "bob").out.strip()
    pictures("review", correction, "accept")
    assert pictures("contract", "unresolved", "--json").lines == []
    assert pictures.labels()["a"] == "dog_small"


def test_what_is_refused_leaves_no_trace(pictures: Errata) -> None:
    """One person, a mistake in one of two files, nothing to do, no file at all."""
    before = pictures.position()
    apply = ("contract", "apply")
    pictures.write("bad.json", '{"merge": {"cat": "pet"}}')
    assert "add it in the same change" in pictures.refused(
        *apply, "split.json", "bad.json", "--approved-by", "bob"
    )
    assert "--approved-by WHO" in pictures.refused(*apply, "split.json", code=2)
    assert "takes two people" in pictures.refused(*apply, "split.json", "--approved-by", "ann")
    assert "give a mapping or a policy file" in pictures.refused(*apply, code=2)
    assert pictures.position() == before
    pictures(*apply, "bad.json", "--add", "pet", "--approved-by", "bob")
    assert pictures.labels() == {"a": "dog", "b": "pet", "c": "pet", "d#1": "dog"}


def test_a_dry_run_marks_what_becomes_of_a_class(pictures: Errata) -> None:
    """Items show neither that a class is deprecated nor that it no longer is."""
    apply = ("contract", "apply", "change.json")
    pictures.write("change.json", '{"deprecate": ["cat"]}')
    assert "cat (deprecated)" in pictures(*apply, "--dry-run").out
    pictures(*apply, "--approved-by", "bob")
    pictures.write("change.json", '{"add": ["cat"]}')
    assert "cat (no longer deprecated)" in pictures(*apply, "--dry-run").out


def test_policy_show_history_and_diff(pictures: Errata) -> None:
    """A policy file in, and everything about the contract out."""
    policy = {
        "approvals_required": 2,
        "roles": {"admin": ["ann", "bob"], "reviewer": ["eve"]},
        "thresholds": {"labelled_min": 0.5},
    }
    file = pictures.write("policy.json", json.dumps(policy))
    said = pictures("contract", "apply", file, "--dry-run")
    assert "remark: there is no expert" in said.err
    assert "1 may review and 2 must agree" in said.err
    pictures("contract", "apply", file, "--approved-by", "bob")
    shown = pictures("contract", "show", "--json").json
    assert shown["thresholds"]["labelled_min"]["value"] == 0.5
    assert shown["thresholds"]["class_shift_max"] == {
        "value": 0.25,
        "default": 0.25,
        "meaning": shown["thresholds"]["class_shift_max"]["meaning"],
    }
    assert [each["name"] for each in shown["classes"]] == ["cat", "dog"]
    assert "reviewer: eve" in pictures("contract", "show").out
    assert (
        "roles              none named"
        in pictures("contract", "show", "--at", before(pictures)).out
    )
    history = pictures("contract", "history", "--json").lines
    assert [(each["version"], each["kind"], each["status"]) for each in history] == [
        (1, "schema", "live"),
        (2, "policy", "in force"),
    ]
    assert history[1]["change"] == policy
    assert "add cat, dog" in pictures("contract", "history").out
    found = pictures("contract", "diff", "1", "2", "--json").json
    assert found["policy"]["approvals_required"] == {"before": 1, "after": 2}
    assert "approvals_required" in pictures("contract", "diff", "1").out
    assert "the same" in pictures("contract", "diff", "2").err
    assert "no contract version 7" in pictures.refused("contract", "diff", "7")


def before(errata: Errata) -> str:
    """The head's labels under the first contract."""
    labels = errata("status", "--json").json["position"]["labels"]
    return f"labels={','.join(map(str, labels))};governance=1"


def test_remap_judges_and_rewrites(pictures: Errata) -> None:
    """The remap is standard output; predictions come back under the common names."""
    pictures("tag", "v1")
    pictures("contract", "apply", "split.json", "rename.json", "--approved-by", "bob")
    said = pictures("remap", "v1")
    assert said.json == {"aggregate_for_old": {"cat": ["chat"], "dog": ["dog_small", "dog_large"]}}
    assert said.err.splitlines()[0] == "not fair"
    found = pictures("remap", "v1", "--json").json
    assert (found["verdict"], found["changed_by_split"]) == ("not_fair", {"": 1})
    assert found["by_split"] == {"": "not_fair", "test": "fair_after_remap"}

    rows = 'id,predicted,note\r\nd#1,dog_small,"a, ""b"""\nb,chat,"x\ry"\n'
    csv = pictures.write("p.csv", rows)
    assert pictures("remap", "v1", "--predictions", csv).out == (
        'id,predicted,note\nd#1,dog,"a, ""b"""\nb,cat,"x\ry"\n'
    )
    lines = [{"id": "d#1", "prediction": "dog_small", "p": 0.5}, {"id": "x", "prediction": None}]
    jsonl = pictures.write("p.jsonl", lines)
    assert pictures("remap", "v1", "--predictions", jsonl).lines == [
        {"id": "d#1", "prediction": "dog", "p": 0.5},
        {"id": "x", "prediction": None},
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.csv", b"id,label\na,\xff\n", "not UTF-8"),
        ("p.csv", "id,kind\na,dog\n", "name it with --column"),
        ("p.csv", "id,label\na\n", "row 2 has 1 cells; the header 2"),
        ("p.csv", 'id,label\na,"dog\n', "p.csv: "),
        ("p.csv", "", "there are: none"),
        ("p.csv", "label,label\na,b\n", "the header names 2 columns 'label': rename one"),
        ("p.jsonl", '{"label": "a"}\n{"label": "a", "x": 1e999}\n', "line 2: it holds a number"),
        ("p.jsonl", '{"label": "a", "x": "\\ud800"}\n', "line 1: it holds a lone surrogate"),
        ("p.jsonl", '{"label": "dog"}\n{"label": \n', "line 2: not JSON"),
        ("p.jsonl", '{"label": 7}\n', "label is 7, which names no class"),
    ],
)
def test_predictions_that_can_not_be_read(
    pictures: Errata, name: str, content: bytes | str, expected: str
) -> None:
    """Nothing is written where something is wrong."""
    said = pictures(
        "remap", pictures.position(), "--predictions", pictures.write(name, content), code=1
    )
    assert expected.lower() in said.err.lower()
    assert said.out == ""


def test_checkpoints_answer_as_the_log_does(
    pictures: Errata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits, the shadow of a split and the verdict; and what is damaged is not believed."""
    pictures("tag", "v1")
    shadow = ("contract", "shadow", "split.json", "--json")
    shown = pictures(*shadow).lines
    pictures("contract", "apply", "split.json", "--approved-by", "bob")
    waiting = ("contract", "unresolved", "--json")
    questions = (waiting, ("remap", "v1", "--json"))
    answers = [pictures(*question).lines for question in questions]
    pictures("contract", "apply", "rename.json", "--approved-by", "bob")
    pictures("rollback", "--to", "v1", "--reason", "again", "--approved-by", "bob")
    pictures("rebuild")
    for module in ("reading", "replay", "contracts.unresolved"):
        monkeypatch.setattr(f"ledger.{module}.COLUMNS_FROM", 0)
    assert pictures(*shadow).lines == shown
    pictures("contract", "apply", "split.json", "--approved-by", "bob")
    pictures("rebuild")
    again = [pictures(*question).lines for question in questions]
    assert again[0] == [{**each, "split_by": 4} for each in answers[0]]
    assert again[1] == answers[1]
    for file in pictures.folder.rglob("*.checkpoints/**/*.parquet"):
        file.write_bytes(b"")
    assert pictures(*waiting).lines == again[0]


def test_the_same_bytes_in_another_number_of_partitions(pictures: Errata) -> None:
    """What is said of a contract names no offset."""
    pictures("tag", "v1")
    pictures("contract", "apply", "rename.json", "--approved-by", "bob")
    pictures("tag", "v2")
    pictures("copy", "--to-dataset", "wide", "--partitions", "7")
    dry_run = ("contract", "apply", "split.json", "--dry-run")
    for question in (
        dry_run,
        (*dry_run, "--json"),
        ("contract", "shadow", "split.json", "--json"),
        ("contract", "history"),
        ("contract", "history", "--json"),
        ("contract", "show", "--json", "--at", "v2"),
        ("contract", "diff", "v1", "v2", "--json"),
        ("remap", "v1", "v2", "--json"),
        ("remap", "v1"),
    ):
        assert pictures(*question) == pictures.on("--dataset", "wide")(*question)
