"""What differs between a version and its base, counted.

The differences are grouped first, by the labels and splits before and after: however many items
there are, there are few groups, and everything that a report says is a sum over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

from ledger.contracts.relabel import counts
from ledger.snapshot import Difference, Snapshot

TEST = "test"
"""The split whose labels make a test version."""
_COLUMNS = ("change", "before_label", "after_label", "before_split", "after_split")
_ONE_BY_ONE_MAX = 2_000
"""Up to so many changes are counted as objects: loading the libraries for columns takes longer."""

Kind = Literal["added", "removed", "relabelled", "redrawn", "moved"]
Key = TypeVar("Key", bound=str)


class Group(NamedTuple):
    """Items that changed alike. No label: the item is not there; no split: it has none."""

    change: str
    before: str | None
    after: str | None
    split_before: str | None
    split_after: str | None

    @property
    def kind(self) -> Kind:
        """What happened: a new label goes before a new split, and both before a new geometry."""
        if self.change == "added":
            return "added"
        if self.change == "removed":
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
    """The changed items of a version, by group, and how many items it has in each split."""

    groups: Mapping[Group, int]
    splits: Mapping[str, int]

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
    def transitions(self) -> Mapping[tuple[str | None, str | None], int]:
        """Items by class before and after, where the class differs; None where an item is not."""
        found = Counter[tuple[str | None, str | None]]()
        for group, count in self.groups.items():
            if group.before != group.after:
                found[group.before, group.after] += count
        order = sorted(found.items(), key=lambda pair: (-pair[1], *map(_none_first, pair[0])))
        return dict(order)

    @property
    def touched(self) -> int:
        """How many items the base had already and differ."""
        return self.changed - self.kinds.get("added", 0)

    @cached_property
    def test_changed(self) -> int:
        """How many items that are or were in the test split differ."""
        return sum(n for g, n in self.groups.items() if TEST in (g.split_before, g.split_after))

    @cached_property
    def moved(self) -> int:
        """How many items left the split that they had."""
        return sum(
            count
            for group, count in self.groups.items()
            if group.change == "changed"
            and group.split_before is not None
            and group.split_before != group.split_after
        )


def tally(difference: Difference | None, after: Snapshot) -> Tally:
    """Count what differs; without a difference every item of `after` is new."""
    sizes = Counter[str]()
    new = Counter[Group]()
    for (label, split), count in counts(after).items():
        sizes[split] += count
        new[Group("added", None, label, None, split or None)] += count
    groups = new if difference is None else _groups(difference)
    return Tally(groups, dict(sorted(sizes.items())))


def _groups(difference: Difference) -> Counter[Group]:
    if len(difference) <= _ONE_BY_ONE_MAX:
        return Counter(
            Group(
                change.kind,
                change.before.label if change.before else None,
                change.after.label if change.after else None,
                change.before.split if change.before else None,
                change.after.split if change.after else None,
            )
            for change in difference
        )
    import polars as pl

    frame = pl.from_arrow(difference.to_arrow().select(_COLUMNS))
    assert isinstance(frame, pl.DataFrame)
    found = Counter[Group]()
    for *cells, count in frame.group_by(*_COLUMNS).len().iter_rows():
        found[Group(*cells)] = count
    return found


def _none_first(name: str | None) -> tuple[bool, str]:
    return name is not None, name or ""


def _sums(pairs: Iterable[tuple[Key, int]]) -> Mapping[Key, int]:
    """What belongs to each key, added up, in the keys' order."""
    found = Counter[Key]()
    for key, count in pairs:
        found[key] += count
    return dict(sorted(found.items()))
