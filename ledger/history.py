"""Why an item has the label it has: everything that was ever said of it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.core.contract import Label, Unresolved
from ledger.core.events import LabelEvent, record_of
from ledger.core.fold import Item
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.door import as_fields
from ledger.record import fold_record, home_of
from ledger.replay import fold_governance

_MOVES = (Outcome.REGISTERED, Outcome.APPLIED)


@dataclass(frozen=True, slots=True)
class Step:
    """One event about the item, what became of it, and whether the item's label stands by it."""

    entry: Entry
    event: LabelEvent
    outcome: Outcome
    stands: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: coordinates, outcome, and the event's fields."""
        return {
            "topic": self.entry.topic.value,
            "partition": self.entry.partition,
            "offset": self.entry.offset,
            "outcome": self.outcome.value,
            "stands": self.stands,
            **as_fields(self.event),
        }


@dataclass(frozen=True, slots=True)
class History:
    """The history of one item up to a position.

    Attributes:
        item: the item as it is there; None if it does not exist (any more).
        label: its label under the contract in force; `Unresolved` if it needs a relabel.
        steps: every event about it in the log's order, void ones included.
        mapped: (contract version, label) for each later contract that changed the name of the
            label which the last step set.
    """

    item_id: str
    position: Position
    item: Item | None
    label: Label
    steps: list[Step]
    mapped: list[tuple[int, Label]]


def history(dataset: Dataset, item_id: str, position: Position) -> History:
    """The history of an item up to a closed position."""
    record_id = record_of(item_id)
    governance = fold_governance(dataset, position.governance)
    steps: list[Step] = []

    def observe(entry: Entry, outcome: Outcome) -> None:
        event = entry.event
        if isinstance(event, LabelEvent) and event.item_id == item_id:
            steps.append(Step(entry, event, outcome))

    stop = position.labels[home_of(record_id, dataset)]
    fold = fold_record(dataset, governance, record_id, stop, observe)
    record = fold.records.get(record_id)
    item = record.items.get(item_id) if record else None
    movers = [i for i, step in enumerate(steps) if step.outcome in _MOVES]
    if item is not None and movers:
        last = steps[movers[-1]]
        steps[movers[-1]] = Step(last.entry, last.event, last.outcome, stands=True)
    label: Label = None
    mapped: list[tuple[int, Label]] = []
    if item is not None:
        label, at = item.label, item.contract_version
        for version in governance.contracts.versions:
            moved = governance.contracts.forward(label, at, version, item.attributes)
            if version > at and moved != label:
                mapped.append((version, moved))
                label, at = moved, version
    return History(item_id, position, item, label, steps, mapped)


def label_text(label: Label) -> str:
    """A label for people: `-` for none, and an unresolved one with the class that was split."""
    if isinstance(label, Unresolved):
        return f"unresolved ({label.label_class}, split by contract {label.version})"
    return "-" if label is None else label
