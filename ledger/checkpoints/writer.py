"""Writes checkpoints: rows are gathered, stored as segments, and named by a manifest.

A writer may die between any two files. Segments come first, then the manifest that names them,
then what it names no more goes; so what no manifest names is garbage, which the next writer
removes, and a manifest never names what is not whole. Two writers of one partition store the same
rows, for the fold is deterministic; one that finds what the other stored starts from there.

Small segments become larger ones: a segment joins the one before it unless that is `_FAN` times
as large, so that a partition has few files and a row is written again a few times at most. Live
and void ranges never share a segment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from ledger.checkpoints.kept import Ranges, filled, gather, joined, void_once, within
from ledger.checkpoints.manifest import (
    FORMAT,
    GONE,
    Cut,
    Manifest,
    Origin,
    Segment,
    Stored,
    folder,
    ours,
)
from ledger.checkpoints.segments import KEPT, SCHEMAS, TABLES, encode, stored
from ledger.checkpoints.store import Partition, Store
from ledger.columnar.delta import Delta
from ledger.core.epochs import Epochs, fingerprint
from ledger.errors import CheckpointDamaged, CorruptLog, LedgerError
from ledger.logs.base import Batch

CUT_EVERY = 100_000
"""After so many events of a partition what is gathered is stored."""
_FAN = 3
_EVENTS_MAX = 1 << 22
_BYTES_MAX = 1 << 26


class Rows(NamedTuple):
    """What the events at offsets `start <= offset < stop` of a partition changed."""

    partition: int
    start: int
    stop: int
    delta: Delta
    met: Iterable[int]
    """The contract versions that these events name, refused ones too."""


class Overtaken(LedgerError):
    """Somebody else has written meanwhile: look what is stored, and start from there."""


class _Part(NamedTuple):
    """A segment as it is to be; `size` is what is known of its bytes so far."""

    start: int
    stop: int
    live: bool
    size: int


@dataclass
class _State:
    """One partition: what is stored, and what is gathered behind it."""

    base: Partition | None
    kept: int
    """What is stored counts below here; what is gathered starts here."""
    stop: int
    met: set[int]
    gathered: dict[str, list[pl.DataFrame]]
    known: set[str] = field(default_factory=set[str])
    """The files that this writer has seen named; the first time, all that are there."""
    checked: tuple[int, int] | None = None
    """As of how much of governance what was stored before is known to count."""


class CheckpointWriter:
    """Stores what the fold changed.

    Args:
        store: where to.
        cut_every: after how many events of a partition to store what is gathered.
    """

    def __init__(self, store: Store, cut_every: int = CUT_EVERY) -> None:
        self._store = store
        self._cut_every = cut_every
        self._states: dict[int, _State] = {}

    def stored(self, partition: int) -> int:
        """Up to where rows of a partition are stored, whoever wrote them."""
        base = self._store.partition(partition)
        return base.manifest.stop if base else 0

    def forget(self) -> None:
        """Drop what is gathered and go on from what is stored."""
        self._states.clear()

    def begin(self, partition: int, epochs: Epochs) -> int:
        """Go on from what is stored, as far as it is what these epochs make of the log; the next
        offset to write.
        """
        self._states.pop(partition, None)
        return self._checked(partition, epochs).stop

    def clear(self) -> None:
        """Remove all that is stored, whatever is wrong with it; what is no checkpoint stays.

        Raises:
            AnotherLog: checkpoints of another log stand there; all of them stay.
        """
        files = self._store.files
        names = [name for name in files.list("") if ours(name)]
        self._store.refuse_another(names)
        for name in names:
            files.delete(name)
        self._states.clear()

    def write(self, piece: Rows, epochs: Epochs) -> None:
        """Take the next rows of a partition. Those that are stored already are passed over.

        Args:
            piece: the rows.
            epochs: under which they were folded.

        Raises:
            Overtaken: somebody else has written, and less than is assumed here.
        """
        partition, start, stop, delta, met = piece
        state = self._state(partition)
        if start < state.kept:  # what is stored is taken for the same: it has to be
            state = self._checked(partition, epochs)
        here = state.stop
        if start > here:
            raise Overtaken(
                f"the checkpoints of partition {partition} end at {here}, and not at {start}"
            )
        if stop <= here:
            return
        for table, frame in zip(TABLES, delta, strict=True):
            new = stored(table, frame).filter(pl.col("offset") >= here)
            if len(new):
                state.gathered[table].append(new.rechunk())
        state.met |= set(met)
        state.stop = stop
        if stop - state.kept >= self._cut_every:
            self.flush(partition, epochs)

    def reset(self, partition: int, start: int) -> None:
        """Forget the rows at `start` and beyond: they are folded again."""
        state = self._state(partition)
        for frames in state.gathered.values():
            frames[:] = [frame.filter(pl.col("offset") < start) for frame in frames]
        state.stop = min(state.stop, start)
        state.kept = min(state.kept, start)

    def flush(self, partition: int, epochs: Epochs) -> None:
        """Store what is gathered of a partition, with a cut at its end and at named positions.

        Raises:
            Overtaken: somebody else has stored something since this writer looked last.
        """
        state = self._state(partition)
        before = state.base.manifest if state.base else None
        spans = [
            (span.start, span.stop, span.live)
            for span in epochs.governances[-1].spans(partition, state.stop)
        ]
        if before and state.stop < before.stop:
            self._refuse_last(partition, state.stop)
        parts = compacted(arranged(before.segments if before else (), state, spans))
        if before and _same(before, parts, state, epochs):
            self._sweep(state, _named(before))
            return
        self._refuse_late(partition, state)
        try:
            segments = tuple(self._segment(partition, state, part, epochs) for part in parts)
        except CheckpointDamaged:
            self._refuse_late(partition, state)
            raise
        manifest = self._manifest(partition, state, segments, epochs)
        files, name = self._store.files, manifest.name()
        files.put(name, manifest.data())
        made = self._taken(Partition(files, name, manifest, self._store.origin))
        made.checked = _known(epochs)
        self._states[partition] = made
        newest = self._store.partition(partition)  # what another names, who was faster, stays
        self._sweep(state, made.known | (_named(newest.manifest) if newest else set[str]()))

    def _sweep(self, state: _State, left: set[str]) -> None:
        """Remove the files that are named no more."""
        for name in sorted(state.known - left):
            self._store.files.delete(name)
        state.known = left

    def _checked(self, partition: int, epochs: Epochs) -> _State:
        """The state, of which what is stored is what these epochs make of the log."""
        state = self._state(partition)
        if state.base is not None and state.checked != _known(epochs):
            self.reset(partition, state.base.valid(epochs))
        state.checked = _known(epochs)
        return state

    def _state(self, partition: int) -> _State:
        if partition not in self._states:
            base = self._store.partition(partition)
            state = self._taken(base)
            state.known = set(filter(ours, self._store.files.list(folder(partition))))
            self._states[partition] = state
        return self._states[partition]

    def _taken(self, base: Partition | None) -> _State:
        """The state in which all is stored."""
        gathered: dict[str, list[pl.DataFrame]] = {table: [] for table in TABLES}
        if base is None:
            return _State(None, 0, 0, set(), gathered)
        manifest = base.manifest
        met = set(manifest.cuts[-1].met) if manifest.cuts else set[int]()
        return _State(base, manifest.stop, manifest.stop, met, gathered, _named(manifest))

    def _refuse_last(self, partition: int, stop: int) -> None:
        """Raise `CorruptLog` where rows beyond `stop` would be dropped that no log makes again."""
        if self._store.origin.tie(partition, stop) == GONE:
            raise CorruptLog(
                f"the checkpoints of labels partition {partition} stand in for events that are "
                f"gone, and should be made again from offset {stop} on: they stay as they are"
            )

    def _refuse_late(self, partition: int, state: _State) -> None:
        """Raise `Overtaken` if what is stored is not what it was when this writer looked last."""
        newest = self._store.partition(partition)
        if newest != state.base:
            self._states.pop(partition, None)
            raise Overtaken(f"somebody else has stored checkpoints of partition {partition}")

    def _manifest(
        self, partition: int, state: _State, segments: tuple[Segment, ...], epochs: Epochs
    ) -> Manifest:
        origin = self._store.origin
        return Manifest(
            number=state.base.manifest.number + 1 if state.base else 1,
            dataset=origin.dataset,
            topic_id=origin.topic_id,
            partition=partition,
            partitions=origin.partitions,
            epoch=len(epochs.governances) - 1,
            stop=state.stop,
            segments=segments,
            cuts=tuple(_cuts(partition, state, epochs, origin)),
        )

    def _segment(self, partition: int, state: _State, part: _Part, epochs: Epochs) -> Segment:
        """The segment, stored; one that is there stays."""
        void = tuple(void_once(epochs, partition, part.start, part.stop))
        wanted = Segment(start=part.start, stop=part.stop, live=part.live, files={}, kept=void)
        if state.base and state.base.manifest.format == FORMAT and part.stop <= state.kept:
            for known in state.base.manifest.segments:
                if known.model_copy(update={"files": {}}) == wanted:
                    return known
        frames = {table: _rows(state, table, part) for table in TABLES}
        asked = joined([*void, *filled(frames["changes"])], 0)
        frames[KEPT] = self._messages(partition, state, part, asked)
        files = {
            table: self._put(partition, table, part, frame)
            for table, frame in frames.items()
            if len(frame)
        }
        return wanted.model_copy(update={"files": files})

    def _messages(self, partition: int, state: _State, part: _Part, wanted: Ranges) -> pl.DataFrame:
        """The messages of a part, from what is stored and, where they are not there, the log."""
        known = _rows(state, KEPT, part)
        have = [(offset, offset + 1) for offset in known["offset"]]
        if state.base:
            have += [each for segment in state.base.manifest.segments for each in segment.kept]

        def read(start: int, stop: int) -> Iterable[Batch]:
            return self._store.origin.messages(partition, start, stop)

        return gather(wanted, known, within(joined(have, 0), 0, state.kept), read)

    def _put(self, partition: int, table: str, part: _Part, frame: pl.DataFrame) -> Stored:
        data = encode(frame)
        sha256 = hashlib.sha256(data).hexdigest()
        place = folder(partition) if part.live else f"{folder(partition)}/void"
        name = f"{place}/{table}/{part.start:012}-{part.stop:012}-{sha256[:8]}.parquet"
        self._store.files.put(name, data)
        return Stored(name=name, rows=len(frame), size=len(data), sha256=sha256)


def _known(epochs: Epochs) -> tuple[int, int]:
    """How much of governance is known: the contract changes and rollbacks that counted."""
    return len(epochs.governances[-1].changes), len(epochs.governances[-1].rollbacks)


def _named(manifest: Manifest) -> set[str]:
    """The files of a manifest, itself included."""
    return {file.name for file in manifest.files()} | {manifest.name()}


def _rows(state: _State, table: str, part: _Part) -> pl.DataFrame:
    """The stored columns of a range, from what is stored and what is gathered."""
    frames = [stored(table, pl.DataFrame(schema=SCHEMAS[table]))]
    if state.base and part.start < state.kept:
        frames.append(state.base.rows(table, [(part.start, min(part.stop, state.kept))]))
    inside = pl.col("offset").is_between(part.start, part.stop, closed="left")
    frames += [frame.filter(inside) for frame in state.gathered.get(table, ())]
    return pl.concat(frames, rechunk=True)


def _cuts(partition: int, state: _State, epochs: Epochs, origin: Origin) -> Iterable[Cut]:
    """The cuts there were, and those at the end, at named positions and where epochs meet. The one
    at the end is tied to the log.

    What is met is taken to be met everywhere: a cut may then count as invalid where it is valid,
    never the other way.
    """
    before = state.base.manifest.cuts if state.base else ()
    cuts = {cut.offset: cut for cut in before if cut.offset <= state.kept}
    places = {state.stop}
    places |= {each.stop for each in epochs.ranges(partition, state.stop)}
    places |= {position.labels[partition] for position in epochs.governances[-1].named}
    for place in places:
        last = place == state.stop
        if 0 < place <= state.stop and (place not in cuts or (last and not cuts[place].tie)):
            epoch = epochs.epoch(partition, place - 1)
            said = fingerprint(epochs.governances[epoch], partition, place, state.met)
            cuts[place] = Cut(
                offset=place,
                epoch=epoch,
                fingerprint=said,
                met=tuple(sorted(state.met)),
                tie=origin.tie(partition, place) if last else None,
            )
    return [cuts[offset] for offset in sorted(cuts)]


def _same(before: Manifest, parts: Sequence[_Part], state: _State, epochs: Epochs) -> bool:
    """Whether there is nothing to store: nothing was gathered, and all is where it is to be."""
    there = [(each.start, each.stop, each.live) for each in before.segments]
    partition = before.partition
    places = {each.labels[partition] for each in epochs.governances[-1].named}
    return (
        before.format == FORMAT
        and state.kept == state.stop == before.stop
        and before.epoch == len(epochs.governances) - 1
        and there == [part[:3] for part in parts]
        and {each for each in places if 0 < each <= state.stop} <= {c.offset for c in before.cuts}
    )


def arranged(
    segments: Sequence[Segment], state: _State, spans: Sequence[tuple[int, int, bool]]
) -> list[_Part]:
    """What is stored and what is gathered, divided where live and void ranges meet."""
    parts = [
        (each.start, min(each.stop, state.kept), sum(file.size for file in each.files.values()))
        for each in segments
        if each.start < state.kept
    ]
    if state.kept < state.stop:
        parts.append((state.kept, state.stop, 0))
    return [
        _Part(max(start, first), min(stop, last), live, size)
        for start, stop, size in parts
        for first, last, live in spans
        if max(start, first) < min(stop, last)
    ]


def compacted(parts: Sequence[_Part]) -> list[_Part]:
    """The parts with small neighbours joined."""
    made: list[_Part] = []
    for part in parts:
        made.append(part)
        while len(made) > 1 and _joins(made[-2], made[-1]):
            last = made.pop()
            made[-1] = made[-1]._replace(stop=last.stop, size=made[-1].size + last.size)
    return made


def _joins(one: _Part, other: _Part) -> bool:
    events, more = one.stop - one.start, other.stop - other.start
    return (
        one.live == other.live
        and events <= _FAN * more
        and events + more <= _EVENTS_MAX
        and one.size + other.size <= _BYTES_MAX
    )
