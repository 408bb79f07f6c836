"""The same answers for a long log, found by columns: see `whatif`.

One pass finds the events that are left out, a second one folds the records that they are about,
twice: with them, and without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import DECIDED, ODD, PROPOSED, Frame, Reader
from ledger.columnar.replay import ROWS, ColumnarState, ahead, replay, whole
from ledger.columnar.state import CODE, NO_RECORD
from ledger.columnar.strings import Bools, Ints, series
from ledger.core.events import ReviewDecided
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Batch, Topic
from ledger.past.selection import Chosen
from ledger.past.whatif import WhatIf
from ledger.replay import fold_governance

_SEVERAL = -1
_OPEN = (CODE[Outcome.PROPOSED], CODE[Outcome.ESCALATED])


def open_records(dataset: Dataset, position: Position) -> Iterator[str]:
    """The ids of the records that have an open correction at a closed position."""
    for partition in replay(dataset, position).partitions:
        known = partition.columns.corrections
        waiting = (known.record != NO_RECORD) & np.isin(known.status, _OPEN)
        codes = np.unique(known.record[waiting]).astype(np.int64)
        yield from partition.names.things.of(codes)
        for record_id, record in partition.reference.records.items():
            if any(correction.open for correction in record.corrections.values()):
                yield record_id


def what_if(dataset: Dataset, position: Position, chosen: Sequence[Chosen]) -> WhatIf:
    """The difference that it would make if the chosen events had never been appended."""
    governance = fold_governance(dataset, position.governance)
    asked = _Asked(dataset, governance, chosen, Reader(dataset.codec))
    worlds: tuple[list[ColumnarPartition], list[ColumnarPartition]] = [], []
    passed_over, records = 0, set[bytes | None]()
    for partition, stop in enumerate(position.labels):
        found = asked.passed_over(partition, stop)
        passed_over += found.total()
        records |= found.keys()
        for world in worlds:
            world.append(
                ColumnarPartition(
                    governance.contracts, partition, dataset.partitions, dataset.codec
                )
            )
        pieces = list(asked.pieces(partition, stop, frozenset(found)))
        for piece, without in zip(pieces, _idle_votes(pieces), strict=True):
            _fold(worlds[0][-1], piece.frame, live=piece.live)
            _fold(worlds[1][-1], asked.less(piece, without), live=piece.live)
    before, after = (
        ColumnarState(dataset, position, governance, folds).snapshot() for folds in worlds
    )
    return WhatIf(position, passed_over, len(records), before.diff(after))


class _Piece(NamedTuple):
    """Messages of chosen records: whether they are live, and which of them are left out."""

    batch: Batch
    frame: Frame
    live: bool
    gone: Bools


class _Asked(NamedTuple):
    """Which events are left out, of what."""

    dataset: Dataset
    governance: Governance
    chosen: Sequence[Chosen]
    reader: Reader

    def passed_over(self, partition: int, stop: int) -> Counter[bytes | None]:
        """How many messages of each key are left out."""
        found: Counter[bytes | None] = Counter()
        for batch in ahead(whole(self.likely(partition, stop), ROWS)):
            rows = np.nonzero(self.left_out(batch, self.frame(batch)))[0].tolist()
            found.update(batch.keys[row] for row in rows)
        return found

    def likely(self, partition: int, stop: int) -> Iterator[Batch]:
        """The messages that hold the bytes which one of the selections asks for: only those are
        taken apart.
        """
        wanted = [[value.encode() for value in each.fields.values()] for each in self.chosen]
        for batch in self.dataset.log.read(Topic.LABELS, partition, 0, stop):
            found = set[int]()
            for needles in wanted:
                rows = [row for row, value in enumerate(batch.values) if value is not None]
                for needle in needles:
                    rows = [row for row in rows if needle in (batch.values[row] or b"")]
                found.update(rows)
            if found:
                yield batch.rows(sorted(found))

    def frame(self, batch: Batch) -> Frame:
        """The batch as columns."""
        return self.reader.frame(batch.offsets, batch.keys, batch.values)

    def pieces(self, partition: int, stop: int, keys: frozenset[bytes | None]) -> Iterator[_Piece]:
        """The messages with these keys."""
        for span in self.governance.spans(partition, stop) if keys else ():
            parts = (
                batch.rows([row for row, key in enumerate(batch.keys) if key in keys])
                for batch in self.dataset.log.read(Topic.LABELS, partition, span.start, span.stop)
            )
            for batch in whole((part for part in parts if len(part)), ROWS):
                frame = self.frame(batch)
                yield _Piece(batch, frame, span.live, self.left_out(batch, frame))

    def less(self, piece: _Piece, without: Bools) -> Frame:
        """A piece's frame without some rows."""
        if not without.any():
            return piece.frame
        return self.frame(piece.batch.rows(np.nonzero(~without)[0].tolist()))

    def left_out(self, batch: Batch, frame: Frame) -> Bools:
        """Which messages of a batch are left out."""
        found = np.zeros(len(frame), np.bool_)
        for each in self.chosen:
            since = 0 if each.since is None else each.since.labels[batch.partition]
            until = 2**62 if each.until is None else each.until.labels[batch.partition]
            kind = DECIDED if each.event_type is ReviewDecided else PROPOSED
            inside = (frame.offsets >= since) & (frame.offsets < until)
            rows = np.nonzero(inside & (frame.kind == kind))[0]
            for name, value in each.fields.items():
                starts, lengths = frame.field(name, rows)
                same = lengths == len(value.encode())
                rows, starts, lengths = rows[same], starts[same], lengths[same]
                rows = rows[(series(frame.data, starts, lengths) == value).to_numpy()]
            found[rows] = True
        for row in np.nonzero(frame.kind == ODD)[0].tolist():
            place = (batch.topic, batch.partition, batch.offsets[row], batch.timestamps_ms[row])
            entry = Entry(*place, batch.keys[row], self.dataset.codec.decode(batch.values[row]))
            found[row] = any(each.holds(entry) for each in self.chosen)
        return found


