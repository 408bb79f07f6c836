"""Votes and what they settle, for the corrections of plain records.

First a verdict: of the votes that are permitted, the n-th of each correction settles it. Then the
application, in rounds: in round n, the n-th accepted correction of each item.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ledger.columnar.forward import forward
from ledger.columnar.rows import Rows, firsts, ranks
from ledger.columnar.state import CODE, DECISIONS, Columns, chain, link
from ledger.columnar.strings import Bools, Ints
from ledger.columnar.tables import EXPERT, EXPERT_CLASS, MAY_REVIEW
from ledger.core.outcome import Outcome

ROUNDS_MAX = 64
_ACCEPT, _KEEP, _ESCALATE = (DECISIONS.index(each) for each in ("accept", "keep", "escalate"))
_PROPOSED, _APPLIED, _STALE, _KEPT = (
    CODE[each] for each in (Outcome.PROPOSED, Outcome.APPLIED, Outcome.STALE, Outcome.KEPT)
)


class Verdicts:
    """The votes of a batch on open corrections, and what becomes of them.

    Args:
        columns: the state, with the corrections of this batch already in it.
        votes: the votes on known corrections, in log order.
    """

    def __init__(self, columns: Columns, votes: Rows) -> None:
        own, tables = columns.corrections, columns.tables
        self._columns, self.votes = columns, votes
        code = votes.correction
        self.outcomes: NDArray[np.uint8] = np.full(len(votes), CODE[Outcome.VOTED], np.uint8)
        opened = own.status[code] == _PROPOSED
        itself = votes.actor == own.actor[code]
        allowed = tables.may(MAY_REVIEW, votes.judged, votes.actor)
        self.outcomes[~allowed] = CODE[Outcome.NOT_PERMITTED]
        self.outcomes[itself] = CODE[Outcome.SELF_REVIEW]
        self.outcomes[~opened] = CODE[Outcome.ALREADY_DECIDED]

        valid = np.nonzero(opened & allowed & ~itself)[0]
        of = code[valid]
        rank = ranks(of, own.scratch) + own.votes[of]
        enough = rank + 1 >= tables.approvals(votes.judged[valid])
        settling = valid[enough][firsts(of[enough], own.scratch)]
        settled_at = _settled_at(code, settling, own.scratch)
        late = opened & (np.arange(len(votes)) > settled_at)
        self.outcomes[late] = CODE[Outcome.ALREADY_DECIDED]
        self.counted = valid[~late[valid]]
        """The votes that count, as numbers of `votes`."""
        self.settling = settling
        """Those that settle their correction."""
        self.label: Ints = np.zeros(len(votes), np.int64)
        """Where a vote applied its correction: the item's label after it, once committed."""
        self.contract: Ints = np.zeros(len(votes), np.int64)
        """The contract that this label stands under."""

    def difficult(self) -> Bools:
        """Which of the counted votes the reference fold has to judge."""
        columns, votes = self._columns, self.votes.where(_mask(self.counted, len(self.votes)))
        own, tables, code = columns.corrections, columns.tables, votes.correction
        hard = votes.item != own.item[code]
        hard |= tables.may(EXPERT, votes.judged, votes.actor)
        hard |= votes.decision == _ESCALATE
        since, until = own.version[code].astype(np.int64), votes.judged
        for labels in (own.old[code], own.new[code]):
            then = forward(columns, own.item[code], labels.astype(np.int64), since, until)
            hard |= (votes.decision == _ACCEPT) & tables.label_is(EXPERT_CLASS, until, then)
        earlier = own.votes[code] > 0
        first = firsts(code, own.scratch)
        if earlier.any() or not first.all():
            said = np.where(
                earlier, own.decision[code], votes.decision[_first_of(code, first, own.scratch)]
            )
            hard |= votes.decision != said
            hard |= self._again(votes, code)
        return hard

    def _again(self, votes: Rows, code: Ints) -> Bools:
        """Which votes are not their reviewer's first on the correction."""
        log = self._columns.votes
        rows = chain(self._columns.corrections.vote, log.before, np.unique(code))
        codes = np.concatenate((log.correction[rows], code)).astype(np.int64)
        actors = np.concatenate((log.actor[rows], votes.actor)).astype(np.int64)
        pairs = (codes << 32) | actors
        _, first = np.unique(pairs, return_index=True)
        again = np.ones(len(pairs), np.bool_)
        again[first] = False
        return again[len(rows) :]


