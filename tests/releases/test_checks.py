"""What has to hold before a tag: each check blocks it, and says which items and how to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import InvalidRequest, Ledger
from ledger.contracts.relabel import columns_of
from ledger.core.events import GeometryType
from ledger.releases import Releases
from ledger.releases.candidate import Candidate
from ledger.releases.checks import CHECKS, total_variation
from ledger.releases.geometry import Bad, bad_boxes, bad_polygons, bad_spans
from tests.events import item, proposal, schema, vote
from tests.releases.stories import registered

PAGE = item("page", None, attributes={"width": 100.0, "height": 50.0}, content="ten chars!")


def drawn(kind: str, *coordinates: float, number: int = 1) -> dict[str, Any]:
    return item(f"page#{number}", "cat", geometry={"type": kind, "coordinates": list(coordinates)})


BAD = {
    "a box without a size": ("boxes", drawn("bbox", 1.0, 1.0, 0.0, 5.0), "page#1 is 0 by 5"),
    "a box with a negative size": ("boxes", drawn("bbox", 9.0, 9.0, -4.0, 5.0), "is -4 by 5"),
    "a box that leaves its page": (
        *("boxes", drawn("bbox", 90.0, 1.0, 20.0, 5.0)),
        "reaches from 90 to 110 of width 100",
    ),
    "a box above its page": ("boxes", drawn("bbox", 0.0, -1.0, 2.0, 5.0), "of height 50"),
    "a polygon of two corners": ("polygons", drawn("polygon", 0.0, 0.0, 1.0, 1.0), "has 2 corners"),
    "an empty polygon": ("polygons", drawn("polygon"), "has 0 corners"),
    "a polygon without an area": (
        *("polygons", drawn("polygon", 0.0, 0.0, 1.0, 1.0, 2.0, 2.0)),
        "has no area",
    ),
    "a bow tie": (
        *("polygons", drawn("polygon", 0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0, 1.0)),
        "crosses itself",
    ),
    "a polygon that leaves its page": (
        *("polygons", drawn("polygon", 0.0, 0.0, 200.0, 0.0, 0.0, 9.0)),
        "reaches from 0 to 200 of width 100",
    ),
    "an empty span": ("spans", drawn("span", 3.0, 3.0), "is empty: [3, 3)"),
    "a span that ends before it starts": ("spans", drawn("span", 5.0, 3.0), "is empty"),
    "a span beyond its text": ("spans", drawn("span", 3.0, 11.0), "is [3, 11) of 10 characters"),
    "a span before its text": ("spans", drawn("span", -1.0, 3.0), "is [-1, 3)"),
}


def by_columns(patch: pytest.MonkeyPatch) -> None:
    """Short logs too."""
    for module in ("ledger.reading", "ledger.replay", "ledger.contracts.unresolved"):
        patch.setattr(f"{module}.COLUMNS_FROM", 1)


@pytest.mark.parametrize("way", ["columns", "checkpoints"])
def test_columns_find_what_rows_find(
    book: Ledger, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replayed, and from checkpoints; whatever the events are folded by."""
    pytest.importorskip("polars")
    from tests.lineage.test_evidence import store

    bad = [fields | {"item_id": f"page#{i}"} for i, (_, fields, _) in enumerate(BAD.values())]
    more = [
        item("still", "cat", attributes={"width": "wide", "height": 9.0}),
        item("still#1", "cat", geometry={"type": "bbox", "coordinates": [0.0, 1.0, 99.0, 9.0]}),
        item("added", None, attributes={"width": 5.0}),
        proposal("add", "added#1", None, "cat", to_geometry=box(0.0, 0.0, 6.0, 1.0)),
        vote("add", "added#1"),
        item("redrawn", None, attributes={"height": 5.0}),
        item("redrawn#1", "cat", geometry=box(0.0, 0.0, 1.0, 9.0)),
        item("redrawn#2", "cat", geometry=box(0.0, 0.0, 1.0, 1.0)),
        *_redrawn("redrawn#1", box(0.0, 0.0, 1.0, 9.0), box(0.0, 0.0, 1.0, 5.0)),
        *_redrawn("redrawn#2", box(0.0, 0.0, 1.0, 1.0), box(0.0, 0.0, 1.0, -1.0)),
    ]
    book.append([schema(1, "cat"), PAGE, *bad, *more])
    kinds: dict[GeometryType, Any] = {
        "bbox": bad_boxes,
        "polygon": bad_polygons,
        "span": bad_spans,
    }

    def found() -> dict[str, list[Bad]]:
        candidate = Candidate.at(book, book.resolve())
        return {kind: sorted(look(candidate.drawn(kind))) for kind, look in kinds.items()}

    expected = found()
    names = [each.item_id for each in expected["bbox"]]
    assert names == ["added#1", *[f"page#{i}" for i in range(4)], "redrawn#2", "still#1"]
    if way == "checkpoints":
        store(book)
    by_columns(monkeypatch)
    assert columns_of(book.snapshot()) is not None
    assert found() == expected


