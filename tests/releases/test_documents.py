"""The page and the notes: self-contained, and whatever somebody wrote stays words."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.releases import Releases, charts
from ledger.releases.changelog import entry, markdown
from ledger.releases.notes import notes
from ledger.releases.page import page
from ledger.releases.words import percent
from tests.events import item, proposal, schema, vote

HOSTILE = "</td><script>alert(1)</script>\u202e\n## not a heading `x` <img src=//evil>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """The elements of a page, checked to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def hostile(book: Ledger) -> str:
    """A release in which every word that somebody may choose is an attack."""
    name = "v1</td><script>alert(1)</script>"
    book.append([schema(1, HOSTILE, "cat"), item("a", HOSTILE, split=HOSTILE), item("b", "cat")])
    book.tag("v0", actor=HOSTILE, reviewer="alex")
    more: dict[str, Any] = {"segment": HOSTILE, "reason": HOSTILE}
    book.append([proposal("c", "a", HOSTILE, "cat", actor=HOSTILE, **more)])
    book.append([vote("c", "a", actor="alex")])
    model = {"type": "ModelRegistered", "name": "m<img>", "metrics": {HOSTILE: 0.5}}
    book.tag(name, actor=HOSTILE, reviewer="alex", reason=HOSTILE, guideline=HOSTILE)
    book.append([{**model, "label_version": name, "actor": "ann"}])
    return name


def test_the_page_holds_no_script_and_asks_for_nothing(life: Ledger) -> None:
    """One file: no script, no resource from elsewhere, every element closed."""
    for name in life.governance.tags:
        text = page(Releases(life).facts(name))
        outline = Outline(text)
        assert not outline.open
        assert not {"script", "link", "iframe", "img", "object"} & {e for e, _ in outline.elements}
        told = [each for _, attributes in outline.elements for each in attributes]
        assert not [each for each in told if each.startswith("on") or each in ("src", "href")]
        assert not re.search(r"https?:|url\(|@import", text)
        assert "NaN" not in text
        assert {"svg", "table"} <= {element for element, _ in outline.elements}


def test_hostile_words_stay_words(book: Ledger) -> None:
    """Labels, names and reasons make neither elements, nor lines, nor turned text."""
    name = hostile(book)
    facts = Releases(book).facts(name)
    outline = Outline(page(facts))
    assert not outline.open
    assert not {"script", "img"} & {element for element, _ in outline.elements}
    for text in (page(facts), notes(facts), entry(facts.tag, facts.patches)):
        assert "\u202e" not in text
    headings = [line for line in notes(facts).splitlines() if line.startswith("#")]
    assert not [line for line in headings if "not a heading" in line and line[1] != " "]
    assert not re.search(r"(?<!\\)<img", notes(facts))
    assert len(entry(facts.tag, facts.patches).splitlines()) == 11


def test_the_folder_stays_where_it_is_asked_for(book: Ledger, tmp_path: Any) -> None:
    """A name with slashes, or of dots alone, is one folder below the one given."""
    book.append([schema(1, "cat"), item("a", "cat", split="../x")])
    for name in ("../../up", "..", "a/b"):
        book.tag(name, actor="ann")
        written = Releases(book).write(name, tmp_path / "out")
        assert written.parent == tmp_path / "out"
        assert (written / "splits/..%2Fx.txt").read_text() == "a\n"
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == ["out"]


def test_every_id_of_a_split_is_one_line(book: Ledger, tmp_path: Path) -> None:
    """Ids that hold line breaks, or look like JSON, are told apart from all others."""
    ids = ["a\nb", "a", "b", '"a"', "c/d", "e\u2028", "f\\n"]
    book.append([schema(1, "cat"), *(item(each, "cat", split="x") for each in ids)])
    book.tag("v1", actor="ann")
    text = (Releases(book).write("v1", tmp_path) / "splits/x.txt").read_text()
    read = [json.loads(line) if line[0] == '"' else line for line in text.splitlines()]
    assert read == sorted(ids)


