"""A worker in small: it learns of governance late, and tells a writer what the fold changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from ledger.checkpoints.files import Files
from ledger.checkpoints.manifest import Origin
from ledger.checkpoints.store import Store
from ledger.checkpoints.writer import CheckpointWriter, Rows
from ledger.columnar.delta import Delta
from ledger.core.epochs import Epochs
from ledger.core.governance import Governance
from ledger.logs.base import Batch
from tests.checkpoints.deltas import delta_of, met
from tests.columnar.batches import batch_of
from tests.core.history import History


def store_of(history: History, files: Files) -> Store:
    """The store of a history."""

    def messages(partition: int, start: int, stop: int) -> list[Batch]:
        entries = history.label_logs[partition][start:stop]
        return [batch_of(entries, partition)] if entries else []

    return Store(files, Origin("d", "topic", history.partitions, tie_of(history), messages))


def tie_of(history: History) -> Callable[[int, int], str | None]:
    """What a log of this history would say of the message below an offset."""

    def tie(partition: int, offset: int) -> str | None:
        log = history.label_logs[partition]
        return repr(log[offset - 1]) if 0 < offset <= len(log) else None

    return tie


class Memory:
    """Files in memory, of a machine that dies before a given change of them.

    Args:
        left: after how many changes it dies; never by default.
    """

    url = "memory"

    def __init__(self, left: int | None = None) -> None:
        self.held: dict[str, bytes] = {}
        self.left = left
        self.meanwhile: Callable[[], None] | None = None
        """Done instead of dying: what others do while this one is frozen."""

    def read(self, name: str) -> bytes | None:
        return self.held.get(name)

    def put(self, name: str, data: bytes) -> None:
        self._change()
        self.held[name] = data

    def list(self, folder: str) -> dict[str, int]:
        return {
            name: len(data)
            for name, data in self.held.items()
            if not folder or name.startswith(f"{folder}/")
        }

    def delete(self, name: str) -> None:
        self._change()
        self.held.pop(name, None)

    def _change(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                if self.meanwhile is None:
                    raise PowerCutError
                self.meanwhile()


class PowerCutError(Exception):
    """Nothing more is done."""


@dataclass
class Feeder:
    """Feeds one partition."""

    history: History
    partition: int
    late: int = 2**62
    """Not to begin beyond here with a new writer, for the sake of some other sink."""
    folded: int = 0
    writer: CheckpointWriter | None = field(default=None, repr=False)
    governance: Governance | None = None
    rows: Delta | None = field(default=None, repr=False)

    def feed(self, writer: CheckpointWriter, governance: Governance, stop: int) -> None:
        """Go on to `stop`, as governance is known now."""
        epochs = Epochs(governance)
        start = self._diverged(epochs)
        if start < self.folded:
            writer.reset(self.partition, start)
            self.folded = start
        if self.writer is not writer:
            self.writer = writer
            self.folded = min(start, writer.begin(self.partition, epochs), self.late)
        self.governance, self.rows = (
            governance,
            delta_of(self.history, governance, self.partition, stop),
        )
        if stop > self.folded:
            inside = pl.col("offset").is_between(self.folded, stop, closed="left")
            delta = Delta(*(frame.filter(inside) for frame in self.rows))
            names = met(self.history, self.partition, stop)
            writer.write(Rows(self.partition, self.folded, stop, delta, names), epochs)
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
