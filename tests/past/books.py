"""Ledgers to look back in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger import Ledger
from ledger.core.events import LabelEvent
from ledger.core.fold import PartitionFold
from ledger.core.position import Position
from tests.columnar.test_replay import stored
from tests.core.history import Entry, History, State, step
from tests.events import Fields, item, proposal, schema, vote


def opened(history: History, folder: Path) -> Ledger:
    """The history as a ledger on an embedded log."""
    stored(history, folder / "log.db").log.close()
    book = Ledger.create(f"sqlite:///{folder}/log.db", "d", partitions=history.partitions)
    return book


def animals(folder: Path, *more: Fields, partitions: int = 3) -> Ledger:
    """Items `a` to `f` are cats under a contract of cats, dogs and cows; `more` follows."""
    book = Ledger.create(f"sqlite:///{folder}/log.db", "animals", partitions=partitions)
    book.append([schema(1, "cat", "dog", "cow")])
    book.append([item(name, "cat", split="train") for name in "abcdef"])
    book.append(list(more))
    return book


def corrected(
    name: str, item_id: str, before: str | None, after: str | None, by: str = "eve", **more: object
) -> list[Fields]:
    """A correction that Ann accepts."""
    return [proposal(name, item_id, before, after, by, **more), vote(name, item_id)]


def labels(book: Ledger) -> dict[str, str]:
    """The label of every labelled item now."""
    return {row.item_id: row.label for row in book.snapshot().rows}


def without(history: History, position: Position, left_out: Callable[[Entry], bool]) -> State:
    """A full fold of the history in which some label events never were."""
    governance = history.governed(position.governance)
    folds: list[PartitionFold] = []
    for partition, stop in enumerate(position.labels):
        fold = PartitionFold(governance.contracts, partition, history.partitions)
        for entry, live in history.spans(governance, partition, stop):
            assert isinstance(entry.event, LabelEvent)
            if not left_out(entry):
                step(fold, entry, live=live)
        folds.append(fold)
    return State(position, governance, folds, {})
