"""What became of a patch: its corrections as the log holds them, found in one pass and folded in
another.

A correction belongs to a patch if it names it and its author proposed the patch; what a rollback
took back belongs to none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.core.events import ReviewDecided
from ledger.core.fold import Correction
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.core.register import Patch
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Topic
from ledger.record import state_of
from ledger.replay import State, fold_governance

if TYPE_CHECKING:
    from ledger.columnar.delta import Delta

SETTLING = frozenset({Outcome.APPLIED, Outcome.STALE, Outcome.KEPT})
"""What a vote that settles a correction makes of it."""
OPEN, CONFLICT = "open", "conflict"


@dataclass
class Standing:
    """A patch at a position.

    Attributes:
        patch: its frame.
        state: of the records that it is about.
        corrections: those of the patch, sorted by the item id's UTF-8 bytes.
        first_settled: by partition, the offset of the first vote that settled one of them.
    """

    patch: Patch
    state: State
    corrections: list[Correction]
    first_settled: Mapping[int, int] = field(default_factory=dict[int, int])

    def status(self, correction: Correction) -> str:
        """`open`, `conflict` (it is open, and its item is no longer what it corrects), or what it
        is: escalated, applied, stale, kept, withdrawn.
        """
        if self.state.conflict(correction):
            return CONFLICT
        return OPEN if correction.status is Outcome.PROPOSED else correction.status.value

    def counts(self) -> dict[str, int]:
        """How many corrections have each status, `missing` those that are not on the log."""
        counts = Counter(self.status(each) for each in self.corrections)
        lacking = self.patch.event.count - len(self.corrections)
        return dict(sorted(counts.items())) | ({"missing": lacking} if lacking > 0 else {})

    @property
    def open(self) -> list[Correction]:
        """The corrections that can still be decided."""
        return [each for each in self.corrections if each.open]


def standings(
    dataset: Dataset, patches: Sequence[Patch], position: Position, stop: Position
) -> list[Standing]:
    """Each patch at a closed position.

    Args:
        dataset: what to read.
        patches: by their frames.
        position: where their corrections are looked at.
        stop: how far the log is searched for their records; at or beyond the position.
    """
    starts = [
        max(dataset.head(partition), min((each.event.at[partition] for each in patches), default=0))
        for partition in range(dataset.partitions)
    ]
    records = {key.decode() for key in _keys(dataset, patches, starts, stop)}
    settled: dict[tuple[str, str], tuple[int, int]] = {}
    for partition, lost in _lost(dataset, position) if patches else ():
        named = lost.corrections["patch_id"].is_in([each.event.patch_id for each in patches])
        records.update(lost.corrections["record_id"].filter(named))
        for row in lost.reviews.select("record_id", "correction_id", "outcome", "offset").rows():
            if row[2] in SETTLING:
                settled[row[0], row[1]] = partition, row[3]

    def observe(entry: Entry, outcome: Outcome) -> None:
        event = entry.event
        if isinstance(event, ReviewDecided) and outcome in SETTLING:
            settled[event.record_id, event.correction_id] = entry.partition, entry.offset

    state = state_of(dataset, records, position, observe, starts)
    mine: dict[str, list[Correction]] = {each.event.patch_id: [] for each in patches}
    authors = {each.event.patch_id: each.event.actor for each in patches}
    for correction in state.corrections():
        name = correction.proposal.patch_id
        if name in mine and authors[name] == correction.proposal.actor:
            mine[name].append(correction)
    made: list[Standing] = []
    for patch in patches:
        found = sorted(mine[patch.event.patch_id], key=_by_item)
        first: dict[int, int] = {}
        for each in found:
            place = settled.get((each.proposal.record_id, each.proposal.correction_id))
            if place is not None:
                first[place[0]] = min(place[1], first.get(place[0], place[1]))
        made.append(Standing(patch, state, found, first))
    return made


def _by_item(correction: Correction) -> bytes:
    return correction.proposal.item_id.encode()


def _lost(dataset: Dataset, position: Position) -> Iterator[tuple[int, Delta]]:
    """What the log holds no more of each partition below a position, as a checkpoint tells it."""
    if dataset.stand_in is None:
        return
    governance = fold_governance(dataset, position.governance)
    for partition, stop in enumerate(position.labels):
        if end := min(stop, dataset.head(partition)):
            yield partition, dataset.stand_in.rows(governance, partition, end)


def _keys(
    dataset: Dataset, patches: Sequence[Patch], starts: Sequence[int], stop: Position
) -> Iterator[bytes]:
    """The keys of the messages that may name one of the patches: their values hold its id, and
    nothing is decoded.
    """
    named = re.compile(b"|".join(re.escape(each.event.patch_id.encode()) for each in patches))
    for partition, (start, end) in enumerate(zip(starts, stop.labels, strict=True)):
        if start >= end or not patches:
            continue
        for batch in dataset.log.read(Topic.LABELS, partition, start, end):
            for row, value in enumerate(batch.values):
                if value is not None and named.search(value):
                    yield batch.keys[row] or b""


def frame_void(governance: Governance, patch: Patch) -> bool:
    """Whether a rollback took back what followed the frame's opening."""
    return governance.void(patch.offset)


def settlement_void(governance: Governance, patch: Patch) -> bool:
    """Whether the patch was settled and a rollback took that back."""
    return patch.settled_at is not None and governance.void(patch.settled_at)
