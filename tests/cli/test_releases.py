"""`errata tag`, `waive`, `release` and `changelog`, as a person calls them."""

from __future__ import annotations

import csv
import io
import json
from hashlib import sha256

from tests.cli.command import Errata
from tests.events import item


def test_from_check_to_folder(book: Errata) -> None:
    """Checked, tagged with its files, told again, and in the changelog."""
    assert "class_shift  passed: no version before it" in book("tag", "--check").out
    book("tag", "v1", "--approved-by", "bob", "--reason", "first", "--guideline", "G-1")
    name = book("correct", "b", "--to", "dog", "--reason", "it barks", "--as", "bob").out.strip()
    book("review", name, "accept")
    said = book("tag", "v2", "--base", "v1", "--approved-by", "bob", "--out", "out")
    assert said.out.splitlines()[0].split() == ["version", "position", "sha256", "by"]
    assert "of 9 checks passed" in said.err
    assert "class_shift: not measured: fewer than 50 items say too little" in said.err
    assert "written to out/v2" in said.err
    folder = book.folder / "out/v2"
    fields = book("release", "v2", "--json").json
    assert sha256((folder / "labels.jsonl").read_bytes()).hexdigest() == fields["sha256"]
    assert (fields["base"], fields["changed_items"]) == ("v1", 1)
    assert fields["class_deltas"] == {"cat": -1, "dog": 1}
    assert fields["corrections_by_source"] == {"annotator": 1}
    assert "offset" not in json.dumps(fields)
    shown = book("release", "v2").out
    assert "Beside v1: 1 item has another class." in shown
    assert "cat -1, dog +1" in shown
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / "notes.md").unlink()
    assert book("release", "v2", "--out", "out").out == "out/v2/qa.html\n"
    assert {path: path.read_bytes() for path in before} == before
    log = book("changelog").out
    assert log.index("## v2") < log.index("## v1")
    table = list(csv.DictReader(io.StringIO(book("changelog", "--csv").out)))
    assert [(row["version"], row["base"], row["changed_items"]) for row in table] == [
        ("v1", "", "3"),
        ("v2", "v1", "1"),
    ]
    listed = book("tag", "--json").lines
    assert [each["guideline"] for each in listed] == ["G-1", None]


def test_a_failed_check_and_its_waiver(book: Errata) -> None:
    """The tag is refused with exit code 1 and the way out; once waived it goes through."""
    box = {"type": "bbox", "coordinates": [0.0, 0.0, 0.0, 1.0]}
    book("append", book.write("box.jsonl", [item("d", "cat", geometry=box)]))
    told = book.refused("tag", "v1")
    assert "check 'boxes' failed: 1 item: d is 0 by 1" in told
    assert "errata waive v1 boxes --reason WHY" in told
    assert book.refused("tag", "--check") == "boxes failed: a tag would be refused"
    assert book("tag").err == "no version is tagged\n"
    assert (
        "Missing option '--approved-by'"
        in book("waive", "v1", "boxes", "--reason", "r", code=2).err
    )
    book("waive", "v1", "boxes", "--reason", "one only", "--approved-by", "bob")
    assert (
        "boxes        failed: 1 item: d is 0 by 1 (waived by ann)"
        in book("tag", "v1", "--check").out
    )
    checks = book("tag", "v1", "--check", "--json").json
    assert checks["boxes"] == {
        **{"failed": True, "waived": True},
        "said": "failed: 1 item: d is 0 by 1",
    }
    said = book("tag", "v1")
    assert "boxes: failed, waived by ann: one only (1 item: d is 0 by 1)" in said.err
    assert book("tag", "--json").json["waivers"] == ["boxes"]
    assert "boxes        waived" in book("release", "v1").out


def test_wrong_calls(book: Errata) -> None:
    """No such version, sample, base or place to write: each in a sentence."""
    assert "there is no version 'v1'" in book.refused("release", "v1")
    book("tag", "v1", "--sample", "nowhere.jsonl", code=2)
    assert "there is no version 'v0'" in book.refused("tag", "v1", "--base", "v0")
    book("tag", "v1")
    (book.folder / "file").write_text("")
    book("release", "v1", "--out", "file", code=2)
    (book.folder / "out").mkdir()
    (book.folder / "out/v1").write_text("")
    assert "`errata release` writes them again" in book.refused("release", "v1", "--out", "out")


def test_a_check_looks_at_the_name_too(book: Errata) -> None:
    """What would be refused as a tag is refused as a check, nothing being looked at."""
    book("tag", "v1")
    assert "version 'v1' is taken" in book("tag", "v1", "--check", code=1).err
    assert "reads as another position" in book("tag", "2026-01-31", "--check", code=1).err
