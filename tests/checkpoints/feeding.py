"""A worker in small: it learns of governance late, and tells a writer what the fold changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from ledger.checkpoints.files import Folder
from ledger.checkpoints.manifest import Origin
from ledger.checkpoints.store import Store
from ledger.checkpoints.writer import CheckpointWriter
from ledger.columnar.delta import Delta
from ledger.core.epochs import Epochs
from ledger.core.governance import Governance
from tests.checkpoints.deltas import delta_of, met
from tests.core.history import History


def store_of(history: History, files: Folder) -> Store:
    """The store of a history."""
    return Store(files, Origin("d", "topic", history.partitions))


@dataclass
class Feeder:
    """Feeds one partition."""

    history: History
    partition: int
    folded: int = 0
    governance: Governance | None = None
    rows: Delta | None = field(default=None, repr=False)

    def feed(self, writer: CheckpointWriter, governance: Governance, stop: int) -> None:
        """Go on to `stop`, as governance is known now."""
        epochs = Epochs(governance)
        start = self._diverged(epochs)
        if start < self.folded:
            writer.reset(self.partition, start)
        self.folded = min(start, writer.stop(self.partition, epochs))
        self.governance, self.rows = (
            governance,
            delta_of(self.history, governance, self.partition, stop),
        )
        if stop > self.folded:
            inside = pl.col("offset").is_between(self.folded, stop, closed="left")
            delta = Delta(*(frame.filter(inside) for frame in self.rows))
            names = met(self.history, self.partition, stop)
            writer.write(self.partition, delta, stop, names, epochs)
            self.folded = stop

    def _diverged(self, epochs: Epochs) -> int:
        """The first offset whose rows are others now."""
        if self.governance is None or self.rows is None:
            return self.folded
        known = Epochs(self.governance)
        now = delta_of(self.history, epochs.governances[-1], self.partition, self.folded)
        for offset in range(self.folded):
            if known.epoch(self.partition, offset) != epochs.epoch(self.partition, offset) or any(
                not one.filter(pl.col("offset") == offset).equals(
                    two.filter(pl.col("offset") == offset)
                )
                for one, two in zip(self.rows, now, strict=True)
            ):
                return offset
        return self.folded
