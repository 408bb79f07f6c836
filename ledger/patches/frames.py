"""Bulk changes: many corrections that are proposed, reviewed and settled as one thing.

A patch is ordinary corrections between two events on governance, so that the fold needs to know
nothing of it: `PatchProposed` opens the frame, the proposals follow, and once every one of them is
settled `PatchDecided` closes it. Every id is derived from the patch's and the item's; whatever was
interrupted is completed by doing the same again, and twice changes nothing.

- The patch's id is that of its content. It is taken by a patch that was settled, rolled back, or
  of another kind; then `-2` follows, `-3`, ...
- A proposal names classes as the contract at its base did, and is mapped forward from there.
- Who settles it is not who proposed it. All votes are foretold before the first is appended, so
  that a patch of which one correction went stale is refused as a whole. What others append in that
  moment can't be foretold: what became of each is read again and told.
- A rollback takes back what settled a patch: its corrections are open again, its frame is not.
  It is proposed again, under the next id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.clock import now
from ledger.core.events import (
    BulkKind,
    CorrectionSource,
    LabelEvent,
    Settlement,
)
from ledger.core.position import Position
from ledger.core.register import Patch
from ledger.door import misspelt
from ledger.errors import InvalidRequest, LogUnavailable
from ledger.ledger import Ledger
from ledger.logs.base import Topic
from ledger.patches.checking import Delta, delta
from ledger.patches.edit import Edit, own_bytes
from ledger.patches.opening import (
    draft,
    examine,
    frame_of,
    proposals_of,
    refuse_proposals,
    sound_edits,
    state_for,
)
from ledger.patches.problems import Problems
from ledger.patches.settling import (
    close,
    missing,
    refuse_overtaken,
    refuse_unsound,
    refuse_void,
    undisturbed,
)
from ledger.patches.standing import SETTLING, Standing, settlement_void, standings
from ledger.patches.voting import ballot, refuse_idle
from ledger.positions import ends
from ledger.reading import HEAD, Where


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling a patch did.

    Attributes:
        patch_id: the patch.
        decision: what was voted.
        decided: whether every correction is settled and the frame is closed.
        counts: how many corrections have each status now.
        missing: what the open ones wait for, in words.
    """

    patch_id: str
    decision: Settlement
    decided: bool
    counts: Mapping[str, int]
    missing: tuple[str, ...] = ()


