"""The checks of the gate: each a function in one table, under the name that waives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ledger.core.contract import Contract
from ledger.core.events import ModelRegistered, VersionTagged
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.errors import ConfigurationError
from ledger.gating.verdict import Check
from ledger.ledger import Ledger
from ledger.lineage.models import Lineage
from ledger.lineage.retraining import progress
from ledger.patches import Patches
from ledger.releases.candidate import forward
from ledger.releases.checks import SHIFT_ITEMS_MIN, total_variation
from ledger.service_levels import level
from ledger.thresholds import threshold

if TYPE_CHECKING:
    from ledger.lineage.evidence import Evidence


@dataclass(frozen=True)
class Asked:
    """What the checks look at: a position, the version that it is, if any, the version that it is
    compared with, and a model.
    """

    book: Ledger
    position: Position
    tag: VersionTagged | None
    base: VersionTagged | None
    model: ModelRegistered | None

    @cached_property
    def contract(self) -> Contract:
        """The contract in force now."""
        return self.book.governance.contract

    @cached_property
    def evidence(self) -> Evidence:
        """What stood at the position."""
        try:
            from ledger.lineage.evidence import evidence
        except ImportError as error:
            raise ConfigurationError(
                f"the gate needs the extra `releases` ({error}): pip install 'errata[releases]'"
            ) from error
        return evidence(self.book, self.position)

    def limit(self, name: str) -> float | None:
        """The contract's threshold."""
        return threshold(self.contract, name)

    def most(self, name: str, value: float, limit: str, what: str) -> Check:
        """A check of a value that may not be too high."""
        most = self.limit(limit)
        if most is None:
            return Check(name, value, None, None, f"{what}; the contract sets no {limit}")
        return Check(name, value, most, value <= most, f"{what}; at most {most:g}")


def measured(asked: Asked) -> Iterator[Check]:
    """Every check that applies."""
    for check in CHECKS.values():
        found = check(asked)
        if found is not None:
            yield found


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def _unresolved(asked: Asked) -> Check:
    items = asked.evidence.items
    count = int(items["unresolved"].sum())
    what = f"{count} of {len(items)} items were left without a class by a split"
    return asked.most("unresolved", _share(count, len(items)), "unresolved_max", what)


def _labelled(asked: Asked) -> Check:
    items, least = asked.evidence.items, asked.limit("labelled_min")
    count = len(items) - items["label"].null_count()
    value = _share(count, len(items))
    what = f"{count} of {len(items)} items have a label"
    if least is None:
        return Check("labelled", value, None, None, f"{what}; the contract sets no labelled_min")
    return Check("labelled", value, least, value >= least, f"{what}; at least {least:g}")


def _open_corrections(asked: Asked) -> Check:
    items = len(asked.evidence.items)
    count = asked.evidence.open["item_id"].n_unique()
    what = f"{count} items have a correction that waits, and there are {items}"
    return asked.most("open_corrections", _share(count, items), "open_corrections_max", what)


def _overdue(asked: Asked) -> Check:
    now, late = asked.evidence.latest_ms, dict[str, int]()
    for state, since_ms in asked.evidence.waiting():
        seconds = level(asked.contract, Outcome(state))
        if seconds is not None:
            late[state] = sum(now - since > seconds * 1000 for since in since_ms)
    listed = ", ".join(f"{count} {state}" for state, count in late.items())
    what = f"waiting for too long: {listed}" if late else "the contract sets no service level"
    return asked.most("overdue", float(sum(late.values())), "overdue_max", what)


def _correction_rate(asked: Asked) -> Check | None:
    if asked.base is None:
        return None
    start = asked.base.position.prefix()
    then = asked.book.governance.prefix(start.governance)
    count, items = asked.evidence.corrected_since(then, start), len(asked.evidence.items)
    what = f"{count} of {items} items were corrected since {asked.base.name}"
    return asked.most("correction_rate", _share(count, items), "correction_rate_max", what)


def _class_shift(asked: Asked) -> Check | None:
    if asked.base is None:
        return None
    snapshot = asked.book.snapshot(asked.base.position.prefix())
    before = forward(asked.book, snapshot, asked.evidence.governance).labels()
    after = asked.evidence.labels
    shift = total_variation(before, after)
    few = min(sum(before.values()), sum(after.values()))
    if few < SHIFT_ITEMS_MIN and "class_shift_max" not in asked.contract.thresholds:
        return Check("class_shift", shift, None, None, f"{few} items are too few to judge")
    what = f"{shift:.2%} of the class distribution moved since {asked.base.name}"
    return asked.most("class_shift", shift, "class_shift_max", what)


def _metric_drop(asked: Asked) -> Check | None:
    if asked.model is None:
        return None
    found = progress(Lineage(asked.book), asked.model)
    name, most = "metric_drop", asked.limit("metric_drop_max")
    if found is None:
        return Check(name, None, most, None, f"{asked.model.name} follows no model")
    if not found.metrics:
        why = f"{asked.model.name} and {found.base.name} measured nothing in common"
        return Check(name, None, most, None, why)
    if found.comparison.verdict != "fair":
        why = "; ".join(found.comparison.reasons)
        return Check(name, None, most, None, f"not comparable with {found.base.name}: {why}")
    worst = max(found.metrics, key=lambda each: -found.change(each))
    before, after = found.metrics[worst]
    what = f"{worst} went from {before!r} ({found.base.name}) to {after!r}"
    return asked.most(name, max(-found.change(worst), 0.0), "metric_drop_max", what)


def _patches(asked: Asked) -> Check:
    cut = sorted(Patches(asked.book).in_progress(asked.position))
    why = f"settled in part only: {', '.join(cut)}" if cut else "no patch is settled in part"
    return Check("patches", float(len(cut)), 0.0, not cut, why)


def content_hash(asked: Asked) -> Check:
    """The hash of a version that is rebuilt from the log alone, against that of its tag."""
    assert asked.tag is not None
    (proof,) = asked.book.verify([asked.tag.name])
    found = proof.snapshot.sha256
    why = "rebuilt from the log alone, the labels " + (
        "have the hash of the tag" if proof.proved else "have another hash than the tag"
    )
    return Check("content_hash", found, proof.tagged_sha256, proof.proved, why)


CHECKS: Mapping[str, Callable[[Asked], Check | None]] = {
    "unresolved": _unresolved,
    "labelled": _labelled,
    "open_corrections": _open_corrections,
    "overdue": _overdue,
    "correction_rate": _correction_rate,
    "class_shift": _class_shift,
    "metric_drop": _metric_drop,
    "patches": _patches,
}
"""Each check by its name; None where it does not apply."""


def waived(asked: Asked, check: Check) -> Check:
    """The check, passed if somebody granted this version a waiver of it."""
    if check.passed is not False or asked.tag is None:
        return check
    waiver = asked.book.governance.register.waivers.get((asked.tag.name, check.name))
    if waiver is None:
        return check
    said = waiver.event
    why = f"{check.why}. Waived by {said.actor} and {said.approved_by or '-'}: {said.reason}"
    return replace(check, passed=True, why=why)
