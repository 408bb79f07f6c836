"""Entries of a history as a log gives them."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.codec import Codec
from ledger.logs.base import Batch, Topic
from tests.core.history import Entry
from tests.registries import MemoryRegistry

CODEC = Codec(MemoryRegistry())


def batch_of(entries: Sequence[Entry], partition: int = 0) -> Batch:
    """The entries as one batch, each a second after the other."""
    offsets = [entry.offset for entry in entries]
    return Batch(
        Topic.LABELS,
        partition,
        offsets,
        [1000 * (offset + 1) for offset in offsets],
        [entry.key for entry in entries],
        [CODEC.encode(entry.event) for entry in entries],
    )
