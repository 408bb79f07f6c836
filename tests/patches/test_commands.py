"""`errata patch`: from a file to a version, and every way in which it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Errata, Fields
from tests.events import item

FLIPPED = ("img02.jpg", "img03.jpg", "img05.jpg", "img08.jpg", "img09.jpg")


def flip(*names: str, before: str = "cat", after: str = "dog") -> list[Fields]:
    return [{"id": name, "from": before, "to": after, "reason": "ear shape"} for name in names]


@pytest.fixture
def file(book: Errata) -> Path:
    """b and c are no cats; ids stand in no order."""
    return book.write("edits.jsonl", flip("c", "b"))


def test_five_labels_of_ten_are_flipped(errata: Errata) -> None:
    """From a base of ten items to a version in which exactly the five of the patch differ."""
    errata("init", "--class", "cat", "--class", "dog")
    rows = [{"id": f"img{n:02}.jpg", "label": "dog"} for n in range(1, 11)]
    errata("import", errata.write("base.jsonl", rows))
    errata("tag", "labels-v1.0")
    patch = errata.write("patch.jsonl", flip(*reversed(FLIPPED), before="dog", after="cat"))
    checked = errata("patch", "check", patch, "--base", "labels-v1.0", "--json").json
    assert checked["changed"] == 5
    assert checked["class_deltas"] == {"cat": 5, "dog": -5}
    patch_id = errata("patch", "propose", "patch.jsonl", "--base", "labels-v1.0").out.strip()
    errata("patch", "apply", patch_id, "--as", "alex", "--rationale", "looked at each")
    errata("tag", "labels-v1.1")
    errata("snapshot", "--at", "labels-v1.1", "--output", "labels-v1.1.jsonl")
    written = (errata.folder / "labels-v1.1.jsonl").read_text().splitlines()
    after = {row["id"]: row["label"] for row in map(json.loads, written)}
    assert list(after) == sorted(after)
    before = errata.labels("labels-v1.0")
    assert {name for name in after if after[name] != before[name]} == set(FLIPPED)
    counts = [
        {name: list(each.values()).count(name) for name in ("cat", "dog")}
        for each in (before, after)
    ]
    assert counts == [{"cat": 0, "dog": 10}, {"cat": 5, "dog": 5}]
    shown = errata("patch", "show", patch_id, "--json").json
    assert {name: shown[name] for name in ("base", "file", "sha256", "by", "decided_by")} == {
        "base": "labels-v1.0",
        "file": "patch.jsonl",
        "sha256": checked["sha256"],
        "by": "ann",
        "decided_by": "alex",
    }


def test_check_changes_nothing_and_prints_the_delta(book: Errata, file: Path) -> None:
    """For people and as JSON; a dry run of applying is the same."""
    end = book.position()
    said = book("patch", "check", file)
    for expected in (
        "cat     dog   2",
        "changed            2",
        "class deltas       cat -2, dog +2",
    ):
        assert expected in said.out
    fields = book("patch", "check", file, "--json").json
    assert fields["moves"] == [{"from": "cat", "to": "dog", "count": 2}]
    assert fields["changed_by_split"] == {"": 2}
    assert book("patch", "apply", file, "--dry-run", "--json").json == fields
    assert book("patch", "check", "-", "--json", stdin=file.read_bytes()).json == {
        **fields,
        "file": None,
    }
    assert book.position() == end


def test_propose_review_apply(book: Errata, file: Path) -> None:
    """The id is printed; one item is reviewed alone, the patch applied by a second person."""
    patch_id = book("patch", "propose", "edits.jsonl", "--reason", "triage").out.strip()
    assert book("patch", "propose", file).out.strip() == patch_id
    assert book.labels() == {"a": "dog", "b": "cat", "c": "cat"}
    assert "a second person decides" in book.refused("patch", "apply", patch_id)
    corrections = book("patch", "show", patch_id, "--json").json["corrections"]
    assert [each["item_id"] for each in corrections] == ["b", "c"]
    book("review", corrections[0]["correction_id"], "accept", "--as", "eve")
    assert book("patch", "show", patch_id, "--json").json["counts"] == {"applied": 1, "open": 1}
    said = book("patch", "apply", patch_id, "--as", "bob", "--json").json
    assert said == {
        "patch_id": patch_id,
        "decision": "accept",
        "decided": True,
        "counts": {"applied": 2},
        "missing": [],
    }
    assert book.labels() == {"a": "dog", "b": "dog", "c": "dog"}
    (listed,) = book("patch", "list", "--json").lines
    assert (listed["status"], listed["count"], listed["reason"]) == ("applied", 2, "triage")
    assert "applied" in book("patch", "list").out
    assert "eve accept" in book("patch", "show", patch_id).out
    assert "nothing was appended" in book("patch", "propose", file).err


def test_proposed_and_applied_in_one_go(book: Errata, file: Path) -> None:
    """With the second person named; never the same one, and then nothing is proposed either."""
    end = book.position()
    told = book.refused("patch", "propose", file, "--approved-by", "ann")
    assert "a second person decides" in told
    assert "nobody decides" in book.refused("patch", "propose", file, "--approved-by", "")
    assert book.position() == end
    said = book("patch", "propose", file, "--approved-by", "bob", "--json").json
    assert (said["decided"], said["counts"]) == (True, {"applied": 2})
    end = book.position()
    again = book("patch", "propose", file, "--approved-by", "bob", "--json").json
    assert again == said
    assert book.position() == end


def test_reject(book: Errata, file: Path) -> None:
    """Labels stay, and the patch can't be applied any more."""
    patch_id = book("patch", "propose", file).out.strip()
    book("patch", "reject", patch_id, "--as", "bob", "--rationale", "they are cats")
    assert book.labels() == {"a": "dog", "b": "cat", "c": "cat"}
    assert "is settled: keep by 'bob'" in book.refused("patch", "apply", patch_id, "--as", "bob")
    assert "rejected" in book("patch", "list").out


