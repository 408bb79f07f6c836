"""What is to be known of a tagged version, all of it a function of the log.

A release's documents are made from these facts alone, at any time and on any log that holds the
same events: no fact names an offset, a path or the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ledger.core.contract import Contract
from ledger.core.events import ModelRegistered, PatchProposed, SchemaChanged, VersionTagged
from ledger.errors import VerificationFailed
from ledger.releases.candidate import Candidate, version_before
from ledger.releases.corrections import Corrections, patches_of
from ledger.releases.remembered import Remembered
from ledger.releases.splits import test_note
from ledger.remap import Comparison, Remap, Verdict, compare
from ledger.tally import Tally

if TYPE_CHECKING:
    from ledger.ledger import Ledger


class Measured(NamedTuple):
    """One metric of a model trained on a version, beside the same of the model that it follows, and
    whether results on the versions of the two compare.
    """

    model: str
    metric: str
    value: float
    base_model: str | None
    base_value: float | None
    verdict: Verdict


class WentBack(NamedTuple):
    """One rollback: to which version (None where the position has no name), by whom, and why."""

    to: str | None
    actor: str
    approved_by: str | None
    reason: str | None


@dataclass(frozen=True)
class Facts:
    """A version beside its base. Labels of the base are counted under the contract of the version.

    Attributes:
        tag: the event that named it, with its checks and waivers.
        base: the version that it is compared with; None where it is the first.
        contract: the one that its labels stand under.
        base_contract_version: that of the base.
        items: how many are labelled.
        counts: items by class.
        splits: items by split, `""` for none.
        base_counts: the base's, mapped forward.
        changes: what differs from the base.
        unresolved: how many items a split left without a class.
        corrections: what was settled since the base.
        rollbacks: what went back since the base, in order.
        schema_changes: the mapping that was used, in order.
        patches: those that corrections since the base belong to, by id.
        comparison: whether results on the two compare; None without a base.
        test_note: what comparisons across the two have to say of the test labels.
        measured: metrics of the models that were trained on it.
    """

    tag: VersionTagged
    base: VersionTagged | None
    contract: Contract
    base_contract_version: int | None
    content_hash: str
    items: int
    counts: Mapping[str, int]
    splits: Mapping[str, int]
    base_counts: Mapping[str, int]
    changes: Tally
    unresolved: int
    corrections: Corrections
    rollbacks: tuple[WentBack, ...]
    schema_changes: tuple[SchemaChanged, ...]
    patches: tuple[PatchProposed, ...]
    comparison: Comparison | None
    test_note: str | None
    measured: tuple[Measured, ...]

    @property
    def name(self) -> str:
        """The version's name."""
        return self.tag.name

    @property
    def when(self) -> datetime:
        """When it was tagged, in UTC."""
        return self.tag.occurred_at

    @property
    def author(self) -> str:
        """Who made it."""
        return self.tag.author or self.tag.actor

    @property
    def remap(self) -> Remap:
        """The names under which it and its base compare."""
        return self.comparison.remap if self.comparison else Remap()


def facts_of(book: Ledger, name: str, reading: Remembered | None = None) -> Facts:
    """The facts of a version.

    Args:
        book: the ledger.
        name: the version's.
        reading: the same ledger, with labels that it was asked for before.

    Raises:
        InvalidRequest: there is no such version.
        VerificationFailed: its labels are not those that its tag says.
    """
    said = book.version(name)
    candidate = candidate_of(book, said, reading)
    sha256 = candidate.snapshot.sha256
    if said.content_hash not in (None, sha256):
        raise VerificationFailed(
            f"version {name!r} rebuilt has the hash {sha256}, and its tag says "
            f"{said.content_hash}: `errata verify` tells more"
        )
    tag = completed(said, candidate)
    base, forwarded = candidate.base, candidate.forwarded
    return Facts(
        tag=tag,
        base=base,
        contract=candidate.contract,
        base_contract_version=candidate.base_contract_version,
        content_hash=sha256,
        items=len(candidate.snapshot),
        counts=tag.counts,
        splits=candidate.splits,
        base_counts=forwarded.labels() if forwarded else {},
        changes=candidate.tally,
        unresolved=len(candidate.unresolved),
        corrections=candidate.corrections,
        rollbacks=tuple(_went_back(candidate)),
        schema_changes=tuple(candidate.schema_changes),
        patches=patches_of(book.governance, candidate.corrections),
        comparison=compare(candidate.reading, base.name, name) if base else None,
        test_note=test_note(base, tag) if base else None,
        measured=tuple(_measured(candidate, name)),
    )


def candidate_of(book: Ledger, tag: VersionTagged, reading: Remembered | None = None) -> Candidate:
    """A version's position beside its base: the one that the tag names, or where another program
    wrote the tag and named none, the version before it.
    """
    governance, position = book.governance, tag.position.prefix()
    base = governance.tags.get(tag.base or "")
    if base is not None or tag.checks:
        return Candidate(book, position, base.event if base else None, reading)
    before = governance.prefix(governance.tags[tag.name].offset)
    return Candidate(book, position, version_before(before, position), reading)


def completed(tag: VersionTagged, candidate: Candidate) -> VersionTagged:
    """The tag with everything counted, as `Ledger.tag` would have written it."""
    tally = candidate.tally
    patches = patches_of(candidate.book.governance, candidate.corrections)
    return replace(
        tag,
        base=candidate.base.name if candidate.base else None,
        content_hash=candidate.snapshot.sha256,
        patch_hashes=tuple(each.sha256 for each in patches),
        counts=candidate.snapshot.labels(),
        changed_by_class=tally.by_class,
        changed_by_split=tally.by_split,
        class_deltas=tally.class_deltas,
    )


def _went_back(candidate: Candidate) -> Iterator[WentBack]:
    tags = candidate.governance.tags.values()
    for each in candidate.rollbacks:
        names = (tag.event.name for tag in tags if tag.event.position.same_prefix(each.to))
        yield WentBack(next(names, None), each.actor, each.approved_by, each.reason)


def _measured(candidate: Candidate, name: str) -> list[Measured]:
    registered = candidate.book.governance.register.models
    models = {model: each.event for model, each in sorted(registered.items())}
    found: list[Measured] = []
    verdicts: dict[str, Verdict] = {name: "fair"}
    for model in models.values():
        if model.label_version != name:
            continue
        base = models.get(model.base or "")
        version = base.label_version if base else name
        if version not in verdicts:
            verdicts[version] = compare(candidate.reading, version, name).verdict
        found += [_beside(model, metric, base, verdicts[version]) for metric in model.metrics]
    return sorted(found, key=lambda each: (each.model, each.metric))


def _beside(
    model: ModelRegistered, metric: str, base: ModelRegistered | None, verdict: Verdict
) -> Measured:
    value = model.metrics[metric]
    old = base.metrics.get(metric) if base else None
    return Measured(model.name, metric, value, base.name if base else None, old, verdict)
