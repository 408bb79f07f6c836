"""How a patch is opened: which id it has, what its proposals are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from ledger.core.canonical import derived_id
from ledger.core.events import (
    BulkKind,
    CorrectionProposed,
    CorrectionSource,
    PatchProposed,
    record_of,
)
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.core.register import Patch
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger
from ledger.patches.checking import fault, in_effect
from ledger.patches.edit import Edit, as_proposal, broken, by_id, digest
from ledger.patches.problems import Problems
from ledger.patches.standing import frame_void, settlement_void
from ledger.patches.voting import foretell
from ledger.reading import HEAD
from ledger.record import state_of
from ledger.replay import State

_DIGITS = 12


class Name(NamedTuple):
    """The id that a patch has: of one that is open and to be completed, or else a free one."""

    patch_id: str
    opened: Patch | None = None
    applied: str | None = None
    """The last patch of the same content, if it was applied."""


def name_of(
    governance: Governance, state: State, edits: Sequence[Edit], sha256: str, kind: BulkKind
) -> Name:
    """The id of a patch of this content and kind.

    Args:
        governance: at the log's end.
        state: of the records that the edits are about, at the log's end.
        edits: what the patch says.
        sha256: what it is known by.
        kind: what kind of bulk change it is.
    """
    patches, applied = governance.register.patches, None
    for number in count(1):
        patch_id = f"patch-{sha256[:_DIGITS]}" + (f"-{number}" if number > 1 else "")
        patch = patches.get(patch_id)
        if patch is None:
            return Name(patch_id, None, applied)
        if (patch.event.kind, patch.event.sha256) != (kind, sha256):
            continue
        void = frame_void(governance, patch) or _proposed_in_vain(state, edits, patch_id)
        if void or patch.settlement is not None:
            accepted = patch.settlement is not None and patch.settlement.decision == "accept"
            stands = accepted and not void and not settlement_void(governance, patch)
            applied = patch_id if stands else None
            continue
        return Name(patch_id, patch, applied)
    raise AssertionError  # there is always a next number


@dataclass(frozen=True, slots=True)
class Draft:
    """A patch that fits.

    Attributes:
        name: its id, and whether it is there already.
        edits: sorted by id.
        sha256: what it is known by.
        head: the state of its records at the log's end.
        based_on: the position that its author looked at.
        version: the contract under which it names classes.
    """

    name: Name
    edits: list[Edit]
    sha256: str
    head: State
    based_on: Position
    version: int


def draft(
    book: Ledger,
    edits: Iterable[Edit],
    problems: Problems,
    *,
    sha256: str | None,
    kind: BulkKind,
    base: str | None,
    actor: str,
) -> Draft:
    """Check a patch whole (see `Patches.propose`).

    A patch of the same content that is open, or was applied and is in effect, fits: whatever has
    changed since it was opened is told when it is settled.

    Raises:
        BadPatch: some edits don't fit.
        InvalidRequest: somebody else proposed the same.
    """
    sound = sound_edits(edits, problems)
    head = state_for(book.dataset, sound, book.resolve())
    name = Name("")
    if not problems.count:
        content = digest(sound)
        if kind == "patch" and sha256 not in (None, content):
            raise InvalidRequest(f"sha256 {sha256!r} is not that of the edits, {content}")
        sha256 = sha256 or content
        name = name_of(book.governance, head, sound, sha256, kind)
    if name.opened is not None:
        opened = name.opened.event
        if opened.actor != actor:
            raise InvalidRequest(
                f"{opened.actor!r} proposed the same already, as {name.patch_id!r}: a second "
                "person applies or rejects it"
            )
        version = opened.contract_version
        return Draft(name, sound, opened.sha256, head, head.position, version)
    based_on, version = _against_base(book, sound, base, head, problems)
    if name.applied is None or not in_effect(head, sound, version):
        problems.refuse()
        name = name._replace(applied=None)
    return Draft(name, sound, sha256 or "", head, based_on, version)


def state_for(dataset: Dataset, edits: Iterable[Edit], position: Position) -> State:
    """The state of the records that the edits are about."""
    return state_of(dataset, {record_of(each.item_id) for each in edits}, position)


def _against_base(
    book: Ledger, edits: Sequence[Edit], base: str | None, head: State, problems: Problems
) -> tuple[Position, int]:
    """Hold the edits against base and head; the base, and its contract version."""
    based_on = book.resolve(base or HEAD)
    if based_on.same_prefix(head.position):
        version = head.governance.contract.version
        examine(head, edits, version, base or HEAD, problems)
        return based_on, version
    there = state_for(book.dataset, edits, based_on)
    version = there.governance.contract.version
    if not head.governance.contracts.live(version):
        raise InvalidRequest(
            f"the contract of {base}, version {version}, was rolled back: what a class was "
            "called there means nothing any more. Take a base after the rollback"
        )
    examine(there, edits, version, str(base), problems)
    bad = problems.items
    examine(head, [each for each in edits if each.item_id not in bad], version, HEAD, problems)
    return based_on, version


def sound_edits(edits: Iterable[Edit], problems: Problems) -> list[Edit]:
    """The edits that are sound by themselves, sorted by id; the others are problems."""
    sound: dict[str, Edit] = {}
    for edit in by_id(edits):
        rule = broken(edit)
        if rule is None and edit.item_id in sound:
            rule = "expected each id once, found it twice"
        if rule is None:
            sound[edit.item_id] = edit
        else:
            problems.add(rule, edit.item_id)
    if not sound and not problems.count:
        raise InvalidRequest(f"{problems.name} holds no edit: a patch changes one item at least")
    return list(sound.values())


def examine(
    state: State, edits: Iterable[Edit], version: int, where: str, problems: Problems
) -> None:
    """Add to the problems what does not fit a position (see `checking.fault`)."""
    for edit in edits:
        rule = fault(state, edit, version, where)
        if rule is not None:
            problems.add(rule, edit.item_id)


def frame_of(made: Draft) -> dict[str, Any]:
    """What opens the patch's frame, as fields that more may be added to."""
    return {
        "type": PatchProposed.__name__,
        "event_id": derived_id(made.name.patch_id, "opened"),
        "patch_id": made.name.patch_id,
        "sha256": made.sha256,
        "count": len(made.edits),
        "contract_version": made.version,
    }


