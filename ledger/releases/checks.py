"""The sanity checks of a release: each a function, in one table, under the name that waives it.

A check looks at a candidate and finds nothing, or items that break its rule. A failed check blocks
the tag unless somebody waived it by name for this release; both are then written into the tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ledger.core.events import GeometryType
from ledger.releases.candidate import Candidate
from ledger.releases.geometry import Bad, Drawn, bad_boxes, bad_polygons, bad_spans
from ledger.releases.sample import ITEMS_MIN, Sample, agreement
from ledger.thresholds import threshold

SHOWN_MAX = 3
"""So many of the items or classes that a check finds are named."""
SHIFT_ITEMS_MIN = 50
"""A class distribution of fewer items is not judged, unless the contract sets `class_shift_max`."""


class Finding(NamedTuple):
    """What a check found: nothing wrong, unless it failed. `measured` is false where there was
    nothing to measure.
    """

    text: str = ""
    failed: bool = False
    measured: bool = True

    def said(self) -> str:
        """As a tag keeps it."""
        verdict = "failed" if self.failed else "passed" if self.measured else "not measured"
        return f"{verdict}: {self.text}" if self.text else verdict


class Check(NamedTuple):
    """One check: the rule in words, and what looks."""

    rule: str
    find: Callable[[Candidate, Sample | None], Finding]


def failed_items(bad: Sequence[Bad]) -> Finding:
    """How many items fail, and the first of them by name."""
    if not bad:
        return Finding()
    ordered = sorted(bad, key=lambda each: each.item_id.encode())
    count = "1 item" if len(bad) == 1 else f"{len(bad):,} items"
    named = first(f"{each.item_id} {each.problem}" for each in ordered)
    return Finding(f"{count}: {named}", failed=True)


def first(names: Iterable[str]) -> str:
    """The first few of what a check found."""
    shown = list(islice(names, SHOWN_MAX + 1))
    return ", ".join(shown[:SHOWN_MAX]) + (", ..." if len(shown) > SHOWN_MAX else "")


def _classes(candidate: Candidate, sample: Sample | None) -> Finding:
    del sample
    classes, found = candidate.contract.classes, candidate.snapshot.labels()
    orphans = {name: count for name, count in found.items() if name not in classes}
    if orphans:
        listed = first(f"{name} {count:,}" for name, count in orphans.items())
        return Finding(f"not in the contract: {listed}", failed=True)
    old = [f"{name} {n:,}" for name, n in found.items() if classes[name].deprecated]
    empty = [name for name, state in classes.items() if name not in found and not state.deprecated]
    notes = [f"deprecated and still used: {first(old)}"] if old else []
    notes += [f"without items: {first(sorted(empty))}"] if empty else []
    return Finding("; ".join(notes))


def _unresolved(candidate: Candidate, sample: Sample | None) -> Finding:
    del sample
    waiting = candidate.unresolved
    most = threshold(candidate.contract, "unresolved_max")
    if not waiting:
        return Finding()
    share = len(waiting) / (len(waiting) + len(candidate.snapshot))
    text = f"{len(waiting):,} fit no part of their class, or several: {first(waiting)}"
    return Finding(text, failed=most is not None and share > most)


def _class_shift(candidate: Candidate, sample: Sample | None) -> Finding:
    del sample
    if candidate.forwarded is None:
        return Finding("no version before it")
    before, after = candidate.forwarded.labels(), candidate.snapshot.labels()
    most = threshold(candidate.contract, "class_shift_max")
    few = min(sum(before.values()), sum(after.values()))
    if most is None or (
        few < SHIFT_ITEMS_MIN and "class_shift_max" not in candidate.contract.thresholds
    ):
        return Finding(f"fewer than {SHIFT_ITEMS_MIN} items say too little", measured=False)
    shift = total_variation(before, after)
    text = f"{shift:.1%} of the distribution moved, at most {most:.1%} may"
    return Finding(text, failed=shift > most)


def _splits(candidate: Candidate, sample: Sample | None) -> Finding:
    del sample
    moved = candidate.tally.left_split
    return Finding(f"{moved:,} items left their split", failed=True) if moved else Finding()


def _agreement(candidate: Candidate, sample: Sample | None) -> Finding:
    thresholds = {
        name: threshold(candidate.contract, name)
        for name in ("agreement_min", "percent_agreement_min")
    }
    asked = [name for name, least in thresholds.items() if least is not None]
    if sample is None:
        if not asked:
            return Finding("no sample was given", measured=False)
        return Finding(f"the contract sets {asked[0]} and no sample was given", failed=True)
    strangers = candidate.without(sample.labels)
    if strangers:
        text = f"the sample names {strangers[0]}, which has no label here"
        return Finding(text, failed=True)
    unknown = sorted(sample.classes - candidate.contract.classes.keys())
    if unknown:
        return Finding(f"the sample says {unknown[0]!r}, which is no class here", failed=True)
    found = agreement(sample)
    least = {name: value for name, value in thresholds.items() if value is not None}
    if least and found.items < ITEMS_MIN:
        text = f"the sample has {found.items} items, and at least {ITEMS_MIN} are asked for"
        return Finding(text, failed=True)
    failed = found.kappa < least.get("agreement_min", found.kappa) or found.share < least.get(
        "percent_agreement_min", found.share
    )
    asks = "".join(f", {name} is {value:g}" for name, value in least.items())
    text = f"kappa {found.kappa:.3f}, {found.share:.1%} of {found.items} items agree{asks}"
    return Finding(text, failed=failed)


def _patches(candidate: Candidate, sample: Sample | None) -> Finding:
    del sample
    cut = patches_in_progress(candidate)
    return Finding(f"settled in part only: {', '.join(cut)}", failed=True) if cut else Finding()


def patches_in_progress(candidate: Candidate) -> list[str]:
    """The patches of which the position holds some of the votes and not all, by name."""
    from ledger.patches import Patches  # which knows ledgers, and they know this

    return sorted(Patches(candidate.book).in_progress(candidate.position))


def _of_drawn(
    kind: GeometryType, bad: Callable[[Iterable[Drawn]], list[Bad]]
) -> Callable[[Candidate, Sample | None], Finding]:
    """A check of the geometries of one kind."""

    def find(candidate: Candidate, sample: Sample | None) -> Finding:
        del sample
        return failed_items(bad(candidate.drawn(kind)))

    return find


CHECKS: Mapping[str, Check] = {
    "classes": Check("every label is a class of the contract", _classes),
    "unresolved": Check("no split left an item without a class", _unresolved),
    "polygons": Check("no polygon is empty or crosses itself", _of_drawn("polygon", bad_polygons)),
    "boxes": Check("every box has a size and lies within its record", _of_drawn("bbox", bad_boxes)),
    "spans": Check("every span lies within its text", _of_drawn("span", bad_spans)),
    "class_shift": Check("classes are distributed about as in the base", _class_shift),
    "splits": Check("no item left its split", _splits),
    "agreement": Check("two annotators agree on a sample", _agreement),
    "patches": Check("no patch is settled in part", _patches),
}


def total_variation(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Half the sum of the differences of shares: the share of items that would have to change class
    to turn one distribution into the other. 1 where one of the two is empty.
    """
    one, two = sum(before.values()), sum(after.values())
    if not one or not two:
        return float(one != two)
    names = sorted(before.keys() | after.keys())
    return sum(abs(before.get(n, 0) * two - after.get(n, 0) * one) for n in names) / (2 * one * two)


def run_checks(candidate: Candidate, sample: Sample | None = None) -> dict[str, Finding]:
    """Every check of the table with what it found, in the table's order."""
    return {name: check.find(candidate, sample) for name, check in CHECKS.items()}