def _idle_votes(pieces: Sequence[_Piece]) -> list[Bools]:
    """What is left out of each piece, and the votes that have nothing left to vote on.

    Such a vote changes nothing but the contract that its record is judged under, and not even
    that where all the record's events name the same one. Others stay: they are refused.
    """
    versions: dict[bytes | None, int] = {}
    proposed, kept = set[tuple[bytes | None, str]](), set[tuple[bytes | None, str]]()
    for batch, frame, _, gone in pieces:
        said = np.where(frame.kind == ODD, _SEVERAL, frame.version)
        for key, version in zip(batch.keys, said.tolist(), strict=True):
            if versions.setdefault(key, version) != version:
                versions[key] = _SEVERAL
        for rows, names in ((gone, proposed), (~gone, kept)):
            names.update(_corrections(batch, frame, np.nonzero(rows & (frame.kind == PROPOSED))[0]))
    idle = {each for each in proposed - kept if versions[each[0]] != _SEVERAL}
    without: list[Bools] = []
    for batch, frame, live, gone in pieces:
        votes = np.nonzero(~gone & (frame.kind == DECIDED))[0] if live else np.empty(0, np.int64)
        on = [each in idle for each in _corrections(batch, frame, votes)]
        made = gone.copy()
        made[votes[np.array(on, np.bool_)]] = True
        without.append(made)
    return without


def _corrections(batch: Batch, frame: Frame, rows: Ints) -> Iterator[tuple[bytes | None, str]]:
    """The key and the correction id of each row."""
    names: list[str] = series(frame.data, *frame.field("correction_id", rows)).to_list()
    places: list[int] = rows.tolist()
    return zip((batch.keys[place] for place in places), names, strict=True)


def _fold(fold: ColumnarPartition, frame: Frame, *, live: bool) -> None:
    if len(frame):
        _ = fold.apply(frame) if live else fold.void(frame)
