"""What the fold knows of a partition, as arrays over codes.

A *thing* is whatever has an id: a record or an item. A record that is an item itself is one thing.
Texts (a content, a source, a correction's reason) are not kept: an item and a correction know the
offset of the event that brought them, and `hydrate` fetches them from the log. Geometries and
attributes are: splits ask for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.columnar.frame import Frame
from ledger.columnar.rows import firsts
from ledger.columnar.shapes import NONE, Shapes
from ledger.columnar.strings import Bools, Interner, Ints
from ledger.columnar.tables import Tables
from ledger.core.events import Attributes, CorrectionProposed, Decision, Event, ItemRegistered
from ledger.core.fold import Correction, Item, Record, attributes_of
from ledger.core.outcome import Outcome

OUTCOMES: Sequence[Outcome] = tuple(Outcome)
CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
DECISIONS: Sequence[Decision] = ("accept", "keep", "escalate")
NO_RECORD = -1
Fetch = Callable[[Sequence[int]], Iterable[tuple[int, Event]]]
"""The events at these ascending offsets of the partition, each with its offset."""

Stubs = dict[int, Item | Correction]
"""What lacks its texts, by the offset of the event that brought them."""
Small = NDArray[np.int32]
Codes = Ints | Small
_STUB = "(in the log)"
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class _Arrays:
    """Parallel arrays that grow together; `FILLS` says what an absent row holds."""

    FILLS: dict[str, tuple[Any, int]]

    def __init__(self) -> None:
        self.capacity = 0
        self.grow(1)

    def grow(self, size: int) -> None:
        """Make room for `size` rows."""
        if size <= self.capacity:
            return
        capacity = max(size, 2 * self.capacity, 1024)
        for name, (kind, fill) in self.FILLS.items():
            grown: Any = np.zeros(capacity, kind)  # pyright: ignore[reportUnknownVariableType]
            if self.capacity:
                grown[: self.capacity] = getattr(self, name)
            if fill:  # else the rest takes no memory before it is written to
                grown[self.capacity :] = fill
            setattr(self, name, grown)
        self.capacity = capacity


class Things(_Arrays):
    """Records and items, by code."""

    FILLS = {  # noqa: RUF012  read only
        "home": (np.bool_, 0),
        "record": (np.int32, NO_RECORD),
        "known": (np.bool_, 0),
        "complex": (np.bool_, 0),
        "dormant": (np.bool_, 0),
        "contract": (np.int32, 0),
        "split": (np.int32, -1),
        "exists": (np.bool_, 0),
        "label": (np.int32, 0),
        "version": (np.int32, 0),
        "given": (np.int32, 0),
        "offset": (np.int64, 0),
        "texts": (np.bool_, 0),
        "shape": (np.int32, NONE),
        "attributes": (np.int32, -1),
        "items": (np.int32, -1),
        "before": (np.int32, -1),
        "corrections": (np.int32, -1),
        "scratch": (np.int64, -1),
    }
    home: Bools
    """A record's name that belongs to this partition."""
    record: Small
    """The record of an item; a record is its own."""
    known: Bools
    """A record that some admitted event was about."""
    complex: Bools
    """A record that the reference fold keeps."""
    dormant: Bools
    """A complex record that it does not keep yet (see `ledger.columnar.dormant`)."""
    contract: Small
    split: Small
    exists: Bools
    """An item, of a record that is not complex."""
    label: Small
    version: Small
    given: Small
    """The label that the item was registered with."""
    offset: Ints
    texts: Bools
    shape: Small
    """The number of an item's geometry in `Columns.shapes`."""
    attributes: Small
    """What it was registered with, as JSON: a code of `Names.attributes`."""
    items: Small
    """The newest item of a record; `before` leads to the others (see `link`)."""
    before: Small
    corrections: Small
    """The newest correction of a record, likewise."""
    scratch: Ints
    """-1 between calls."""


