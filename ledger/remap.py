"""Whether the metrics of two versions may be compared, and after which renaming.

    from ledger import Ledger
    from ledger.remap import compare

    found = compare(Ledger.open("sqlite:///animals.db", "animals"), "labels-v1.0", "labels-v2.0")
    found.verdict                                 # 'fair_after_remap'
    found.remap.aggregate_for_old                 # {'dog': ('dog_small', 'dog_large')}
    found.remap.apply(["cat", "dog_large"])       # ['cat', 'dog']

Two things decide. *Classes*: a class of one version is followed to those it became in the other
one; classes that meet on the way are one *common class*, the finest that both versions can tell.
A class that is one to one is called as in the old version, a split one too, and merged ones as in
the new version. *Labels*: where labels of a split differ by more than that, the two versions
measure against different truths, and results on that split compare only when both models are
measured on the same version. Labels for training may differ: they are what a version is made for.

Settled here: versions of which one stands under a contract that a rollback took back are compared
by way of the last contract that both have; a class added again after that is the same one when
name, meaning and anchor are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ledger.contracts.common import Bond, Remap, bonds, inverse, leads_to, remap_of
from ledger.contracts.relabel import counts, difference
from ledger.core.position import Position
from ledger.reading import HEAD, Reading, Where
from ledger.tally import tally

Verdict = Literal["fair", "fair_after_remap", "not_fair"]
_WORSE: tuple[Verdict, ...] = ("fair", "fair_after_remap", "not_fair")
_TOLD_MAX = 10
TRAINING = frozenset({"train", "training"})
"""Splits that nothing is measured on."""


@dataclass(frozen=True)
class Comparison:
    """Whether results of models on two versions compare.

    Attributes:
        old: the one version, as it was asked for.
        new: the other one.
        verdict: the worst of the splits that something is measured on.
        reasons: why, a sentence each; they name neither version nor offsets.
        remap: how to name labels and predictions first.
        changed_by_split: how many items of each split (`""` for none) differ in label or geometry
            beyond the names, or are in one version only.
        by_split: the verdict for results on each split that there is, training included.
    """

    old: str
    new: str
    verdict: Verdict
    reasons: tuple[str, ...]
    remap: Remap
    changed_by_split: Mapping[str, int]
    by_split: Mapping[str, Verdict]


def compare(book: Reading, old: Where, new: Where = HEAD) -> Comparison:
    """Whether, and how, metrics at two positions compare.

    Args:
        book: the ledger.
        old: what was measured on first: a version's name, or any other position.
        new: what it is to be compared with.
    """
    positions = book.resolve(old), book.resolve(new)
    before, after = (book.governance.prefix(each.governance) for each in positions)
    common = bonds(before, after)
    remap = remap_of(common)
    one, two = (book.snapshot(each) for each in positions)
    if remap == Remap() and book.checkpoints is not None:
        differing = book.diff(*positions)  # which costs no more than what lies between them
    else:
        differing = difference(
            one, two, inverse(remap.aggregate_for_new), inverse(remap.aggregate_for_old)
        )
    changed = tally(differing).by_split
    straight: Verdict = "fair" if all(bond.one_to_one for bond in common) else "fair_after_remap"
    splits = {split for each in (one, two) for _, split in counts(each)}
    verdicts: dict[str, Verdict] = {
        split: "not_fair" if changed.get(split) else straight for split in sorted(splits)
    }
    measured = [verdict for split, verdict in verdicts.items() if split not in TRAINING]
    shared = any(bond.old and bond.new for bond in common)
    verdict: Verdict = max([straight, *measured], key=_WORSE.index) if shared else "not_fair"
    reasons = (*_about_classes(common), *_about_splits(changed, verdicts))
    if not leads_to(before, after):
        reasons = (_BY_WAY, *reasons)
    return Comparison(_text(old), _text(new), verdict, reasons, remap, changed, verdicts)


_BY_WAY = (
    "the contract of the old version does not lead to that of the new one (a rollback took it "
    "back, or it is the later one): classes are compared by way of the last contract of both"
)


def _about_classes(common: Iterable[Bond]) -> Iterator[str]:
    """What happened to each class that is not simply there in both; of very many alike, a few."""
    told = Counter[tuple[bool, bool]]()
    for bond in common:
        if bond.old == bond.new and bond.one_to_one:
            continue
        kind = len(bond.old) == 1, len(bond.new) == 1
        told[kind] += 1
        if told[kind] <= _TOLD_MAX:
            yield _about(bond)
    for count in told.values():
        if count > _TOLD_MAX:
            yield f"and {count - _TOLD_MAX} more classes in like manner"
    if not told:
        yield "the classes are the same"


def _about(bond: Bond) -> str:
    old, new = _list(bond.old), _list(bond.new)
    match len(bond.old), len(bond.new):
        case 1, 1:
            return f"{old} is called {new} now: the same class, one to one"
        case 0, _:
            return f"{new} is new: no class of the old version counts as it"
        case _, 0:
            return f"{old} has no class of the new version that counts as it"
        case 1, _:
            return f"{old} is told apart into {new}: count them together as {bond.name!r}"
        case _, 1:
            return f"{old} are one class now, {new}: count them together as {bond.name!r}"
        case _:
            return f"{old} became {new} crosswise: count all of them together as {bond.name!r}"


def _about_splits(changed: Mapping[str, int], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    for split, verdict in verdicts.items():
        count = changed.get(split, 0)
        where = f"split {split!r}" if split else "items without a split"
        if not count:
            yield f"{where}: no label changed, {_SAYS[verdict]}"
            continue
        items = "1 item differs" if count == 1 else f"{count} items differ"
        what = (
            "nothing is measured on it, so that this is no matter of fairness"
            if split in TRAINING
            else "results on it compare only if both models are measured on the same version"
        )
        yield f"{where}: {items}; {what}"


_SAYS: Mapping[Verdict, str] = {
    "fair": "results on it compare as they are",
    "fair_after_remap": "results on it compare after the remap",
    "not_fair": "",
}


def _list(names: Sequence[str]) -> str:
    *most, last = map(repr, names) if names else [""]
    return f"{', '.join(most)} and {last}" if most else last


def _text(where: Where) -> str:
    match where:
        case Position():
            return where.text()
        case datetime():
            return where.isoformat()
        case _:
            return where
