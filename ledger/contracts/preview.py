"""What a schema change would make of the labels that there are, before it is made.

Renames and merges are looked up once for each class, however many items have it. Only a split asks
items, and only those of its class: a box's area is in the snapshot, other attributes are read back
from the log, for the records that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ledger.contracts.common import Remap
from ledger.contracts.coverage import attributes_of
from ledger.contracts.relabel import Counts, columns_of, counts
from ledger.core import rules
from ledger.core.contract import Contract, Step
from ledger.core.events import Attributes, record_of
from ledger.core.position import Position
from ledger.reading import Reading
from ledger.record import state_of
from ledger.snapshot import Difference, Snapshot

if TYPE_CHECKING:
    import polars as pl


class Unmatched(NamedTuple):
    """An item that a split would leave without a label.

    Attributes:
        item_id: the item.
        label: the class that is split, as it is called just before.
        matching: the parts whose rules hold for it: none, or several.
    """

    item_id: str
    label: str
    matching: tuple[str, ...]


class Relabelled(NamedTuple):
    """Labels before and after; items left without one are in `unmatched` instead."""

    before: Snapshot
    after: Snapshot
    unmatched: Sequence[Unmatched]


@dataclass(frozen=True)
class Preview:
    """What a change would make of a contract, and of the labels at a position when asked.

    Attributes:
        book: the ledger.
        position: where.
        before: the contract in force there.
        contract: the one that the change makes.
        step: how labels follow; a policy moves none.
        remap: how to compare what was measured before the change with what is after it.
        remarks: what its author may not have in mind.
    """

    book: Reading
    position: Position
    before: Contract
    contract: Contract
    step: Step
    remap: Remap
    remarks: Sequence[str]

    @cached_property
    def labels(self) -> Relabelled:
        """The labels as they are, and as the change would have them."""
        snapshot = self.book.snapshot(self.position)
        if columns_of(snapshot) is None:
            return _by_rows(snapshot, self.contract, self.step)
        return _by_columns(self.book, snapshot, self.contract, self.step)

    @property
    def unmatched(self) -> Sequence[Unmatched]:
        """The items that a split leaves without a label, sorted by id. Once the change is made
        they wait to be labelled anew.
        """
        return self.labels.unmatched

    @cached_property
    def counts_before(self) -> Counts:
        """How many items each class has in each split, as it is."""
        return counts(self.labels.before)

    @cached_property
    def counts_after(self) -> Counts:
        """How many items each class would have in each split."""
        return counts(self.labels.after)

    @cached_property
    def difference(self) -> Difference:
        """Each item whose label would be another one, or none: the shadow of the change."""
        return self.labels.before.diff(self.labels.after)


def _by_rows(before: Snapshot, contract: Contract, step: Step) -> Relabelled:
    """For short logs, whose rows are there with their attributes."""
    made = [(row, step.forward(row.label, row.attributes)) for row in before.rows]
    rows = [row._replace(label=label) for row, label in made if isinstance(label, str)]
    unmatched = [
        _unmatched(step, row.item_id, row.label, row.attributes)
        for row, label in made
        if not isinstance(label, str)
    ]
    return Relabelled(before, Snapshot(before.position, contract, rows), unmatched)


def _by_columns(book: Reading, before: Snapshot, contract: Contract, step: Step) -> Relabelled:
    import polars as pl

    from ledger.columnar.snapshot import ColumnarSnapshot

    frame = columns_of(before)
    assert frame is not None
    names = {name: step.name(name) for name in before.contract.classes}
    now = frame["label"].replace(names)
    asked = [name for name, new in names.items() if new in step.split]
    rows = frame.with_row_index().filter(pl.col("label").is_in(asked))
    unmatched: list[Unmatched] = []
    made: list[str | None] = []
    for item, old, known in _asked(book, before, step, rows):
        label = step.forward(old, known)
        made.append(label if isinstance(label, str) else None)
        if made[-1] is None:
            unmatched.append(_unmatched(step, item, old, known))
    now = now.scatter(rows["index"], pl.Series(made, dtype=pl.String))
    after = frame.with_columns(label=now).filter(pl.col("label").is_not_null())
    shown = ColumnarSnapshot(before.position, contract, after, _nothing_else)
    return Relabelled(before, shown, unmatched)


def _asked(
    book: Reading, before: Snapshot, step: Step, rows: pl.DataFrame
) -> Iterator[tuple[str, str, Attributes]]:
    """Item, label and the attributes that the rules ask for, of rows that a split asks."""
    import polars as pl

    every = (rule for parts in step.split.values() for rule in parts.values())
    wanted = {name for rule in every for name in attributes_of(rule)}
    boxes = pl.col("geometry_type") == "bbox"
    side = pl.col("coordinates").list
    area = pl.when(boxes).then(side.get(2, null_on_oob=True) * side.get(3, null_on_oob=True))
    columns = rows.select("id", "label", area=area)
    texts = columns if wanted - {"area"} else columns.filter(pl.col("area").is_null())
    read = _read_back(book, before, texts["id"].to_list() if wanted else [])
    for item, label, own in columns.iter_rows():
        yield item, label, read.get(item, {} if own is None else {"area": own})


def _read_back(book: Reading, before: Snapshot, items: list[str]) -> Mapping[str, Attributes]:
    """All attributes of some items, from the log."""
    state = state_of(book.dataset, {record_of(item) for item in items}, before.position)
    known = {item.item_id: item.attributes for _, item in state.items()}
    return {item: known[item] for item in items}


def _unmatched(step: Step, item_id: str, label: str, attributes: Attributes) -> Unmatched:
    name = step.name(label)
    parts = step.split[name].items()
    holding = tuple(part for part, rule in parts if rules.matches(rule, attributes) is True)
    return Unmatched(item_id, name, holding)


def _nothing_else() -> NoReturn:
    raise AssertionError("a preview asks for nothing but columns")
