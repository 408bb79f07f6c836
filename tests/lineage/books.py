"""Histories on an embedded log, with the timestamps that their events say."""

from __future__ import annotations

import itertools
from pathlib import Path

from ledger import Ledger
from ledger.clock import milliseconds
from ledger.logs.base import Message, Topic
from tests.core.history import History


def ledger_of(history: History, folder: Path) -> Ledger:
    """The ledger that holds a history, in a file of its own."""
    book = Ledger.create(
        f"sqlite:///{folder}/{len(list(folder.iterdir()))}.db",
        "d",
        partitions=history.partitions,
    )
    for topic, entries in itertools.groupby(history.log, lambda entry: entry.topic):
        messages = [
            Message(
                entry.partition,
                entry.key,
                book.dataset.codec.encode(entry.event),
                milliseconds(entry.event.occurred_at),
            )
            for entry in entries
        ]
        book.dataset.log.append(Topic(topic), messages)
    return book