def test_the_page_stays_one_page(book: Ledger) -> None:
    """However many classes, patches and models there are, the page tells of the first ones."""
    old = [f"class-{number:03}" for number in range(200)]
    book.append([schema(1, *old), item("a", "class-000")])
    assert book.tag("v1", actor="ann").checks["classes"].endswith("class-003, ...")
    book.append([{**schema(2), "rename": {name: name.replace("class", "kind") for name in old}}])
    book.tag("v2", actor="ann")
    model = {"type": "ModelRegistered", "label_version": "v2", "metrics": {"f1": 0.5}}
    book.append([{**model, "name": f"m{number}", "actor": "ann"} for number in range(9)])
    text = page(Releases(book).facts("v2"))
    assert text.count("is called kind-") <= 16
    assert text.count("To compare with the base, count") == 6
    assert text.count("<li>and 194 more</li>") == 2
    assert text.count("f1 0.5") == 6
    assert "<li>and 3 more</li>" in text


def test_a_rollback_since_the_base_is_told(life: Ledger) -> None:
    """The notes and the page say that labels went back, to which version, by whom, and why."""
    said = "Rolled back to labels-v2.1 by sam, approved by alex: too fast"
    facts = Releases(life).facts("labels-v2.3")
    assert said in notes(facts).replace("\\", "")
    assert said in page(facts)
    assert "Rolled back" not in page(Releases(life).facts("labels-v2.2"))


def test_the_notes(life: Ledger) -> None:
    """They tell the nature of the corrections, the segments, the metrics, and what compares."""
    told = notes(Releases(life).facts("labels-v1.6"))
    for line in (
        "- patch: 12",
        "- night: 12",
        r"- m6: f1 0.84 \(+0.03 beside m5, 0.81; not to be compared unless both were measured on "
        r"the same labels\)",
        "- m6: recall 0.9",
        "- dog → cat: 12",
        "| val | 120 | 20 | 16.7 % |",
        "**Results on val do not compare.**",
        "- test: No label changed: past results stay fair.",
    ):
        assert line in told.splitlines(), line


def test_markdown_shows_words_as_they_are() -> None:
    """Marks are escaped, and lines joined."""
    assert markdown("a*b_[c](d)\n<e>") == r"a\*b\_\[c\]\(d\)\\n\<e\>"


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        *((0, 9, "0 %"), (1, 100_000, "< 0.1 %"), (1, 8, "12.5 %"), (3, 4, "75 %")),
        *((99_999, 100_000, "> 99.9 %"), (9, 9, "100 %"), (0, 0, "0 %")),
    ],
)
def test_percent(part: int, whole: int, said: str) -> None:
    """Nothing is not something, and almost all is not all."""
    assert percent(part, whole) == said


def test_many_classes_stay_readable() -> None:
    """A thousand classes are twelve rows, and no item is lost; so are flows."""
    counts = {f"class {number:04}": 1000 - number for number in range(1000)}
    colours = charts.hues(counts)
    rows = charts.distribution(counts, counts, colours).rows
    assert [len(rows), rows[-1].label] == [12, "989 more classes"]
    assert sum(row.after_count for row in rows) == sum(counts.values())
    pairs: dict[tuple[str | None, str | None], int] = {
        (name, "class 0000"): count for name, count in counts.items()
    }
    flows = charts.flows(pairs, colours)
    assert sum(node.items for node in flows.left) + flows.rest == sum(counts.values())
    bottom = max(float(node.y) + float(node.height) for node in flows.left)
    assert bottom == pytest.approx(flows.height, abs=0.2)


def test_a_class_called_new_is_not_what_is_new() -> None:
    """Items that are new and items of the class `new` are two nodes."""
    pairs: dict[tuple[str | None, str | None], int] = {(None, "new"): 1, ("new", None): 2}
    flows = charts.flows(pairs, charts.hues(["new"]))
    assert [(node.label, node.items, node.hue) for node in flows.left] == [
        ("new", 2, 0),
        ("new", 1, None),
    ]