def commit(columns: Columns, verdicts: Verdicts, kept: Bools) -> None:
    """Count the votes, settle and apply, for the votes that are kept: whole records."""
    own, votes = columns.corrections, verdicts.votes
    counted = verdicts.counted[kept[verdicts.counted]]
    code, decision = votes.correction[counted], votes.decision[counted]
    if firsts(code, own.scratch).all():
        own.votes[code] += 1
    else:
        np.add.at(own.votes, code, 1)
    own.decision[code] = decision
    added = columns.votes.add(code, votes.actor[counted], decision)
    link(own.vote, columns.votes.before, code, added, own.scratch)

    settling = verdicts.settling[kept[verdicts.settling]]
    keeping = votes.decision[settling] == _KEEP
    verdicts.outcomes[settling[keeping]] = _KEPT
    _apply(columns, verdicts, np.sort(settling[~keeping]))
    own.status[votes.correction[settling]] = verdicts.outcomes[settling]


def crowded(columns: Columns, verdicts: Verdicts) -> Ints:
    """The settling votes on items of which too many corrections are accepted in one batch."""
    votes = verdicts.votes
    accepted = np.sort(verdicts.settling[votes.decision[verdicts.settling] == _ACCEPT])
    items = columns.corrections.item[votes.correction[accepted]].astype(np.int64)
    return accepted[ranks(items, columns.things.scratch) >= ROUNDS_MAX]


def _apply(columns: Columns, verdicts: Verdicts, accepting: Ints) -> None:
    """Apply the corrections that these votes accept, in their order: applied or stale."""
    items = columns.corrections.item[verdicts.votes.correction[accepting]].astype(np.int64)
    rank = ranks(items, columns.things.scratch)
    for turn in range(int(rank.max(initial=-1)) + 1):
        rows = np.nonzero(rank == turn)[0]
        _turn(columns, verdicts, accepting[rows], items[rows])


def _turn(columns: Columns, verdicts: Verdicts, accepting: Ints, items: Ints) -> None:
    """Apply at most one accepted correction of each item."""
    own, things = columns.corrections, columns.things
    codes = verdicts.votes.correction[accepting]
    since, present = own.version[codes].astype(np.int64), things.version[items].astype(np.int64)
    until = np.maximum(since, present)
    label = forward(columns, items, things.label[items].astype(np.int64), present, until)
    expected = forward(columns, items, own.old[codes].astype(np.int64), since, until)
    applied = label == expected
    changed = items[applied]
    given = forward(columns, items, own.new[codes].astype(np.int64), since, until)
    things.label[changed] = verdicts.label[accepting[applied]] = given[applied]
    things.version[changed] = verdicts.contract[accepting[applied]] = until[applied]
    verdicts.outcomes[accepting] = np.where(applied, _APPLIED, _STALE)


def _mask(rows: Ints, size: int) -> Bools:
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return mask


def _settled_at(codes: Ints, settling: Ints, scratch: Ints) -> Ints:
    """For each vote, the number of the vote that settles its correction; beyond all if none."""
    scratch[codes[settling]] = settling
    found = scratch[codes]
    scratch[codes] = -1
    return np.where(found < 0, len(codes), found)


def _first_of(codes: Ints, first: Bools, scratch: Ints) -> Ints:
    """For each row, the first row with its code."""
    rows = np.nonzero(first)[0]
    scratch[codes[rows]] = rows
    found = scratch[codes]
    scratch[codes] = -1
    return found