def _redrawn(item_id: str, old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    name = f"redraw {item_id}"
    made = proposal(name, item_id, "cat", "cat", from_geometry=old, to_geometry=new)
    return [made, vote(name, item_id)]


def box(*coordinates: float) -> dict[str, Any]:
    return {"type": "bbox", "coordinates": list(coordinates)}


@pytest.mark.parametrize(("check", "bad", "said"), BAD.values(), ids=BAD)
def test_bad_geometry(book: Ledger, check: str, bad: dict[str, Any], said: str) -> None:
    """The tag is blocked, nothing is appended; check, item and the way out are named."""
    book.append([schema(1, "cat"), PAGE, bad])
    before = book.resolve()
    with pytest.raises(InvalidRequest) as refused:
        book.tag("v1", actor="ann")
    assert f"check '{check}' failed: 1 item: page#1 " in str(refused.value)
    assert said in str(refused.value)
    assert f"errata waive v1 {check} --reason" in str(refused.value)
    assert book.resolve() == before
    assert [name for name, found in Releases(book).check().items() if found.failed] == [check]


def test_good_geometry(book: Ledger) -> None:
    """What touches the edges is within, and an item without a label is not looked at."""
    whole = drawn("bbox", 0.0, 0.0, 100.0, 50.0)
    text = drawn("span", 0.0, 10.0, number=2)
    triangle = drawn("polygon", 0.0, 0.0, 100.0, 0.0, 0.0, 50.0, number=3)
    nobody = {**drawn("bbox", 0.0, 0.0, -1.0, 0.0, number=4), "label": None}
    unmeasured = item("x", "cat", geometry={"type": "bbox", "coordinates": [-9.0, 0.0, 1e6, 1.0]})
    book.append([schema(1, "cat"), PAGE, whole, text, triangle, nobody, unmeasured])
    assert set(book.tag("v1", actor="ann").checks.values()) == {
        *("passed", "passed: no version before it", "not measured: no sample was given")
    }


def test_many_bad_items_are_counted_and_three_named(book: Ledger) -> None:
    """A thousand broken boxes make a sentence, not a flood."""
    boxes = [drawn("bbox", 0.0, 0.0, 0.0, 0.0, number=number) for number in range(1000, 2000)]
    book.append([schema(1, "cat"), PAGE, *boxes])
    found = Releases(book).check()["boxes"]
    assert found.text.startswith("1,000 items: page#1000 is 0 by 0, page#1001 is 0 by 0, page#1002")
    assert found.text.endswith(", ...")


def test_a_waiver(book: Ledger) -> None:
    """A failed check that was waived by name is written into the tag, for this release only."""
    book.append([schema(1, "cat"), PAGE, drawn("bbox", 0.0, 0.0, 0.0, 0.0)])
    releases = Releases(book)
    releases.waive("v1", "boxes", actor="bob", approved_by="ann", reason="one only")
    tag = book.tag("v1", actor="ann")
    assert tag.waivers == ("boxes",)
    assert tag.checks["boxes"] == "failed, waived by bob: one only (1 item: page#1 is 0 by 0)"
    assert tag.checks["spans"] == "passed"
    with pytest.raises(InvalidRequest, match="check 'boxes' failed"):
        book.tag("v2", actor="ann")


def test_a_waiver_of_what_passes_is_no_waiver(book: Ledger) -> None:
    """The tag names those only that let something fail."""
    book.append([schema(1, "cat"), item("a", "cat")])
    Releases(book).waive("v1", "boxes", actor="bob", approved_by="ann", reason="to be sure")
    tag = book.tag("v1", actor="ann")
    assert (tag.waivers, tag.checks["boxes"]) == ((), "passed")


def test_a_waiver_that_cannot_be(book: Ledger) -> None:
    """Unknown check, tagged release, no reason, twice, one's own approval, no admin."""
    releases = Releases(book)
    good: dict[str, Any] = {"actor": "bob", "approved_by": "ann", "reason": "r"}
    with pytest.raises(InvalidRequest, match="no check 'luck'; there are: classes, unresolved, "):
        releases.waive("v1", "luck", **good)
    with pytest.raises(InvalidRequest, match="its reason is empty"):
        releases.waive("v1", "boxes", **{**good, "reason": " "})
    with pytest.raises(InvalidRequest, match="refused as not_permitted"):
        releases.waive("v1", "boxes", **{**good, "approved_by": "bob"})
    releases.waive("v1", "boxes", **good)
    with pytest.raises(InvalidRequest, match="is waived already"):
        releases.waive("v1", "boxes", **good)
    book.tag("v0", actor="ann")
    with pytest.raises(InvalidRequest, match="'v0' is tagged already, and only the gate may"):
        releases.waive("v0", "boxes", **good)
    releases.waive("v0", "overdue", **good)
    book.append(
        [{"type": "PolicyChanged", "version": 1, "roles": {"admin": ["max"]}, "actor": "a"}]
    )
    with pytest.raises(InvalidRequest, match="refused as not_permitted"):
        releases.waive("v1", "spans", **good)
    assert list(book.governance.register.waivers) == [("v1", "boxes"), ("v0", "overdue")]


def test_the_shift_of_classes(book: Ledger) -> None:
    """Beyond the contract's bound it blocks; a rename is no shift."""
    more: dict[str, Any] = {"actor": "ann"}
    book.append([schema(1, "cat", "dog", "automobile", "bird"), *registered(100)])
    book.tag("v1", **more)
    rename = {"type": "SchemaChanged", "version": 2, "rename": {"cat": "feline"}, **more}
    book.append([rename, *(item(f"n{number}", "dog") for number in range(20))])
    found = Releases(book).check()["class_shift"]
    assert found.said() == "passed: 12.5% of the distribution moved, at most 25.0% may"
    policy = {"type": "PolicyChanged", "version": 3, "thresholds": {"class_shift_max": 0.1}, **more}
    book.append([policy])
    with pytest.raises(InvalidRequest, match=r"check 'class_shift' failed: 12\.5% of the "):
        book.tag("v2", **more)


def test_a_shift_of_few_items_says_nothing(book: Ledger) -> None:
    """Few items are judged only where the contract sets the bound itself."""
    more: dict[str, Any] = {"actor": "ann"}
    book.append([schema(1, "cat", "dog"), item("a", "cat")])
    book.tag("v1", **more)
    book.append([item("b", "dog")])
    assert Releases(book).check()["class_shift"].said() == (
        "not measured: fewer than 50 items say too little"
    )
    policy = {"type": "PolicyChanged", "version": 2, "thresholds": {"class_shift_max": 0.1}, **more}
    book.append([policy])
    assert Releases(book).check()["class_shift"].failed


def test_total_variation() -> None:
    """Half the sum of the differences of shares."""
    assert total_variation({"a": 1, "b": 1}, {"a": 2, "b": 2}) == 0
    assert total_variation({"a": 1}, {"b": 5}) == 1
    assert total_variation({"a": 3, "b": 1}, {"a": 1, "b": 1}) == pytest.approx(0.25)
    assert total_variation({}, {"a": 1}) == 1
    assert total_variation({}, {}) == 0


def test_classes_are_looked_at(book: Ledger) -> None:
    """Deprecated classes in use and classes without items are notes, and block nothing."""
    book.append([schema(1, "cat", "dog", "emu"), item("a", "cat")])
    book.append([{**schema(2), "deprecate": ["cat", "emu"]}])
    said = Releases(book).check()["classes"].said()
    assert said == "passed: deprecated and still used: cat 1; without items: dog"


def test_items_without_a_class_block(book: Ledger) -> None:
    """What a split leaves out would be missing from the release: that is said before, not after."""
    rules = {"small": "area < 5", "large": "area >= 5"}
    book.append([schema(1, "dog"), item("a", "dog"), item("b", "dog", attributes={"area": 9.0})])
    book.append([{**schema(2), "split": {"dog": rules}}])
    found = Releases(book).check()["unresolved"]
    assert found.said() == "failed: 1 fit no part of their class, or several: a"


def test_every_check_is_in_the_tag(book: Ledger) -> None:
    """None is left out, in the table's order."""
    assert list(book.tag("v1", actor="ann").checks) == list(CHECKS)


def sample(path: Path, labels: list[tuple[str, str]]) -> Path:
    """Items n0, n1, ... labelled by two people."""
    lines = [
        json.dumps({"id": f"n{number}", "annotator": who, "label": label})
        for number, pair in enumerate(labels)
        for who, label in zip(("zoe", "kim"), pair, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_agreement(book: Ledger, tmp_path: Path) -> None:
    """Percent and kappa are in the tag; below the contract's bound they block it."""
    book.append([schema(1, "cat", "dog"), *(item(f"n{each}", "cat") for each in range(50))])
    pairs = [("cat", "cat")] * 20 + [("dog", "dog")] * 15 + [("cat", "dog")] * 5
    path = sample(tmp_path / "s.jsonl", pairs + [("dog", "cat")] * 10)
    said = "kappa 0.400, 70.0% of 50 items agree"
    assert book.tag("v1", actor="ann", sample=path).checks["agreement"] == f"passed: {said}"
    policy = {"type": "PolicyChanged", "version": 2, "actor": "ann"}
    book.append([{**policy, "thresholds": {"agreement_min": 0.6}}])
    with pytest.raises(InvalidRequest, match=f"{said}, agreement_min is 0.6"):
        book.tag("v2", actor="ann", sample=path)
    with pytest.raises(InvalidRequest, match="sets agreement_min and no sample was given"):
        book.tag("v2", actor="ann")
    few = sample(tmp_path / "few.jsonl", [("cat", "cat")] * 49)
    with pytest.raises(InvalidRequest, match="the sample has 49 items, and at least 50 are asked"):
        book.tag("v2", actor="ann", sample=few)
    good = sample(tmp_path / "good.jsonl", [("cat", "cat")] * 25 + [("dog", "dog")] * 25)
    tag = book.tag("v2", actor="ann", sample=good)
    assert tag.checks["agreement"].startswith("passed: kappa 1.000, 100.0% of 50 items agree")


LINE = {"id": "n0", "annotator": "zoe", "label": "cat"}
WRONG: dict[str, tuple[list[Any], str]] = {
    "three annotators": (
        *([LINE, {**LINE, "annotator": "kim"}, {**LINE, "annotator": "lee"}],),
        "item 'n0' was labelled by 3 annotators",
    ),
    "one annotator": ([LINE], "item 'n0' was labelled by 1 annotators"),
    "the same one twice": ([LINE, LINE], "line 2: annotator 'zoe' labelled item 'n0' already"),
    "another key": ([{**LINE, "x": "y"}], "line 1: a line is "),
    "a number": ([{**LINE, "label": 3}], "line 1: a line is "),
    "no object": ([3], "line 1: not a JSON object"),
    "nothing": ([], "holds no line"),
    "a stranger": (
        *([{**LINE, "id": "x"}, {**LINE, "id": "x", "annotator": "kim"}],),
        "the sample names x, which has no label here",
    ),
    "no class": (
        *([{**LINE, "label": "ox"}, {**LINE, "annotator": "kim"}],),
        "the sample says 'ox', which is no class here",
    ),
    "nobody": ([{**LINE, "annotator": ""}], "line 1: a line is "),
}


@pytest.mark.parametrize(("lines", "said"), WRONG.values(), ids=WRONG)
def test_a_sample_that_cannot_be(book: Ledger, tmp_path: Path, lines: list[Any], said: str) -> None:
    """It is refused with the line and the rule, and nothing is tagged."""
    book.append([schema(1, "cat"), item("n0", "cat")])
    path = tmp_path / "s.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(InvalidRequest) as refused:
        book.tag("v1", actor="ann", sample=path)
    assert said in str(refused.value)
    assert not book.governance.tags