class Corrections(_Arrays):
    """Corrections of records that are not complex, by the code of their id."""

    FILLS = {  # noqa: RUF012  read only
        "record": (np.int32, NO_RECORD),
        "item": (np.int32, 0),
        "actor": (np.int32, 0),
        "old": (np.int32, 0),
        "new": (np.int32, 0),
        "version": (np.int32, 0),
        "status": (np.uint8, 0),
        "votes": (np.int32, 0),
        "decision": (np.int8, 0),
        "offset": (np.int64, 0),
        "before": (np.int32, -1),
        "vote": (np.int32, -1),
        "scratch": (np.int64, -1),
    }
    record: Small
    item: Small
    actor: Small
    old: Small
    new: Small
    version: Small
    status: NDArray[np.uint8]
    votes: Small
    decision: NDArray[np.int8]
    """What all its votes so far say; corrections with votes of both kinds are complex."""
    offset: Ints
    before: Small
    """The next older correction of the record."""
    vote: Small
    """The newest vote on it; `Votes.before` leads to the others."""
    scratch: Ints


class Votes(_Arrays):
    """Votes that counted, in log order."""

    FILLS = {  # noqa: RUF012  read only
        "correction": (np.int32, 0),
        "actor": (np.int32, 0),
        "decision": (np.int8, 0),
        "before": (np.int32, -1),
    }
    correction: Small
    actor: Small
    decision: NDArray[np.int8]
    before: Small
    size = 0

    def add(self, corrections: Codes, actors: Codes, decisions: NDArray[np.int8]) -> Ints:
        """Append votes; their numbers."""
        start, stop = self.size, self.size + len(corrections)
        self.grow(stop)
        self.correction[start:stop] = corrections
        self.actor[start:stop] = actors
        self.decision[start:stop] = decisions
        self.size = stop
        return np.arange(start, stop)


def link(newest: Small, before: Small, owners: Codes, members: Codes, scratch: Ints) -> None:
    """Put members, in log order, in front of their owners' chains. See `firsts` for `scratch`."""
    if firsts(owners, scratch).all():
        before[members] = newest[owners]
        newest[owners] = members
        return
    order = np.argsort(owners, kind="stable")
    owner, member = owners[order], members[order]
    first = np.concatenate(([True], owner[1:] != owner[:-1]))
    before[member[1:]] = member[:-1]
    before[member[first]] = newest[owner[first]]
    newest[owner] = member  # of several the last one written stays


def chain(newest: Small, before: Small, owners: Codes) -> Ints:
    """The members of these owners' chains."""
    found = [np.empty(0, np.int64)]
    while len(owners):
        members = newest[owners]
        owners = members[members >= 0]
        found.append(owners.astype(np.int64))
        newest = before
    return np.sort(np.concatenate(found))


@dataclass(slots=True)
class Names:
    """The strings behind the codes."""

    things: Interner = field(default_factory=Interner)
    corrections: Interner = field(default_factory=Interner)
    actors: Interner = field(default_factory=Interner)
    labels: Interner = field(default_factory=Interner)
    splits: Interner = field(default_factory=Interner)
    attributes: Interner = field(default_factory=Interner)