def test_stale_corrections_are_named(book: Errata, file: Path) -> None:
    """And skipped only if told so."""
    patch_id = book("patch", "propose", file).out.strip()
    other = book("correct", "b", "--remove", "--as", "eve").out.strip()
    book("review", other, "accept")
    told = book.refused("patch", "apply", patch_id, "--as", "bob")
    assert "1 of the 2 corrections" in told
    assert "'b' (its item is something else by now)" in told
    said = book("patch", "apply", patch_id, "--as", "bob", "--skip-stale", "--json").json
    assert said["counts"] == {"applied": 1, "stale": 1}
    assert book.labels() == {"a": "dog", "c": "dog"}


def test_what_is_still_missing_is_said(book: Errata, file: Path) -> None:
    """Where the contract asks for two approvals the patch stays open after the first."""
    policy = {"type": "PolicyChanged", "version": 2, "approvals_required": 2, "actor": "ann"}
    book("append", "-", stdin=json.dumps(policy))
    patch_id = book("patch", "propose", file).out.strip()
    said = book("patch", "apply", patch_id, "--as", "bob")
    assert "the patch stays open: 2 wait for 1 more vote" in said.err
    assert book("patch", "list", "--json").json["status"] == "open"
    assert "applied 2" in book("patch", "apply", patch_id, "--as", "eve").err


def test_every_bad_line_is_told(book: Errata) -> None:
    """Up to twenty, with file, line, id, what was expected and what was found; nothing happens."""
    end = book.position()
    good, bad = flip("b"), flip(*(f"x{n}" for n in range(25)))
    file = book.write("bad.jsonl", [*good, *bad])
    for command in ("check", "propose"):
        said = book("patch", command, file, code=1)
        lines = said.err.splitlines()
        expected = "expected an item that is 'cat', found none of this id at head"
        assert lines[0] == f"{file}, line 2, id 'x0': {expected}"
        assert lines[20] == "... and 5 more"
        assert lines[21].endswith("24 more lines are bad. Nothing was appended")
        assert said.out == ""
    fields = book("patch", "check", file, "--json", code=1).json
    assert fields["bad_lines"] == 25
    assert fields["problems"][19] == {"line": 21, "id": "x19", "problem": expected}
    assert book.position() == end


def test_hostile_text_is_printed_as_text(book: Errata) -> None:
    """Ids, classes and reasons come from anybody."""
    book("append", "-", stdin=json.dumps(item("e\x1b[2J", "cat")))
    evil = [{"id": "e\x1b[2J", "from": "cat", "to": "dog", "reason": "\x1b[31mred"}]
    patch_id = book("patch", "propose", book.write("evil.jsonl", evil)).out.strip()
    assert "\x1b" not in book("patch", "show", patch_id).out
    bad = book.write("bad.jsonl", b'{"id":"\\ud800","from":"cat\\u001b","to":"dog"}')
    assert "\x1b" not in book("patch", "check", bad, code=1).err
    assert book("patch", "check", bad, "--json", code=1).json["bad_lines"] == 1


def test_calls_that_can_not_be_meant(book: Errata, file: Path) -> None:
    """Each is refused in words."""
    assert "No such file" in book.refused("patch", "check", "nowhere.jsonl")
    assert "'v9' is no version" in book.refused("patch", "check", file, "--base", "v9")
    assert "is a file: `errata patch propose" in book.refused("patch", "apply", file)
    assert book.refused("patch", "apply", "p").strip().endswith("there is no patch 'p' yet")
    assert "there is no patch 'p'" in book.refused("patch", "show", "p")
    assert "--base goes with --dry-run" in book.refused(
        "patch", "apply", "p", "--base", "head", "--base", "v1", code=2
    )
    assert book("patch", "list").err.strip() == "there is no patch"
