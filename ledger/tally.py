"""Items that differ, counted: by what happened to them, by class and by split.

They are grouped first, by the labels and splits before and after: however many items there are,
there are few groups, and everything that a report says is a sum over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

from ledger.snapshot import Difference, Row

Kind = Literal["added", "removed", "relabelled", "redrawn", "moved"]
Labels = tuple[str | None, str | None]
"""A label before and after; None where the item is not there."""
Key = TypeVar("Key", bound=str)
_COLUMNS = ("before_label", "after_label", "before_split", "after_split")


class Group(NamedTuple):
    """Items that changed alike. No label: the item is not there; no split: it has none."""

    before: str | None
    after: str | None
    split_before: str | None
    split_after: str | None

    @property
    def kind(self) -> Kind:
        """What happened: a new label goes before a new split, and both before a new geometry."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before != self.after:
            return "relabelled"
        return "redrawn" if self.split_before == self.split_after else "moved"

    @property
    def split(self) -> str:
        """The split that the item has now, or had; `""` for none."""
        return (self.split_before if self.after is None else self.split_after) or ""


@dataclass(frozen=True)
class Tally:
    """How many items changed, by group."""

    groups: Mapping[Group, int]

    @cached_property
    def changed(self) -> int:
        """How many items differ."""
        return sum(self.groups.values())

    @cached_property
    def kinds(self) -> Mapping[Kind, int]:
        """How many items were added, removed, ..."""
        return _sums((group.kind, count) for group, count in self.groups.items())

    @cached_property
    def by_class(self) -> Mapping[str, int]:
        """Changed items by the class that they have now, or had where they have none."""
        pairs = ((group.after or group.before or "", n) for group, n in self.groups.items())
        return _sums(pairs)

    @cached_property
    def by_split(self) -> Mapping[str, int]:
        """Changed items by split; `""` for none."""
        return _sums((group.split, count) for group, count in self.groups.items())

    @cached_property
    def class_deltas(self) -> Mapping[str, int]:
        """How many more or fewer items each class has; classes that stay are left out."""
        deltas = Counter[str]()
        for group, count in self.groups.items():
            if group.after is not None:
                deltas[group.after] += count
            if group.before is not None:
                deltas[group.before] -= count
        return {name: delta for name, delta in sorted(deltas.items()) if delta}

    @cached_property
    def moves(self) -> Mapping[Labels, int]:
        """Changed items by label before and after, the most first; those that keep their class
        (their geometry or split changed) count too.
        """
        found = Counter[Labels]()
        for group, count in self.groups.items():
            found[group.before, group.after] += count
        order = sorted(found.items(), key=lambda pair: (-pair[1], *map(_none_first, pair[0])))
        return dict(order)

    @cached_property
    def transitions(self) -> Mapping[Labels, int]:
        """The moves from one class to another one."""
        return {labels: n for labels, n in self.moves.items() if labels[0] != labels[1]}

    @property
    def touched(self) -> int:
        """How many items were there already and differ."""
        return self.changed - self.kinds.get("added", 0)

    @cached_property
    def left_split(self) -> int:
        """How many items left the split that they had, and are still there."""
        return sum(
            count
            for group, count in self.groups.items()
            if None not in (group.before, group.after, group.split_before)
            and group.split_before != group.split_after
        )

    def of_split(self, split: str) -> int:
        """How many items that are or were in a split differ."""
        return sum(n for g, n in self.groups.items() if split in (g.split_before, g.split_after))


def tally(difference: Difference) -> Tally:
    """Count what differs, by columns where it has them."""
    if type(difference) is Difference:
        return Tally(Counter(_group(change.before, change.after) for change in difference))
    import polars as pl

    frame = pl.from_arrow(difference.to_arrow().select(_COLUMNS))
    assert isinstance(frame, pl.DataFrame)
    rows = frame.group_by(*_COLUMNS).len().iter_rows()
    return Tally({Group(*cells): count for *cells, count in rows})


def _group(before: Row | None, after: Row | None) -> Group:
    return Group(
        before.label if before else None,
        after.label if after else None,
        before.split if before else None,
        after.split if after else None,
    )


def _none_first(name: str | None) -> tuple[bool, str]:
    return name is not None, name or ""


def _sums(pairs: Iterable[tuple[Key, int]]) -> Mapping[Key, int]:
    """What belongs to each key, added up, in the keys' order."""
    found = Counter[Key]()
    for key, count in pairs:
        found[key] += count
    return dict(sorted(found.items()))