class Patches:
    """The patches of one ledger.

    Args:
        book: the ledger.
    """

    def __init__(self, book: Ledger) -> None:
        self._book = book

    def all(self) -> list[Patch]:
        """Every patch's frame, in the order in which they were opened."""
        return list(self._book.governance.register.patches.values())

    def get(self, patch_id: str) -> Patch:
        """The frame of one patch.

        Raises:
            InvalidRequest: there is none of this id.
        """
        patches = self._book.governance.register.patches
        if patch_id not in patches:
            others = f"; `errata patch list` names all {len(patches)}" if patches else " yet"
            raise InvalidRequest(f"there is no patch {patch_id!r}{others}")
        return patches[patch_id]

    def standing(self, patch_id: str, at: Where = HEAD) -> Standing:
        """What became of a patch's corrections."""
        position = self._book.resolve(at)
        return self._standings([self.get(patch_id)], position)[0]

    def check(
        self, edits: Sequence[Edit], base: Where = HEAD, problems: Problems | None = None
    ) -> Delta:
        """Hold edits against the labels at a position, and tell what they would change.

        Args:
            edits: each of another item, in any order.
            base: the position; class names are those of the contract in force there.
            problems: what is known to be wrong already; it says where the edits come from.

        Raises:
            BadPatch: some don't fit.
        """
        problems = problems or Problems()
        sound = sound_edits(edits, problems)
        state = state_for(self._book.dataset, sound, self._book.resolve(base))
        examine(state, sound, state.governance.contract.version, str(base), problems)
        problems.refuse()
        return delta(state, sound)

    def propose(
        self,
        edits: Sequence[Edit],
        *,
        actor: str,
        sha256: str | None = None,
        source: CorrectionSource = "patch",
        kind: BulkKind = "patch",
        base: str | None = None,
        file: str | None = None,
        reason: str | None = None,
        problems: Problems | None = None,
    ) -> str:
        """Open a patch and propose its corrections, or complete what was interrupted.

        Args:
            edits: each of another item, in any order; checked against the base and the head.
            actor: who proposes.
            sha256: what the patch is known by; of a `patch` it is that of its canonical bytes,
                which is the default.
            source: where the corrections come from.
            kind: what kind of bulk change this is.
            base: the position that its author looked at, by default the head.
            file: the name of the file that it comes from.
            reason: why.
            problems: as for `check`.

        Returns:
            The patch's id. Where a patch of the same content was applied and is in effect, that
            one's, and nothing is appended.

        Raises:
            BadPatch: some edits don't fit; nothing was appended.
            InvalidRequest: the actor may not propose, or somebody else proposed the same.
        """
        if not self._book.governance.contract.may_propose(actor):
            raise InvalidRequest(f"the contract does not let {actor!r} propose corrections")
        problems = problems or Problems()
        made = draft(self._book, edits, problems, sha256=sha256, kind=kind, base=base, actor=actor)
        if made.name.applied is not None:
            return made.name.applied
        proposals = proposals_of(made, actor, source, now())
        refuse_proposals(made.head, proposals, problems)
        self._refuse_too_large(proposals)
        if made.name.opened is None:
            named = base if base in self._book.governance.tags else None
            fields = {"kind": kind, "base": named, "file": file, "reason": reason, "actor": actor}
            self._book.govern({**frame_of(made), **fields})
        self._append(proposals, f"{made.name.patch_id!r} is opened; propose it again")
        return made.name.patch_id

    def settle(
        self,
        patch_id: str,
        decision: Settlement,
        *,
        actor: str,
        rationale: str | None = None,
        skip_stale: bool = False,
    ) -> Settled:
        """Vote on every open correction of a patch, and close its frame once all are settled.

        Where the contract asks for more than one person's vote, the frame stays open until others
        have settled it too.

        Args:
            patch_id: the patch.
            decision: accept all, or keep every label as it is.
            actor: who decides; never who proposed it.
            rationale: why.
            skip_stale: accept the others, though some went stale or were decided otherwise.

        Raises:
            InvalidRequest: it can't be settled so, or the actor can add nothing to it; nothing
                was appended. Or somebody else decided the same patch otherwise in that moment:
                what is appended then changes nothing.
        """
        patch = self.get(patch_id)
        standing = self.standing(patch_id)
        if patch.settlement is not None:
            return self._again(standing, decision)
        self.refuse_reviewer(patch.event.actor, actor)
        refuse_void(self._book.governance, patch)
        refuse_unsound(standing, decision, skip_stale=skip_stale)
        before = self._book.dataset.log.ends(Topic.LABELS)
        cast = ballot(standing, decision, actor, rationale, now())
        refuse_idle(cast, actor)
        self._refuse_too_large(cast.votes)
        self._append(cast.votes, f"{patch_id!r} stays open; settle it again")
        if cast.held or not undisturbed(self._book, standing, len(cast.votes)):
            standing = self.standing(patch_id)
            refuse_overtaken(standing, decision)
        if not standing.open:
            close(self._book, standing, decision, before, actor=actor, rationale=rationale)
        waits = missing(standing, decision, cast.held)
        return Settled(patch_id, decision, not standing.open, standing.counts(), waits)

    def in_progress(self, position: Position) -> list[str]:
        """The patches, sorted, of which a position holds some but not all of what settles them:
        those that were settled as one thing, and those that others are still deciding.
        """
        governance = self._book.governance
        cut = governance.cuts(position)
        undecided = [
            each
            for each in self.all()
            if each.settlement is None or settlement_void(governance, each)
        ]
        head = self._book.resolve()
        there = self._standings(undecided, position)
        later = there if position.same_prefix(head) else self._standings(undecided, head)
        for one, two in zip(there, later, strict=True):
            settled = any(each.status in SETTLING for each in one.corrections)
            closed = {each.proposal.item_id for each in one.corrections if not each.open}
            if settled and any(each.proposal.item_id not in closed for each in two.corrections):
                cut.append(one.patch.event.patch_id)
        return sorted(cut)

    def refuse_reviewer(self, proposer: str, actor: str) -> None:
        """Refuse who may not settle a patch of this proposer.

        Raises:
            InvalidRequest: it is the proposer, nobody, or somebody without the role.
        """
        if not actor:
            raise InvalidRequest("nobody decides on the patch: name a second person")
        wrong = misspelt(actor)
        if wrong is not None:
            raise InvalidRequest(f"the second person {wrong}")
        if actor == proposer:
            raise InvalidRequest(f"{actor!r} proposed the patch: a second person decides")
        if not self._book.governance.contract.may_review(actor):
            raise InvalidRequest(f"the contract gives {actor!r} no role to review with")

    def _refuse_too_large(self, events: Sequence[LabelEvent]) -> None:
        """Refuse them all where one does not fit into the log: the largest does not then."""
        self._book.check(sorted(events, key=own_bytes)[-1:])

    def _append(self, events: Sequence[LabelEvent], then: str) -> None:
        try:
            self._book.append_all(events)
        except LogUnavailable as error:
            raise LogUnavailable(
                f"{error}. {error.acknowledged} of {len(events)} events are stored and patch "
                f"{then}, and the others follow",
                acknowledged=error.acknowledged,
            ) from error

    def _again(self, standing: Standing, decision: Settlement) -> Settled:
        """The answer to who settles a settled patch again, as one does after an interruption."""
        settlement, patch_id = standing.patch.settlement, standing.patch.event.patch_id
        assert settlement is not None
        if settlement_void(self._book.governance, standing.patch):
            raise InvalidRequest(
                f"what settled patch {patch_id!r} was rolled back: propose it again"
            )
        if settlement.decision != decision:
            raise InvalidRequest(
                f"patch {patch_id!r} is settled: {settlement.decision} by {settlement.actor!r}"
            )
        if standing.open:  # some other program closed the frame without the votes
            raise InvalidRequest(
                f"patch {patch_id!r} is settled, {settlement.decision} by {settlement.actor!r}, "
                f"but {len(standing.open)} of its corrections are open: review them one by one"
            )
        return Settled(patch_id, decision, True, standing.counts())

    def _standings(self, patches: Sequence[Patch], position: Position) -> list[Standing]:
        return standings(self._book.dataset, patches, position, ends(self._book.dataset))
