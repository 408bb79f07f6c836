"""Items that a split left without a label: each waits to be labelled anew, by a correction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ledger.core.contract import Label, Unresolved
from ledger.core.events import SchemaChanged
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.errors import CheckpointDamaged, CheckpointsUnavailable
from ledger.reading import HEAD, Reading, Where
from ledger.replay import COLUMNS_FROM, State

if TYPE_CHECKING:
    from ledger.columnar.replay import ColumnarState


class Waiting(NamedTuple):
    """One item that needs a label.

    Attributes:
        item_id: the item.
        record_id: its record.
        split: that of the record, if any.
        label_class: the class that it was of.
        version: the contract version that split this class, and matched no part or several.
    """

    item_id: str
    record_id: str
    split: str | None
    label_class: str
    version: int


def unresolved(book: Reading, at: Where = HEAD) -> list[Waiting]:
    """The items that wait for a label at a position, sorted by id.

    Args:
        book: the ledger.
        at: the position.
    """
    position = book.resolve(at)
    if not _ever_split(book.governance.prefix(position.governance)):
        return []
    found = _folded(book, position)
    each = in_state(found) if isinstance(found, State) else _in_columns(found)
    return sorted(each, key=lambda item: item.item_id.encode())


def in_state(state: State) -> Iterator[Waiting]:
    """The items of a state that wait for a label, in any order."""
    for record, item in state.items():
        label = state.label(item)
        if isinstance(label, Unresolved):
            yield Waiting(item.item_id, item.record_id, record.split, *label)


def _ever_split(governance: Governance) -> bool:
    return any(
        isinstance(change.event, SchemaChanged)
        and change.event.split
        and not governance.void(change.offset)
        for change in governance.changes
    )


def _folded(book: Reading, position: Position) -> State | ColumnarState:
    """The state at a position, as columns where the log is long."""
    if sum(position.labels) < COLUMNS_FROM:
        return book.state(position)
    try:
        from ledger.columnar.replay import replay
    except ImportError:
        return book.state(position)
    stored = book.checkpoints
    if stored is not None:
        try:
            return stored.state(book.governance.prefix(book.reader.stop), position)
        except (CheckpointDamaged, CheckpointsUnavailable):
            pass  # the log says the same
    return replay(book.dataset, position)


def _in_columns(state: ColumnarState) -> Iterator[Waiting]:
    yield from in_state(state.simple())
    import numpy as np

    from ledger.columnar.forward import forward

    version = state.governance.contract.version
    for partition in state.partitions:
        columns, names, tables = partition.columns, partition.names, partition.tables
        things = columns.things
        items = np.nonzero(things.exists)[0]
        since = things.version[items].astype(np.int64)
        until = np.full_like(since, version)
        labels = forward(columns, items, things.label[items].astype(np.int64), since, until)
        known: list[Label] = tables.labels
        waiting = np.array([isinstance(each, Unresolved) for each in known])[labels]
        labels, items = labels[waiting], items[waiting]
        records = things.record[items].astype(np.int64)
        splits = [*names.splits.strings(), None]
        of_record = np.where(things.split[records] < 0, len(splits) - 1, things.split[records])
        codes: list[int] = labels.tolist()
        ids = zip(names.things.of(items), names.things.of(records), strict=True)
        for (item, record), split, code in zip(ids, of_record.tolist(), codes, strict=True):
            was = known[code]
            assert isinstance(was, Unresolved)
            yield Waiting(item, record, splits[split], *was)
