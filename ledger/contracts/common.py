"""The classes that two contracts of one log have in common.

A class is followed from the last contract that both have to what it became in each. Classes that
meet on the way are one common class: the finest that both can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from ledger.core.contract import ClassState
from ledger.core.events import SchemaChanged
from ledger.core.governance import Governance

Side = Literal["old", "new"]


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
    groups = _Groups()
    old, new = before.contract.classes, after.contract.classes
    for name in before.contracts.at(since).classes:
        groups.meet(
            before.contracts.becomes(name, since, before.contract.version),
            after.contracts.becomes(name, since, after.contract.version),
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
                joined += group
                self._of.update((member, joined) for member in group)

    def each(self) -> Iterator[tuple[list[str], list[str]]]:
        """Every group, as the names of each side."""
        for group in {id(group): group for group in self._of.values()}.values():
            old = [name for side, name in group if side == "old"]
            yield old, [name for side, name in group if side == "new"]


def _named(groups: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[Bond]:
    """Each group under a name of its own: a single old class's comes first, so that no other one
    takes it.
    """
    taken = {old[0] for old, _ in groups if len(old) == 1}
    made: list[Bond] = []
    for old, new in groups:
        if len(old) == 1:
            made.append(Bond(old[0], old, new))
            continue
        name = new[0] if len(new) == 1 else "+".join(old)
        while name in taken:
            name += " (new)"
        taken.add(name)
        made.append(Bond(name, old, new))
    return made


def leads_to(before: Governance, after: Governance) -> bool:
    """Whether every change that made the one contract made the other too."""
    mine = _live(before)
    return mine == _live(after)[: len(mine)]
