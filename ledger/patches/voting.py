"""The votes that settle a patch: foretold by the fold before the first one is appended.

A patch is not half applied while it waits for somebody: where a vote would leave a correction
escalated, for an expert to settle, those that would settle the others are held back, for the
expert's will settle all of them. Votes that only count (more approvals are asked for) are cast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ledger.core.canonical import derived_id
from ledger.core.events import LabelEvent, ReviewDecided, Settlement
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.errors import InvalidRequest
from ledger.patches.standing import SETTLING, Standing
from ledger.replay import State


@dataclass
class Ballot:
    """What one person's votes on the open corrections would do.

    Attributes:
        votes: those to be cast.
        held: how many are held back.
        refused: how many the fold would refuse, by why.
    """

    votes: list[ReviewDecided] = field(default_factory=list[ReviewDecided])
    held: int = 0
    refused: Counter[Outcome] = field(default_factory=Counter[Outcome])


def foretell(state: State, events: Iterable[LabelEvent]) -> list[Outcome]:
    """What became of the events if they were appended now, in this order. The state is used up."""
    outcomes: list[Outcome] = []
    for number, event in enumerate(events):
        key = event.record_id.encode()
        home = partition_of(key, len(state.partitions))
        offset = state.position.labels[home] + number
        outcomes.append(state.partitions[home].apply(offset, key, event))
    return outcomes


def ballot(
    standing: Standing,
    decision: Settlement,
    actor: str,
    rationale: str | None,
    occurred_at: datetime,
) -> Ballot:
    """The votes of one person. The standing is used up: it is as if all of them had been cast."""
    open_ = standing.open
    governance = standing.state.governance
    patch_id = standing.patch.event.patch_id
    # An id that stands in what was rolled back is a late redelivery; a vote after it is another.
    epoch = str(len(governance.rollbacks))
    votes = [
        ReviewDecided(
            event_id=derived_id(patch_id, "vote", each.proposal.item_id, actor, decision, epoch),
            actor=actor,
            occurred_at=occurred_at,
            contract_version=governance.contract.version,
            item_id=each.proposal.item_id,
            record_id=each.proposal.record_id,
            correction_id=each.proposal.correction_id,
            decision=decision,
            rationale=rationale,
        )
        for each in open_
    ]
    outcomes = foretell(standing.state, votes)
    waits = any(each.status is Outcome.ESCALATED for each in open_)
    made = Ballot()
    for vote, outcome in zip(votes, outcomes, strict=True):
        if outcome.refused:
            made.refused[outcome] += 1
        elif waits and outcome in SETTLING:
            made.held += 1
        else:
            made.votes.append(vote)
    return made


def refuse_idle(cast: Ballot, actor: str) -> None:
    """Refuse whose votes all are refused. Who has voted already may say so again, which changes
    nothing.

    Raises:
        InvalidRequest: says why no vote of theirs would count.
    """
    if cast.votes or not cast.refused or set(cast.refused) == {Outcome.DUPLICATE}:
        return
    why = "; ".join(
        f"{count} refused as {outcome} ({outcome.reason})"
        for outcome, count in sorted(cast.refused.items())
    )
    held = f"; {cast.held} would count, and wait for these" if cast.held else ""
    raise InvalidRequest(f"{actor!r} can't settle this patch: {why}{held}. Nothing was appended")
