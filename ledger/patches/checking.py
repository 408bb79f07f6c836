"""Holds a patch against the labels at a position: what does not fit, and what it would change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.codec import plain
from ledger.core.contract import Contract, Label, Unresolved
from ledger.core.events import Attributes, Geometry, record_of
from ledger.core.fold import Item, PartitionFold, Record, attributes_of
from ledger.core.partitioner import partition_of
from ledger.history import label_text
from ledger.patches.edit import Edit, as_proposal
from ledger.replay import State
from ledger.tally import Group, Tally

_CLASSES_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Delta:
    """What a patch changes where it is checked.

    Attributes:
        changed: how many items.
        changed_by_class: how many by the class that they will have (or had, where they will have
            none).
        changed_by_split: how many by split, `""` for none.
        class_deltas: how many more or fewer items each class will have; classes that stay as many
            are left out.
        moves: how many by label before and after, None where there is none; an item whose geometry
            alone changes moves from its class to the same.
    """

    changed: int
    changed_by_class: Mapping[str, int]
    changed_by_split: Mapping[str, int]
    class_deltas: Mapping[str, int]
    moves: Mapping[tuple[str | None, str | None], int]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "changed": self.changed,
            "changed_by_class": dict(self.changed_by_class),
            "changed_by_split": dict(self.changed_by_split),
            "class_deltas": dict(self.class_deltas),
            "moves": [
                {"from": before, "to": after, "count": count}
                for (before, after), count in self.moves.items()
            ],
        }


def delta(state: State, edits: Iterable[Edit]) -> Delta:
    """What the edits, which fit the state, change in it."""
    found = Tally(Counter(_group(state, edit) for edit in edits))
    moves = sorted(found.moves.items(), key=lambda move: [each or "" for each in move[0]])
    return Delta(found.changed, found.by_class, found.by_split, found.class_deltas, dict(moves))


def _group(state: State, edit: Edit) -> Group:
    """The kind of change that an edit is; no edit moves a record to another split."""
    _, record, item = _found(state, edit)
    label = None if item is None else state.label(item)
    before = label if isinstance(label, str) else None
    return Group(before, edit.to_label, record.split, record.split)


def fault(state: State, edit: Edit, version: int, where: str) -> str | None:
    """Why the edit does not fit a position, with what it expects and what was found; None if it
    fits.

    Args:
        state: of the item's record at least.
        edit: what is to change; it is sound by itself.
        version: the contract under which it names classes; live at the position.
        where: what the position is called.
    """
    contract = state.governance.contracts.at(version)
    if edit.to_label is not None and not contract.takes(edit.to_label):
        return _no_class(contract, edit.to_label)
    fold, record, item = _found(state, edit)
    if fold.agreed(record, as_proposal(edit, version)) is not None:
        return _split_since(state, edit, item, version, where)
    if item is None:
        return f"expected an item that is {edit.from_label!r}, found none of this id at {where}"
    now, meant = state.label(item), _meant(state, edit, item, version)
    if meant != now and not (meant is None and not isinstance(now, str)):
        if now is None:
            return f"expected {_quoted(meant)}, found no label at {where}; null in `from` gives one"
        hint = "" if isinstance(now, str) else "; null in `from` relabels it"
        return f"expected {_quoted(meant)}, found {_quoted(now)} at {where}{hint}"
    wanted, found = _shape(edit.from_geometry), _shape(item.geometry)
    return f"expected {wanted} in `from_geometry`, found {found} at {where}"


def in_effect(state: State, edits: Sequence[Edit], version: int) -> bool:
    """Whether every item is what its edit makes of it."""
    for edit in edits:
        shape = edit.to_geometry
        after = Edit(edit.item_id, edit.to_label, edit.to_label, shape, shape)
        fold, record, item = _found(state, edit)
        if item is None or fold.agreed(record, as_proposal(after, version)) is None:
            return False
    return True


def _found(state: State, edit: Edit) -> tuple[PartitionFold, Record, Item | None]:
    record_id = record_of(edit.item_id)
    fold = state.partitions[partition_of(record_id.encode(), len(state.partitions))]
    record = fold.records.get(record_id) or Record()
    return fold, record, record.items.get(edit.item_id)


def _meant(state: State, edit: Edit, item: Item, version: int) -> Label:
    """What `from` is called under the contract in force."""
    contracts = state.governance.contracts
    return contracts.forward(edit.from_label, version, contracts.in_force.version, item.attributes)


def _split_since(
    state: State, edit: Edit, item: Item | None, version: int, where: str
) -> str | None:
    """The fold would apply what a later split leaves without a class; no author can mean that."""
    single: Attributes = item.single_attributes if item else {}
    shape = edit.to_geometry or (item.geometry if item else None)
    contracts = state.governance.contracts
    after = contracts.forward(
        edit.to_label, version, contracts.in_force.version, attributes_of(single, shape)
    )
    if not isinstance(after, Unresolved):
        return None
    return (
        f"expected in `to` what is one class at {where}, found {edit.to_label!r}, which is "
        f"{label_text(after)} there"
    )


def _no_class(contract: Contract, name: str) -> str:
    classes = [each for each in contract.classes if contract.takes(each)]
    shown = ", ".join(repr(each) for each in classes[:_CLASSES_SHOWN_MAX]) or "it has none"
    more = ", ..." if len(classes) > _CLASSES_SHOWN_MAX else ""
    why = ", which is deprecated" if name in contract.classes else ""
    return f"expected a class of contract {contract.version} ({shown}{more}), found {name!r}{why}"


def _quoted(label: Label) -> str:
    if label is None:
        return "no label"
    return repr(label) if isinstance(label, str) else label_text(label)


def _shape(geometry: Geometry | None) -> str:
    return "none" if geometry is None else json.dumps(plain(geometry))
