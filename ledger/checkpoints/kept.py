"""Messages that stand beside the rows, so that a fold is restored without the log.

Rows say what became of every live event. Of what a rollback made void they say nothing, but its
event ids and correction ids stay taken; and a registration that filled an item in says more than
its row does. These messages are kept as they were appended. What any rollback that counted ever
made void is kept, for earlier positions read it as void too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import polars as pl

from ledger.checkpoints.segments import KEPT, SCHEMAS
from ledger.core.epochs import Epochs
from ledger.core.outcome import Outcome
from ledger.logs.base import Batch, Topic

Messages = Callable[[int, int, int], Iterable[Batch]]
"""`(partition, start, stop)`: the label messages of these offsets."""
Ranges = Sequence[tuple[int, int]]
"""Offsets `[start, stop)`, ascending and apart."""
_GAP_MAX = 1_000
"""Two messages nearer than this are read at once."""


def void_once(epochs: Epochs, partition: int, start: int, stop: int) -> Ranges:
    """What rollbacks ever made void of `[start, stop)` of a partition."""
    rollbacks = epochs.governances[-1].rollbacks
    found = ((r.event.to.labels[partition], r.event.at.labels[partition]) for r in rollbacks)
    return joined(((max(start, first), min(stop, last)) for first, last in found), 0)


def joined(ranges: Iterable[tuple[int, int]], gap: int) -> Ranges:
    """Their union; what is no further apart than `gap` is one."""
    made: list[tuple[int, int]] = []
    for start, stop in sorted(each for each in ranges if each[0] < each[1]):
        if made and start <= made[-1][1] + gap:
            made[-1] = (made[-1][0], max(made[-1][1], stop))
        else:
            made.append((start, stop))
    return made


def within(ranges: Ranges, start: int, stop: int) -> Ranges:
    """What of the ranges lies in `[start, stop)`."""
    found = ((max(first, start), min(last, stop)) for first, last in ranges)
    return [each for each in found if each[0] < each[1]]


def apart(ranges: Ranges, known: Ranges) -> Ranges:
    """What of the ranges lies outside of others, in one pass over both."""
    left: list[tuple[int, int]] = []
    at = 0
    for start, stop in ranges:
        while at < len(known) and known[at][1] <= start:
            at += 1
        done, here = start, at
        while here < len(known) and known[here][0] < stop:
            left.append((done, known[here][0]))
            done, here = known[here][1], here + 1
        left.append((done, stop))
    return [each for each in left if each[0] < each[1]]


def filled(changes: pl.DataFrame) -> Ranges:
    """The places of registrations that filled an item in."""
    offsets = changes.filter(pl.col("outcome") == Outcome.FILLED.value)["offset"].to_list()
    return [(offset, offset + 1) for offset in offsets]


def gather(
    wanted: Ranges, known: pl.DataFrame, have: Ranges, read: Callable[[int, int], Iterable[Batch]]
) -> pl.DataFrame:
    """The messages of the wanted offsets, as a frame of `kept` rows.

    Args:
        wanted: which.
        known: messages that are kept already.
        have: the offsets of which all messages are among them.
        read: reads the others.
    """
    missing = apart(wanted, have)
    frames = [
        known,
        *(frame_of(batch) for near in joined(missing, _GAP_MAX) for batch in read(*near)),
    ]
    return inside(pl.concat(frames), wanted).unique("offset", keep="first").sort("offset")


def inside(frame: pl.DataFrame, ranges: Ranges) -> pl.DataFrame:
    """The rows at these offsets."""
    starts = pl.Series("_start", [start for start, _ in ranges], dtype=pl.Int64)
    stops = pl.Series([stop for _, stop in ranges], dtype=pl.Int64)
    before = starts.search_sorted(frame["offset"], side="right").cast(pl.Int64)
    last = pl.concat([pl.Series([-1], dtype=pl.Int64), stops]).gather(before)
    return frame.filter(frame["offset"] < last)


def frame_of(batch: Batch) -> pl.DataFrame:
    """Messages as rows of `kept`."""
    columns = (batch.offsets, batch.timestamps_ms, batch.keys, batch.values)
    return pl.DataFrame(
        {name: list(cells) for name, cells in zip(SCHEMAS[KEPT], columns, strict=True)},
        schema=SCHEMAS[KEPT],
    )


def batches_of(frame: pl.DataFrame, partition: int, rows: int) -> Iterator[Batch]:
    """Rows of `kept` as messages, so many at a time."""
    for part in frame.iter_slices(rows) if len(frame) else ():
        offsets, times = (part[name].to_list() for name in ("offset", "timestamp_ms"))
        keys, values = (part[name].to_list() for name in ("key", "value"))
        yield Batch(Topic.LABELS, partition, offsets, times, keys, values)
