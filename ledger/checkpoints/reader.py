"""What checkpoints answer: snapshots and differences of covered positions, and states to fold on
from. Everything else, and everything when they are damaged, is answered by replay.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import structlog

from ledger.checkpoints.files import open_files
from ledger.checkpoints.index import rows_at_hand
from ledger.checkpoints.rows import COLUMNS, Rows, attributes_in, rows_of, slices_of
from ledger.checkpoints.store import Partition, Store, origin_of
from ledger.checkpoints.timeline import Timeline
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.replay import ColumnarState, frames
from ledger.columnar.restore import restore
from ledger.columnar.snapshot import ColumnarDifference, ColumnarSnapshot
from ledger.core.epochs import Epochs, live
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import CheckpointDamaged, CheckpointsUnavailable
from ledger.replay import State, replay

_TRIES = 5
_KEPT_MAX = 1_000
_say = structlog.get_logger("errata.checkpoints")


class Checkpoints:
    """The checkpoints of a dataset, for reading.

    Args:
        url: where they are.
        dataset: the log they are of.

    Every method raises `CheckpointDamaged` and `CheckpointsUnavailable`; what it answered raises
    neither. Governance is always the state at the end of what is known, and does not change any
    more: what is found out about it is kept as long as the same is given.
    """

    def __init__(self, url: str, dataset: Dataset) -> None:
        self._dataset = dataset
        self.store = Store(open_files(url), origin_of(dataset))
        self._parts: Sequence[Partition | None] = ()
        self._line: tuple[Sequence[Partition | None], Sequence[str], Timeline] | None = None
        self._known: tuple[Governance, Epochs] | None = None
        self._then: dict[int, Governance] = {}
        self._covered: dict[Position, bool] = {}
        self._found: tuple[Epochs, Sequence[Partition | None], tuple[int, ...]] | None = None

    def snapshot(self, governance: Governance, position: Position) -> ColumnarSnapshot | None:
        """The labels at a closed position; None where nothing that is stored helps."""
        epochs = self._epochs(governance)
        line = self._covering(epochs, position)
        if line is None:
            helps = any(self._stops(epochs))
            return self.state(governance, position).snapshot() if helps else None
        then = self._prefix(governance, position.governance)
        return ColumnarSnapshot(
            position,
            then.contract,
            line.snapshot(then, position),
            lambda: self._reference(governance, position),
            lambda: _attributes(line.rows, then, position),
        )

    def _reference(self, governance: Governance, position: Position) -> State:
        """The state from which a snapshot's contents are had, long after it was answered."""
        try:
            return self.state(governance, position).reference()
        except (CheckpointDamaged, CheckpointsUnavailable) as error:
            _say.warning("the log is replayed", why=str(error))
            return replay(self._dataset, position)

    def diff(
        self, governance: Governance, before: Position, after: Position
    ) -> ColumnarDifference | None:
        """What differs between two closed positions; None where one is not covered."""
        line = self._covering(self._epochs(governance), before, after)
        if line is None:
            return None
        one, two = ((self._prefix(governance, each.governance), each) for each in (before, after))
        return line.diff(one, two)

    def state(self, governance: Governance, position: Position) -> ColumnarState:
        """The state at a closed position: restored, and the rest of it folded."""
        then = governance.prefix(position.governance)
        dataset, back = self._dataset, Restorer(self._dataset, self.store)
        folds: list[ColumnarPartition] = []
        for partition, stop in enumerate(position.labels):
            done, fold = back(then, partition, stop)
            for _, frame, is_live in frames(dataset, then, partition, done, stop):
                _ = fold.apply(frame) if is_live else fold.void(frame)
            folds.append(fold)
        return ColumnarState(dataset, position, then, folds)

    def reach(self, governance: Governance) -> tuple[int, ...]:
        """How far each partition is stored, and right, as of now."""
        self._parts = self.store.partitions()
        return self._stops(self._epochs(governance))

    def _epochs(self, governance: Governance) -> Epochs:
        if self._known is None or self._known[0] is not governance:
            self._known = governance, Epochs(governance)
            self._then, self._covered = {}, {}
        return self._known[1]

    def _prefix(self, governance: Governance, stop: int) -> Governance:
        """Governance as it was at an offset; versions are asked for again and again."""
        if len(self._then) > _KEPT_MAX:
            self._then.clear()
        if stop not in self._then:
            self._then[stop] = governance.prefix(stop)
        return self._then[stop]

    def _covers(self, epochs: Epochs, position: Position) -> bool:
        if len(self._covered) > _KEPT_MAX:
            self._covered.clear()
        if position not in self._covered:
            self._covered[position] = epochs.covered(position)
        return self._covered[position]

    def _stops(self, epochs: Epochs) -> tuple[int, ...]:
        found = self._found
        if found is None or found[0] is not epochs or found[1] is not self._parts:
            stops = tuple(part.valid(epochs) if part else 0 for part in self._parts)
            self._found = found = epochs, self._parts, stops
        return found[2]

    def _covering(self, epochs: Epochs, *positions: Position) -> Timeline | None:
        """The timeline, if it answers these positions."""
        for left in range(_TRIES, 0, -1):
            if not self._reaches(epochs, positions):
                self._parts = self.store.partitions()  # there may be more by now
                if not self._reaches(epochs, positions):
                    break
            try:
                return self._timeline()
            except CheckpointDamaged:  # or a writer has put something further in its place
                before, self._parts = self._parts, self.store.partitions()
                if left == 1 or before == self._parts:
                    raise
        return None

    def _reaches(self, epochs: Epochs, positions: Sequence[Position]) -> bool:
        stops = self._stops(epochs)
        return any(stops) and all(
            all(mine <= stop for mine, stop in zip(each.labels, stops, strict=True))
            and self._covers(epochs, each)
            for each in positions
        )

    def _timeline(self) -> Timeline:
        if self._line is None or self._line[0] is not self._parts:
            names = [part.name for part in self._parts if part]
            line = self._line[2] if self._line and self._line[1] == names else None
            line = line or Timeline(rows_at_hand(self.store.files, names, self._rows))
            self._line = self._parts, names, line
        return self._line[2]

    def _rows(self) -> Rows:
        parts = [part for part in self._parts if part]
        frame = pl.concat([part.rows("changes", columns=COLUMNS) for part in parts])
        return rows_of(frame, self._dataset.partitions)


def _attributes(rows: Rows, governance: Governance, position: Position) -> pl.DataFrame:
    spans = [live(governance, i, stop) for i, stop in enumerate(position.labels)]
    return attributes_in(rows, slices_of(rows, spans))


class Restorer:
    """Brings the state of partitions back from what is stored.

    Args:
        dataset: the log.
        store: its checkpoints.
    """

    def __init__(self, dataset: Dataset, store: Store) -> None:
        self._dataset, self._store = dataset, store

    def __call__(
        self, governance: Governance, partition: int, stop: int
    ) -> tuple[int, ColumnarPartition]:
        """The state of the greatest `[0, offset)` that is stored, and that offset.

        Args:
            governance: under which the fold goes on.
            partition: which one.
            stop: the offset is at most this.
        """
        for left in range(_TRIES, 0, -1):
            part = self._store.partition(partition)
            if part is None:
                break
            try:
                found = part.restore(governance, stop)
                made = restore(self._dataset, governance, partition, found.stop, found.delta)
            except CheckpointDamaged:  # or a writer has put something further in its place
                if left == 1 or self._store.partition(partition) == part:
                    raise
            else:
                return found.stop, made
        dataset = self._dataset
        return 0, ColumnarPartition(
            governance.contracts, partition, dataset.partitions, dataset.codec
        )
