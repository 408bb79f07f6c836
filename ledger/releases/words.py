"""How facts are said: the same words in the notes, on the page and in the commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ledger.core.events import SchemaChanged
from ledger.releases.checks import CHECKS
from ledger.releases.facts import Facts, Measured, WentBack
from ledger.releases.splits import TEST
from ledger.remap import TRAINING, Remap
from ledger.tally import Kind

_VERDICTS: Mapping[str, str] = {
    "fair": "Results compare as they are",
    "fair_after_remap": "Results compare after the remap",
    "not_fair": "Results do not compare",
}
_METRICS: Mapping[str, str] = {
    "fair": "",
    "fair_after_remap": "; compare after the remap",
    "not_fair": "; not to be compared unless both were measured on the same labels",
}
KINDS: Mapping[Kind, tuple[str, str]] = {
    "relabelled": ("item has another class", "items have another class"),
    "redrawn": ("item has another geometry", "items have another geometry"),
    "added": ("item is new", "items are new"),
    "removed": ("item is gone", "items are gone"),
    "moved": ("item has another split", "items have another split"),
}


class SplitFairness(NamedTuple):
    """What may be compared on one split: its name (`""` for none), items and changed ones."""

    split: str
    items: int
    changed: int
    verdict: str
    words: str


class CheckSaid(NamedTuple):
    """One check as its tag keeps it: passed, waived, or not measured."""

    name: str
    rule: str
    status: str
    detail: str


def plural(count: int, one: str, many: str) -> str:
    """`1 item is new`, `1,200 items are new`."""
    return f"1 {one}" if count == 1 else f"{count:,} {many}"


def percent(part: int, whole: int) -> str:
    """A share for people; never 0 % or 100 % of what is not."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %".replace(".0 %", " %")


def number(value: float) -> str:
    """A metric: as many digits as it has, six at most."""
    return f"{value:.6g}"


def split_name(split: str) -> str:
    """A split for people."""
    return split or "no split"


def split_order(split: str) -> tuple[int, str]:
    """Training first, test last, others in between by name, items without a split at the end."""
    place = 0 if split in TRAINING else 3 if not split else 2 if split == TEST else 1
    return place, split


def headline(facts: Facts) -> str:
    """What the version is, in one sentence."""
    if facts.base is None:
        return f"The first version: {plural(facts.items, 'item', 'items')} with a label."
    changed = facts.changes.changed
    if not changed and not facts.schema_changes:
        return f"No label differs from {facts.base.name}."
    kinds = dict(facts.changes.kinds)
    unclassed = min(facts.unresolved, kinds.get("removed", 0)) if facts.schema_changes else 0
    kinds["removed"] = kinds.get("removed", 0) - unclassed
    parts = [plural(count, *KINDS[kind]) for kind in KINDS if (count := kinds.get(kind, 0))]
    if unclassed:
        left = plural(unclassed, "item has", "items have")
        parts.append(f"{left} no class, for a split left them without")
    told = "; ".join(parts) or "no item changed beyond the names of its class"
    return f"Beside {facts.base.name}: {told}."


def fairness(facts: Facts) -> list[SplitFairness]:
    """What may be compared with the base, split by split."""
    comparison, base = facts.comparison, facts.base
    if comparison is None or base is None:
        return []
    found: list[SplitFairness] = []
    names = comparison.by_split.keys() | facts.splits.keys()
    for split in sorted(names, key=split_order):
        changed = comparison.changed_by_split.get(split, 0)
        verdict = comparison.by_split.get(split, comparison.verdict)
        words = _of_split(split, changed, verdict, base.name, facts.name)
        found.append(SplitFairness(split, facts.splits.get(split, 0), changed, verdict, words))
    return found


def verdict(facts: Facts) -> str:
    """Whether results compare with those on the base, naming the splits on which they don't."""
    if facts.comparison is None:
        return ""
    unfair = [
        split_name(each.split)
        for each in fairness(facts)
        if each.verdict == "not_fair" and each.split not in TRAINING
    ]
    words = _VERDICTS[facts.comparison.verdict]
    if facts.comparison.verdict != "not_fair" or not unfair:
        return words
    return f"Results on {' and '.join(unfair)} do not compare"


def reasons(facts: Facts) -> list[str]:
    """Why results compare or not, as far as it is not about one split."""
    found = facts.comparison.reasons if facts.comparison else ()
    told = [each for each in found if not each.startswith(("split ", "items without a split"))]
    return [*told, *([facts.test_note] if facts.test_note else [])]


def _of_split(split: str, changed: int, verdict: str, old: str, new: str) -> str:
    if split in TRAINING:
        told = f"{plural(changed, 'label', 'labels')} changed" if changed else "No label changed"
        return f"{told}; models learn from it and nothing is measured on it."
    if changed:
        return (
            f"{plural(changed, 'item differs', 'items differ')}: past results are not comparable. "
            f"Measure the models of {old} again on {new} before you compare."
        )
    if verdict == "fair_after_remap":
        return "No label changed beyond the classes: past results stay fair after the remap."
    return "No label changed: past results stay fair."


def checks(facts: Facts) -> list[CheckSaid]:
    """The checks that the tag keeps, in the order of the table."""
    said = facts.tag.checks
    names = [name for name in CHECKS if name in said] + sorted(said.keys() - CHECKS.keys())
    found: list[CheckSaid] = []
    for name in names:
        text = said[name]
        status, _, detail = text.partition(": ")
        if text.startswith("failed, waived"):
            status, detail = "waived", text.removeprefix("failed, ")
        rule = CHECKS[name].rule if name in CHECKS else ""
        found.append(CheckSaid(name, rule, status, detail))
    return found


def schema_lines(change: SchemaChanged) -> Iterator[str]:
    """What a change of the contract did to the classes, a line each."""
    for old, new in change.rename.items():
        yield f"{old} is called {new}"
    for old, new in change.merge.items():
        yield f"{old} is part of {new}"
    for old, parts in change.split.items():
        for new, rule in parts.items():
            yield f"{old} is {new} where {rule}"
    for added in change.add:
        yield f"{added.name} is new" + (f": {added.meaning}" if added.meaning else "")
    for name in change.deprecate:
        yield f"{name} is deprecated"


def rollback_line(gone: WentBack) -> str:
    """One rollback in a sentence."""
    line = f"Rolled back to {gone.to or 'an earlier position'} by {gone.actor}"
    line += f", approved by {gone.approved_by}" if gone.approved_by else ""
    return line + (f": {gone.reason}" if gone.reason else "")


def remap_lines(remap: Remap) -> Iterator[str]:
    """How to count so that results compare with the base's, a sentence each."""
    for common, names in remap.aggregate_for_old.items():
        yield f"To compare with the base, count {' and '.join(names)} as {common}."
    for common, names in remap.aggregate_for_new.items():
        yield f"To compare with the base, count its {' and '.join(names)} as {common}."


def metric_line(measured: Measured) -> str:
    """One metric beside the one before, and whether that may be done."""
    line = f"{measured.metric} {number(measured.value)}"
    if measured.base_value is None:
        return line
    delta = measured.value - measured.base_value
    line = f"{line} ({delta:+.4g} beside {measured.base_model}, {number(measured.base_value)}"
    return f"{line}{_METRICS[measured.verdict]})"
