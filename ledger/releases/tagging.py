"""Names a position, once its checks have passed or were waived by name."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ledger import positions
from ledger.core.events import VersionTagged
from ledger.core.register import Waiver
from ledger.errors import InvalidRequest
from ledger.reading import HEAD
from ledger.releases.candidate import Candidate
from ledger.releases.checks import CHECKS, Finding, run_checks
from ledger.releases.corrections import patches_of
from ledger.releases.sample import Sample
from ledger.releases.splits import test_version

if TYPE_CHECKING:
    from ledger.ledger import Ledger

_TOOLS = ("errata", "jinja2", "nltk", "numpy", "polars", "pyarrow", "shapely")


def tag(
    book: Ledger,
    name: str,
    candidate: Candidate,
    *,
    actor: str,
    reviewer: str | None,
    sample: Sample | None = None,
    more: Mapping[str, Any],
) -> VersionTagged:
    """Tag a candidate; see `Ledger.tag`.

    Raises:
        InvalidRequest: a check fails and is not waived, or the fold refuses the tag; nothing was
            appended then.
    """
    refuse_name(book, name)
    refuse_cut(candidate)
    waivers = waivers_of(book, name)
    found = run_checks(candidate, sample)
    refuse_failed(name, found, waivers)
    tally = candidate.tally
    tags = [each.event for each in book.governance.tags.values()]
    book.govern(
        {
            "type": "VersionTagged",
            "name": name,
            "position": {**candidate.position.as_dict(), **book.other_ends()},
            "content_hash": candidate.snapshot.sha256,
            "base": candidate.base.name if candidate.base else None,
            "actor": actor,
            "author": actor,
            "reviewer": reviewer,
            "patch_hashes": [
                each.sha256 for each in patches_of(book.governance, candidate.corrections)
            ],
            "tool_versions": tool_versions(),
            "counts": dict(candidate.snapshot.labels()),
            "checks": {each: verdict(found[each], waivers.get(each)) for each in found},
            "waivers": sorted(each for each in found if found[each].failed),
            "test_version": test_version(candidate.splits, tally, candidate.base, tags),
            "changed_by_class": dict(tally.by_class),
            "changed_by_split": dict(tally.by_split),
            "class_deltas": dict(tally.class_deltas),
            **more,
        }
    )
    return book.version(name)


def refuse_name(book: Ledger, name: str) -> None:
    """Refuse a name that is taken, or that reads as another position."""
    if positions.is_moment(name) or name.lower() == HEAD:
        raise InvalidRequest(f"version name {name!r} reads as another position; choose another")
    taken = book.governance.tags.get(name)
    if taken is not None:
        where = taken.event.position.prefix()
        raise InvalidRequest(f"version {name!r} is taken, by {where}; choose another name")


def waive(
    book: Ledger, version: str, check: str, *, actor: str, approved_by: str, reason: str
) -> None:
    """Let a check of a release to come fail; see `Releases.waive`."""
    from ledger.gating.checks import CHECKS as GATE  # which knows releases

    if check not in CHECKS and check not in GATE:
        known = ", ".join(dict.fromkeys([*CHECKS, *GATE]))
        raise InvalidRequest(f"there is no check {check!r}; there are: {known}")
    if version in book.governance.tags and check not in GATE:
        raise InvalidRequest(
            f"version {version!r} is tagged already, and only the gate may still be waived for it: "
            f"{', '.join(GATE)}"
        )
    if not reason.strip():
        raise InvalidRequest("a waiver says why: its reason is empty")
    if (version, check) in book.governance.register.waivers:
        raise InvalidRequest(f"check {check!r} of {version!r} is waived already")
    book.govern(
        {
            "type": "WaiverGranted",
            "version": version,
            "check": check,
            "reason": reason,
            "actor": actor,
            "approved_by": approved_by,
        }
    )


def waivers_of(book: Ledger, version: str) -> dict[str, Waiver]:
    """The waivers of a release, by check."""
    granted = book.governance.register.waivers
    return {check: waiver for (name, check), waiver in granted.items() if name == version}


def verdict(finding: Finding, waiver: Waiver | None) -> str:
    """What a tag keeps of a check."""
    if not finding.failed or waiver is None:
        return finding.said()
    return f"failed, waived by {waiver.event.actor}: {waiver.event.reason} ({finding.text})"


def refuse_cut(candidate: Candidate) -> None:
    """Refuse a position in the midst of a patch that was settled as one thing."""
    cut = candidate.book.governance.cuts(candidate.position)
    if cut:
        raise InvalidRequest(
            f"the position holds a part of patch {cut[0]!r}, which was settled as one thing; tag "
            "before or after it"
        )


def refuse_failed(name: str, found: Mapping[str, Finding], waivers: Mapping[str, Waiver]) -> None:
    """Refuse a release of which a check failed that nobody waived."""
    failed = [check for check in found if found[check].failed and check not in waivers]
    if failed:
        told = "; ".join(f"check {check!r} failed: {found[check].text}" for check in failed)
        raise InvalidRequest(
            f"{name} is not tagged. {told}. Correct the labels, or waive a check by name: errata "
            f"waive {name} {failed[0]} --reason WHY --as WHO --approved-by ANOTHER"
        )


def tool_versions() -> dict[str, str]:
    """The releases of what computes and checks a version, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(found.items()))
