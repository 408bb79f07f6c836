"""`Past`: everything that can be asked of, and done about, how the labels came to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ledger.core.outcome import Outcome
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger
from ledger.past import rolling, undo, whatif
from ledger.past.bisecting import Found, Test, search
from ledger.past.rolling import Undoing
from ledger.past.selection import Chosen, Selection
from ledger.past.steps import By, steps_between
from ledger.past.undo import Plan
from ledger.past.whatif import Preview, WhatIf
from ledger.patches import Patches, Settled
from ledger.reading import HEAD, Where


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing did: the plan, and what became of the bulk change that carried it out; None
    where there was nothing to undo.
    """

    plan: Plan
    settled: Settled | None


class Past:
    """Going back and asking why, on an open ledger.

    Every method raises `InvalidRequest`, in a sentence, for what cannot be.
    """

    def __init__(self, book: Ledger) -> None:
        self.book = book

    def what_if(self, *without: Selection, at: Where = HEAD) -> WhatIf:
        """What the labels would be if the events of these selections had never been appended.

        Exact by the reference fold. It costs about a replay: where the events are few, the records
        that they are about are looked for and only these are folded; else everything is folded in
        one pass, and each record twice from the first event on that is left out of it.
        """
        chosen = [Chosen.of(each, self.book.resolve) for each in without]
        return whatif.what_if(self.book.dataset, self.book.resolve(at), chosen)

    def preview(self, at: Where = HEAD) -> Preview:
        """What the labels would be if every open correction were accepted, in the order in which
        they were proposed.
        """
        return whatif.preview(self.book.dataset, self.book.resolve(at))

    def rollback_preview(self, to: Where) -> Undoing:
        """What a rollback would take back. `book.diff("head", to)` gives the labels."""
        position = self.book.resolve(to)
        found = rolling.undoing(self.book.dataset, self.book.governance, position)
        rolling.refuse_unfinished(Patches(self.book).in_progress(position), to)
        return found

    def undo_plan(self, selection: Selection, *, with_dependants: bool = False) -> Plan:
        """What undoing these corrections would do; nothing is appended.

        Args:
            selection: the corrections.
            with_dependants: undo the kept corrections that stand on them as well.
        """
        if selection.reviewer is not None:
            raise InvalidRequest("a reviewer's votes are not undone; ask `what-if` about them")
        return undo.plan(self.book, selection, with_dependants=with_dependants)

    def undo(
        self, plan: Plan, *, actor: str, approved_by: str, reason: str | None = None
    ) -> Undone:
        """Carry a plan out as one bulk change: every later good correction is kept.

        Done twice, the second finds nothing to undo; interrupted, it is resumed by doing it again.

        Args:
            plan: as `undo_plan` made it.
            actor: who undoes.
            approved_by: the second person, whose votes settle the change.
            reason: why.

        Raises:
            InvalidRequest: one of them may not, or the labels are no longer what the plan was
                made for; nothing was appended.
        """
        patches = Patches(self.book)
        patches.refuse_reviewer(actor, approved_by)
        begun = self._begun(plan.name, actor)
        if begun is not None:
            settled = patches.settle(begun, "accept", actor=approved_by, rationale=reason)
            if not settled.decided:
                return Undone(plan, settled)
            plan = self.undo_plan(plan.selection, with_dependants=plan.with_dependants)
            if not plan.edits:
                return Undone(plan, settled)
        if not plan.edits:
            return Undone(plan, None)
        edits = [replace(edit, reason=reason or plan.name) for edit in plan.edits]
        patch_id = patches.propose(
            edits, actor=actor, source="rollback", kind="rollback", reason=plan.name
        )
        return Undone(plan, patches.settle(patch_id, "accept", actor=approved_by, rationale=reason))

    def _begun(self, name: str, actor: str) -> str | None:
        """The same undoing, begun by the same person, all of it proposed and not yet settled."""
        patches = Patches(self.book)
        for patch in patches.all():
            frame = patch.event
            same = (frame.kind, frame.reason, frame.actor) == ("rollback", name, actor)
            if same and patch.settlement is None and not self.book.governance.void(patch.offset):
                found = patches.standing(frame.patch_id).corrections
                sound = all(each.open or each.status is Outcome.APPLIED for each in found)
                if sound and len(found) == frame.count:
                    return frame.patch_id
        return None

    def bisect(
        self, good: Where, bad: Where, test: Test, *, by: By | None = None, check: bool = False
    ) -> Found:
        """The first step between two positions at which the test fails.

        Args:
            good: where the test succeeds.
            bad: where it fails, after `good`.
            test: says of a snapshot `good`, `bad`, or `skip` where it can't tell.
            by: `versions`, or `corrections` (each correction, patch, import, contract change and
                rollback); by default versions where two or more lie between.
            check: test every step, and refuse a test that is not monotone.
        """
        steps = steps_between(self.book, self.book.resolve(good), self.book.resolve(bad), by)
        return search(self.book, steps, test, check=check)