def proposals_of(
    made: Draft, actor: str, source: CorrectionSource, occurred_at: datetime
) -> list[CorrectionProposed]:
    """The proposals that are not on the log yet."""
    patch_id = made.name.patch_id
    return [
        replace(
            as_proposal(edit, made.version),
            event_id=derived_id(patch_id, "proposal", edit.item_id),
            actor=actor,
            occurred_at=occurred_at,
            correction_id=correction_id(patch_id, edit.item_id),
            source=source,
            patch_id=patch_id,
            based_on=made.based_on,
        )
        for edit in made.edits
        if not _stands(made.head, edit, patch_id)
    ]


def refuse_proposals(
    state: State, proposals: Sequence[CorrectionProposed], problems: Problems
) -> None:
    """Refuse proposals that the fold would refuse. The state is used up.

    Raises:
        BadPatch: it would refuse some.
    """
    for proposal, outcome in zip(proposals, foretell(state, proposals), strict=True):
        if outcome.refused:
            problems.add(f"refused as {outcome}: {outcome.reason}", proposal.item_id)
    problems.refuse()


def correction_id(patch_id: str, item_id: str) -> str:
    """The id of a patch's correction of an item."""
    return derived_id(patch_id, "correction", item_id)


def _stands(state: State, edit: Edit, patch_id: str) -> bool:
    record = state.record(record_of(edit.item_id))
    return record is not None and correction_id(patch_id, edit.item_id) in record.corrections


def _proposed_in_vain(state: State, edits: Iterable[Edit], patch_id: str) -> bool:
    """Whether a rollback took proposals of the patch back: their ids stay taken."""
    for edit in edits:
        record = state.record(record_of(edit.item_id))
        if record is None or not record.void_corrections:
            continue
        if correction_id(patch_id, edit.item_id) in record.void_corrections:
            return True
    return False