class Columns:
    """The state of the records that are not complex."""

    def __init__(self, names: Names, tables: Tables) -> None:
        self.names = names
        self.tables = tables
        self.things = Things()
        self.corrections = Corrections()
        self.votes = Votes()
        self.shapes = Shapes()

    def describe(self, items: Ints, frame: Frame, at: Ints) -> None:
        """Keep the geometries and attributes of items that rows of a frame register."""
        drawn = np.nonzero(frame.drawn.kind[at] != NONE)[0]
        if len(drawn):
            found = frame.drawn.some(at[drawn])
            numbers = found.numbers(frame.data)
            self.things.shape[items[drawn]] = self.shapes.add(found.kind, found.counts, numbers)
        if frame.attributes:
            texts = pl.Series([frame.attributes.get(row) for row in at.tolist()], dtype=pl.String)
            there = texts.is_not_null()
            codes = self.names.attributes.of_series(texts.filter(there))
            self.things.attributes[items[there.to_numpy()]] = codes

    def attributes(self, items: Codes) -> list[Attributes]:
        """What split rules see of items."""
        shapes = self.shapes.geometries(self.things.shape[items])
        singles = self._singles(items)
        return [attributes_of(*each) for each in zip(singles, shapes, strict=True)]

    def _singles(self, items: Codes) -> list[Attributes]:
        """The attributes that items were registered with."""
        codes, where = np.unique(self.things.attributes[items], return_inverse=True)
        texts = self.names.attributes.of(codes[codes >= 0].astype(np.int64))
        none: list[Attributes] = [{}] * int(np.count_nonzero(codes < 0))
        told = none + [json.loads(text) for text in texts]
        return [told[number] for number in where.tolist()]

    def records(self, codes: Ints, stubs: Stubs) -> dict[str, Record]:
        """Reference records of some records' codes. Their texts are missing: `stubs` gets what
        `hydrate` has to fill, by offset.
        """
        things = self.things
        codes = codes[things.known[codes]]
        names = self.names.things.of(codes).to_list()
        contracts = things.contract[codes].tolist()
        made = {
            code: Record(contract_version=contract)
            for code, contract in zip(codes.tolist(), contracts, strict=True)
        }
        given = codes[things.split[codes] >= 0]
        splits = self.names.splits.of(things.split[given].astype(np.int64))
        for code, split in zip(given.tolist(), splits, strict=True):
            made[code].split = split
        named = dict(zip(codes.tolist(), names, strict=True))
        self._items(codes, made, named, stubs)
        self._corrections(codes, made, named, stubs)
        return dict(zip(names, made.values(), strict=True))

    def _items(
        self, records: Ints, made: dict[int, Record], names: dict[int, str], stubs: Any
    ) -> None:
        things, labels = self.things, self.tables.labels
        items = chain(things.items, things.before, records)
        names.update(zip(items.tolist(), self.names.things.of(items), strict=True))
        shapes = self.shapes.geometries(things.shape[items])
        every = zip(items.tolist(), shapes, self._singles(items), strict=True)
        for code, geometry, attributes in every:
            record = int(things.record[code])
            item = Item(
                names[code],
                names[record],
                labels[int(things.label[code])],
                int(things.version[code]),
                int(things.offset[code]),
                geometry,
                dict(attributes),
                registered_as=(_text(labels[int(things.given[code])]), geometry),
            )
            made[record].items[item.item_id] = item
            if things.texts[code] or attributes:
                stubs[item.offset] = item

    def _corrections(
        self, records: Ints, made: dict[int, Record], names: dict[int, str], stubs: Any
    ) -> None:
        own, labels, actors = self.corrections, self.tables.labels, self.tables.actors
        codes = chain(self.things.corrections, own.before, records)
        ids, by_code = self.names.corrections.of(codes), dict[int, Correction]()
        for code, correction_id in zip(codes.tolist(), ids, strict=True):
            record, offset = int(own.record[code]), int(own.offset[code])
            proposal = stub(
                actor=actors[int(own.actor[code])],
                contract_version=int(own.version[code]),
                item_id=names[int(own.item[code])],
                record_id=names[record],
                correction_id=correction_id,
                from_label=_text(labels[int(own.old[code])]),
                to_label=_text(labels[int(own.new[code])]),
            )
            correction = Correction(proposal, offset, OUTCOMES[int(own.status[code])])
            made[record].corrections[correction_id] = correction
            by_code[code] = stubs[offset] = correction
        for vote in chain(own.vote, self.votes.before, codes).tolist():
            correction = by_code[int(self.votes.correction[vote])]
            actor = actors[int(self.votes.actor[vote])]
            correction.votes[actor] = DECISIONS[int(self.votes.decision[vote])]

    def forget(self, codes: Ints) -> None:
        """Drop some records: they are complex now."""
        things, own = self.things, self.corrections
        things.complex[codes] = True
        things.exists[chain(things.items, things.before, codes)] = False
        own.record[chain(things.corrections, own.before, codes)] = NO_RECORD


def stub(**fields: Any) -> CorrectionProposed:
    """A proposal of which only what the fold asks for is known."""
    given: dict[str, Any] = {"event_id": _STUB, "occurred_at": _LONG_AGO, **fields}
    return CorrectionProposed(**given)


def registration_stub(**fields: Any) -> ItemRegistered:
    """Likewise a registration."""
    given: dict[str, Any] = {"event_id": _STUB, "occurred_at": _LONG_AGO, **fields}
    return ItemRegistered(**given)


def hydrate(stubs: Stubs, fetch: Fetch) -> None:
    """Fill in from the log what `Columns.records` left out; `stubs` is empty afterwards."""
    for offset, event in fetch(sorted(stubs)):
        known = stubs[offset]
        if isinstance(known, Item):
            assert isinstance(event, ItemRegistered)
            known.content, known.source = event.content, event.source
            known.single_attributes = dict(event.attributes)  # in the order in which it says them
        else:
            assert isinstance(event, CorrectionProposed)
            known.proposal = event
    stubs.clear()


def _text(label: object) -> str | None:
    """A label that an event named; those are never unresolved."""
    assert label is None or isinstance(label, str)
    return label
