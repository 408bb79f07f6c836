"""A patch of twenty validation labels makes the next version, and its page says what stays fair."""

from __future__ import annotations

from pathlib import Path

from ledger import Ledger
from ledger.releases import Releases
from ledger.releases.words import fairness, verdict
from tests.releases.stories import validation_only


def test_twenty_validation_fixes(book: Ledger, tmp_path: Path) -> None:
    """Changed per split, class deltas, and the note: validation is measured again, test is fair."""
    validation_only(book)
    tag = book.version("labels-v1.6")
    assert (tag.base, tag.test_version) == ("labels-v1.5", "test-v1")
    assert tag.changed_by_split == {"val": 20}
    assert tag.class_deltas == {"bird": -8, "cat": 12, "dog": -4}
    assert tag.changed_by_class == {"cat": 12, "dog": 8}
    facts = Releases(book).facts("labels-v1.6")
    assert facts.corrections.sources == {"patch": 12, "audit": 8}
    assert [patch.file for patch in facts.patches] == ["edits-v1.5-to-v1.6.jsonl"]
    assert verdict(facts) == "Results on val do not compare"
    assert {each.split: each.words for each in fairness(facts)} == {
        "train": "No label changed; models learn from it and nothing is measured on it.",
        "val": "20 items differ: past results are not comparable. Measure the models of "
        "labels-v1.5 again on labels-v1.6 before you compare.",
        "test": "No label changed: past results stay fair.",
    }
    page = (Releases(book).write("labels-v1.6", tmp_path) / "qa.html").read_text()
    for told in ("<b>20</b> of 120", "Results on val do not compare", "test stays fair", "+12"):
        assert told in page


def test_the_changelog_entry(book: Ledger) -> None:
    """The fixed keys, in their order."""
    validation_only(book)
    date = book.version("labels-v1.6").occurred_at.date().isoformat()
    entry = Releases(book).changelog().split("```text\n")[1].split("```")[0]
    assert entry == (
        "version: labels-v1.6\n"
        "base: labels-v1.5\n"
        f"date: {date}\n"
        "author: sam Reviewer: alex\n"
        "reason: Corrected 20 validation labels found by triage\n"
        "artifacts:\n"
        "  patch: edits-v1.5-to-v1.6.jsonl\n"
        "  guideline: G-2024-07\n"
        "checks:\n"
        "  changed_items: 20\n"
        '  class_counts_delta: {"bird": -8, "dog": -4, "cat": +12}\n'
    )
