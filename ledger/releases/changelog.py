"""The changelog: one entry for each version, in the fixed keys that people and scripts know.

    version: labels-v1.3
    base: labels-v1.2
    date: 2026-01-04
    author: Sam Reviewer: Alex
    reason: Corrected 12 dog->cat errors found by triage query
    artifacts:
      patch: edits-v1.2-to-v1.3.jsonl
      guideline: G-2024-07
    checks:
      changed_items: 12
      class_counts_delta: {"dog": -12, "cat": +12}

An entry is made from the tag alone, so that the changelog of a long log costs no replay; what a tag
of another program leaves out is counted first (see `facts.completed`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping

from ledger.core.events import PatchProposed, VersionTagged
from ledger.core.governance import Governance
from ledger.printable import printable

NONE = "none"
_HEADERS = (
    *("version", "base", "date", "author", "reviewer", "reason", "contract_version", "items"),
    *("changed_items", "test_version", "sha256"),
)


def entry(tag: VersionTagged, patches: Iterable[PatchProposed]) -> str:
    """One version's entry; what somebody wrote stays on its line."""
    named = ", ".join(patch.file or patch.patch_id for patch in patches)
    lines = [
        ("version", tag.name),
        ("base", tag.base or NONE),
        ("date", tag.occurred_at.date().isoformat()),
        ("author", f"{tag.author or tag.actor} Reviewer: {tag.reviewer or NONE}"),
        ("reason", tag.reason or NONE),
        ("artifacts", None),
        ("  patch", named or NONE),
        ("  guideline", tag.guideline or NONE),
        ("checks", None),
        ("  changed_items", str(changed_items(tag))),
        ("  class_counts_delta", deltas(tag.class_deltas)),
    ]
    return "".join(
        f"{key}:\n" if value is None else f"{key}: {printable(value)}\n" for key, value in lines
    )


def changed_items(tag: VersionTagged) -> int:
    """How many items differ from the base."""
    return sum(tag.changed_by_split.values())


def deltas(counts: Mapping[str, int]) -> str:
    """Class deltas as the template has them: with their signs, what shrank first."""
    ordered = sorted(counts.items(), key=lambda pair: (pair[1], pair[0]))
    return "{" + ", ".join(f"{json.dumps(n, ensure_ascii=False)}: {c:+d}" for n, c in ordered) + "}"


def changelog(governance: Governance, tags: Iterable[VersionTagged]) -> str:
    """The entries of these versions, oldest given first, as Markdown with the newest on top."""
    parts = [section(tag, patches_by_hash(governance, tag)) for tag in tags]
    return "# Changelog\n" + "".join(f"\n{part}" for part in reversed(parts))


def section(tag: VersionTagged, patches: Iterable[PatchProposed]) -> str:
    """One version's entry under a heading."""
    return f"## {markdown(tag.name)}\n\n```text\n{entry(tag, patches)}```\n"


def patches_by_hash(governance: Governance, tag: VersionTagged) -> list[PatchProposed]:
    """The patches that a tag names by their SHA-256, in its order; one that is on no record is left
    out.
    """
    known: dict[str, PatchProposed] = {}
    for name in sorted(governance.register.patches):
        patch = governance.register.patches[name].event
        known.setdefault(patch.sha256, patch)
    return [known[sha256] for sha256 in tag.patch_hashes if sha256 in known]


def versions_csv(governance: Governance, tags: Iterable[VersionTagged]) -> str:
    """These versions as lines of CSV, in their order: a table for spreadsheets and scripts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADERS)
    for tag in tags:
        contract = governance.prefix(tag.position.governance).contract
        writer.writerow(
            (
                *(tag.name, tag.base or "", tag.occurred_at.date().isoformat()),
                *(tag.author or tag.actor, tag.reviewer or "", tag.reason or ""),
                *(contract.version, sum(tag.counts.values()), changed_items(tag)),
                *(tag.test_version or "", tag.content_hash or ""),
            )
        )
    return text.getvalue()


_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in r"\`*_{}[]<>()#|!~"})


def markdown(text: str) -> str:
    """Somebody's words as Markdown that shows them as they are, on one line."""
    return printable(text).translate(_SPECIAL)
