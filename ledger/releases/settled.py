"""Settled corrections of a long log, folded by columns: what `corrections` counts one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import polars as pl

from ledger.columnar.delta import Delta, delta
from ledger.columnar.replay import ahead, begin, frames
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.releases.corrections import SETTLED, Settled

_SAID = ("partition", "offset", "actor", "source", "segment", "reason", "patch_id")
_VOTED = ("partition", "correction_offset", "actor", "outcome")
_GROUP = ("outcome", "source", "segment", "reason", "author", "reviewer", "patch_id")


def settled(
    dataset: Dataset, governance: Governance, start: Sequence[int], position: Position
) -> Iterator[tuple[Settled, int]]:
    """Kinds of settled corrections with their numbers; see `corrections.corrections_between`."""
    proposals: list[pl.DataFrame] = []
    votes: list[pl.DataFrame] = []
    begun = [begin(dataset, governance, *each) for each in enumerate(position.labels)]
    folds = [fold for _, fold in begun]
    closing = [outcome.value for outcome in SETTLED]

    def take(partition: int, made: Delta) -> None:
        proposals.append(made.corrections.select(_SAID))
        counts = pl.col("outcome").is_in(closing) & (pl.col("offset") >= start[partition])
        votes.append(made.reviews.filter(counts).select(_VOTED))

    for partition, (done, _) in enumerate(begun):
        if done and dataset.stand_in is not None:
            take(partition, dataset.stand_in.rows(governance, partition, done))
    found = (
        frames(dataset, governance, partition, begun[partition][0], stop)
        for partition, stop in enumerate(position.labels)
    )
    for batch, frame, live in ahead(chain.from_iterable(found)):
        fold = folds[batch.partition]
        if not live:
            fold.void(frame)
            continue
        take(batch.partition, delta(batch, frame, fold.judge(frame), fold, 0))
    if not votes:
        return
    said = pl.concat(proposals).rename({"actor": "author", "offset": "correction_offset"})
    voted = pl.concat(votes).rename({"actor": "reviewer"})
    joined = voted.join(said, on=["partition", "correction_offset"], how="left")
    for *cells, count in joined.group_by(*_GROUP).len().iter_rows():
        yield Settled(*cells), count
