"""The classes that two contracts of one log have in common, and how to name labels by them.

A class is followed from the last contract that both have to what it became in each. Classes that
meet on the way are one common class: the finest that both can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from ledger.core.contract import ClassState, Contracts
from ledger.core.events import SchemaChanged
from ledger.core.governance import Governance
from ledger.errors import InvalidRequest

Side = Literal["old", "new"]


@dataclass(frozen=True)
class Remap:
    """The names under which two versions can be compared: those of their common classes.

    Attributes:
        aggregate_for_old: common class to the new classes that count as it; only where they
            are not just the same name.
        aggregate_for_new: common class to the old classes that count as it, likewise.
    """

    aggregate_for_old: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    aggregate_for_new: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )

    def apply(self, labels: Iterable[str], side: Side | None = None) -> list[str]:
        """Labels or predictions, named by the common classes; an unknown name stays.

        Args:
            labels: names of classes of the old version or of the new one.
            side: which of the two. Needed only for a name that means something else in each.

        Raises:
            InvalidRequest: a name means two things, and `side` is not given.
        """
        labels = list(labels)
        old, new = inverse(self.aggregate_for_new), inverse(self.aggregate_for_old)
        if side is not None:
            names = old if side == "old" else new
            return [names.get(label, label) for label in labels]
        common = self.aggregate_for_old.keys() | self.aggregate_for_new.keys()
        names = {**old, **new}
        two = {each for each in names.keys() & common if not (each in old and each in new)}
        two |= {each for each in old.keys() & new.keys() if old[each] != new[each]}
        for label in labels:
            if label in two:
                raise InvalidRequest(
                    f"class {label!r} of the old version is another one than that of the new; say "
                    "of which the labels are (side='old' or side='new')"
                )
        return [names.get(label, label) for label in labels]

    def as_dict(self) -> dict[str, dict[str, list[str]]]:
        """As a file says it: `{"aggregate_for_old": {...}}`, and `aggregate_for_new` if any."""
        old = {name: list(names) for name, names in self.aggregate_for_old.items()}
        new = {name: list(names) for name, names in self.aggregate_for_new.items()}
        return {"aggregate_for_old": old, **({"aggregate_for_new": new} if new else {})}


def inverse(aggregate: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Each name that is not its common class's own, with that class."""
    return {name: to for to, names in aggregate.items() for name in names if name != to}


@dataclass(frozen=True, slots=True)
class Bond:
    """One common class: its name, and the classes of each version that count as it."""

    name: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def one_to_one(self) -> bool:
        """Whether both versions tell it apart from every other class."""
        return len(self.old) <= 1 and len(self.new) <= 1


def _live(governance: Governance) -> list[int]:
    """The places of the schema changes that no rollback voids."""
    return [
        change.offset
        for change in governance.changes
        if isinstance(change.event, SchemaChanged) and not governance.void(change.offset)
    ]


def bonds(before: Governance, after: Governance) -> list[Bond]:
    """The common classes, those of the old contract first, in its order."""
    pairs = zip(_live(before), _live(after), strict=False)
    shared = {mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)}
    since = max((each.event.version for each in before.changes if each.offset in shared), default=0)
    return between(since, before.contracts, after.contracts)


def between(since: int, before: Contracts, after: Contracts) -> list[Bond]:
    """The common classes of the contracts in force, both of which came from version `since`."""
    groups = _Groups()
    old, new = before.in_force.classes, after.in_force.classes
    for name in before.at(since).classes:
        groups.meet(
            before.becomes(name, since, before.in_force.version),
            after.becomes(name, since, after.in_force.version),
        )
    for name in dict.fromkeys([*old, *new]):
        mine = (name,) if name in old and ("old", name) not in groups else ()
        theirs = (name,) if name in new and ("new", name) not in groups else ()
        if mine and theirs and not _same(old[name], new[name]):
            groups.meet(mine, ())
            groups.meet((), theirs)
        elif mine or theirs:
            groups.meet(mine, theirs)
    here, there = ({name: i for i, name in enumerate(classes)} for classes in (old, new))
    found = [
        (tuple(sorted(mine, key=here.__getitem__)), tuple(sorted(theirs, key=there.__getitem__)))
        for mine, theirs in groups.each()
    ]
    end = len(here)
    found.sort(key=lambda pair: here[pair[0][0]] if pair[0] else end + there[pair[1][0]])
    return _named(found)


def _same(one: ClassState, two: ClassState) -> bool:
    return (one.meaning, one.anchor) == (two.meaning, two.anchor)


class _Groups:
    """Classes of two contracts, known by side and name; those that ever met are one group."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def __contains__(self, known: tuple[str, str]) -> bool:
        return known in self._of

    def meet(self, old: Iterable[str], new: Iterable[str]) -> None:
        """These classes are one group, with all that they met before."""
        joined: list[tuple[str, str]] = []
        sides = (("old", old), ("new", new))
        for each in [(side, name) for side, names in sides for name in names]:
            group = self._of.setdefault(each, [each])
            if group is not joined:
                joined, group = sorted((group, joined), key=len, reverse=True)  # the shorter moves
                joined += group
                self._of.update((member, joined) for member in group)

    def each(self) -> Iterator[tuple[list[str], list[str]]]:
        """Every group, as the names of each side."""
        for group in {id(group): group for group in self._of.values()}.values():
            old = [name for side, name in group if side == "old"]
            yield old, [name for side, name in group if side == "new"]


def _named(groups: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[Bond]:
    """Each group under a name of its own, which is no old class of another group: who reads an old
    name must not take it for something else.
    """
    taken = {name for old, _ in groups for name in old}
    made: list[Bond] = []
    for old, new in groups:
        name = old[0] if len(old) == 1 else new[0] if len(new) == 1 else "+".join(old)
        while name in taken and name not in old:
            name += " (new)"
        taken.add(name)
        made.append(Bond(name, old, new))
    return made


def remap_of(common: Iterable[Bond]) -> Remap:
    """The names that bring both versions to their common classes."""
    common = list(common)
    return Remap(
        {bond.name: bond.new for bond in common if bond.new != (bond.name,)},
        {bond.name: bond.old for bond in common if bond.old and bond.old != (bond.name,)},
    )


def leads_to(before: Governance, after: Governance) -> bool:
    """Whether every change that made the one contract made the other too."""
    mine = _live(before)
    return mine == _live(after)[: len(mine)]
