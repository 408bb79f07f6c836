"""Undoing some corrections and keeping every later good one.

An item goes back to what it would be without the corrections that are undone (see `stories`). A
kept correction that was applied, and would not have been without them, *stands on* them: it is a
dependant. Its item is left as it is, but for what was undone after it; or, with dependants, it is
undone as well. A dependant that was an earlier undoing is no news and not listed, so that undoing
twice finds nothing to do; but where that undoing was undone itself it is listed, for it is why what
is selected stays: the last word on the item is the later undoing's.

What cannot be put back by a correction is left and listed, never guessed: a class that the
contract no longer takes, a label that a split leaves unresolved, no geometry where now is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ledger.core.contract import Unresolved
from ledger.core.events import CorrectionProposed
from ledger.core.position import Position
from ledger.dataset import Entry
from ledger.history import label_text
from ledger.past.selection import Chosen, Selection
from ledger.past.stories import Story, World, stories
from ledger.patches.edit import Edit
from ledger.reading import Reading


class Left(NamedTuple):
    """An item that can't go back to what it would be, and why."""

    item_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What undoing would do at a position. Everything is sorted by item.

    Attributes:
        selection: what was asked to be undone.
        with_dependants: whether what stands on it was to be undone as well.
        position: where it was found.
        undone: the selected corrections that were applied.
        dependants: the kept corrections that stand on them; with dependants, undone too.
        edits: what is to change.
        left: what can't be put back.
        open: how many of the selected corrections are still open: those are for reviewers.
    """

    selection: Selection
    with_dependants: bool
    position: Position
    undone: tuple[CorrectionProposed, ...]
    dependants: tuple[CorrectionProposed, ...]
    edits: tuple[Edit, ...]
    left: tuple[Left, ...]
    open: int

    @property
    def name(self) -> str:
        """What the undoing is called on the log."""
        return f"undo of {self.selection.text()}" + (
            " with dependants" if self.with_dependants else ""
        )


def plan(book: Reading, selection: Selection, *, with_dependants: bool) -> Plan:
    """What undoing the selected corrections would do now."""
    dataset, position = book.dataset, book.resolve()
    selected = Chosen.of(selection, book.resolve).entries_in(dataset, position)
    places = {(entry.partition, entry.offset) for entry in selected}
    undone: list[CorrectionProposed] = []
    dependants: list[CorrectionProposed] = []
    edits: list[Edit] = []
    left: list[Left] = []
    still_open = 0
    for story in stories(dataset, position, (entry.key for entry in selected)):
        now = story.told()
        mine = [
            each
            for each in now.record.corrections.values()
            if (story.partition, each.offset) in places
        ]
        still_open += sum(each.open for each in mine)
        taken = {each.proposal.correction_id for each in mine} & now.applied.keys()
        unwound = _unwound(story, now, taken, with_dependants=with_dependants)
        old_news = _undoings(now)
        for name, correction in now.applied.items():
            if name in taken:
                undone.append(correction.proposal)
            elif name in unwound.dependants and name not in old_news:
                dependants.append(correction.proposal)
        for each in _ways_back(now, unwound.world):
            if isinstance(each, Edit):
                edits.append(each)
            else:
                left.append(each)
    return Plan(
        selection,
        with_dependants,
        position,
        tuple(sorted(undone, key=_by_item)),
        tuple(sorted(dependants, key=_by_item)),
        tuple(sorted(edits, key=_by_item)),
        tuple(sorted(left, key=_by_item)),
        still_open,
    )


def _by_item(each: CorrectionProposed | Edit | Left) -> bytes:
    return each.item_id.encode()


def _undoings(now: World) -> set[str]:
    """The corrections of a record that were undoings, and were not undone themselves next."""
    found = set[str]()
    last: dict[str, str] = {}
    for name, correction in now.applied.items():
        item_id = correction.proposal.item_id
        if correction.proposal.source == "rollback":
            found.add(name)
            found.discard(last.get(item_id, ""))
        last[item_id] = name
    return found


class _Unwound(NamedTuple):
    """A record without what is undone of it, and the corrections that stood on that."""

    world: World
    dependants: set[str]


def _unwound(story: Story, now: World, taken: set[str], *, with_dependants: bool) -> _Unwound:
    """Leave out what is taken, until all that is kept is as it was or is known to depend on it."""
    out, dependants = set(taken), set[str]()
    while True:
        world = story.told(_proposals_of(out)) if out else now
        broken = [name for name in now.applied if name not in out and name not in world.applied]
        if not broken:
            return _Unwound(world, dependants)
        dependants.update(broken)
        if with_dependants:
            out.update(broken)
        else:
            out = _spared(now, out, broken)


def _proposals_of(names: set[str]) -> Callable[[Entry], bool]:
    """Whether an event proposes one of these corrections: a redelivery does not step in for it."""
    return lambda entry: (
        isinstance(entry.event, CorrectionProposed) and entry.event.correction_id in names
    )


def _spared(now: World, out: set[str], broken: list[str]) -> set[str]:
    """What still goes where broken corrections are kept: on their items only what came later."""
    order = {name: number for number, name in enumerate(now.applied)}
    stands: dict[str, int] = {}
    for name in broken:
        item_id = now.applied[name].proposal.item_id
        stands[item_id] = max(order[name], stands.get(item_id, -1))
    later = {
        name for name in out if order[name] > stands.get(now.applied[name].proposal.item_id, -1)
    }
    # What depends in another way (by the contract that a record is judged under) keeps all of it.
    return later if later != out else set()


def _ways_back(now: World, then: World) -> Iterator[Edit | Left]:
    """How each item of a record comes to be what it is in another world."""
    for item_id in sorted(now.record.items.keys() | then.record.items.keys()):
        item, other = now.record.items.get(item_id), then.record.items.get(item_id)
        label, wanted = now.label(item), then.label(other)
        if isinstance(wanted, Unresolved):
            if wanted != label:
                yield Left(item_id, f"it would be {label_text(wanted)}")
            continue
        shown = label if isinstance(label, str) else None
        before, after = (each.geometry if each else None for each in (item, other))
        if wanted is None or after == before:
            before = after = None
        elif after is None:
            yield Left(item_id, "it would have no geometry, which no correction takes away")
            before = None
        if shown == wanted and after is None:
            continue
        if wanted is not None and not now.governance.contract.takes(wanted):
            yield Left(item_id, f"it would be {wanted}, which the contract no longer takes")
        else:
            yield Edit(item_id, shown, wanted, before, after)
