"""The steps from one position to another: the versions between, or each change of the labels.

A step is a closed position: the log up to and including what made the step. Changes follow each
other by the log's time; where partitions have the same millisecond, by partition. Changes that
belong together are one step: the votes of a patch, an import. What cannot be told apart by a closed
position outside of patches is one step as well.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ledger.core.events import (
    CorrectionProposed,
    Event,
    ItemRegistered,
    ReviewDecided,
    RolledBack,
    SchemaChanged,
)
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Batch, Topic
from ledger.past.stories import stories
from ledger.reading import Reading

By = Literal["versions", "corrections"]
VERSIONS_MIN = 2
"""So many versions between are looked through before what is between two of them."""


class Cause(NamedTuple):
    """One event that changed labels, and, where it is a vote, the correction that it applied."""

    event: Event
    proposal: CorrectionProposed | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        position: the log up to and including it.
        names: of versions, those tagged there.
        causes: of changes, the events that made them; of an import, the first ones.
        count: how many events these were.
    """

    position: Position
    names: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps after `good`, in order; the last one is at the position that is bad."""

    by: By
    good: Position
    steps: list[Step]


def steps_between(book: Reading, good: Position, bad: Position, by: By | None) -> Steps:
    """The steps from one closed position to a later one.

    Raises:
        InvalidRequest: `bad` is not after `good`, or nothing lies between.
    """
    if not good.within(bad) or good.same_prefix(bad):
        raise InvalidRequest(
            f"the bad position, {bad}, does not come after the good one, {good}: bisect looks for "
            "what went bad on the way from GOOD to BAD"
        )
    versions = _versions(book.governance, good, bad)
    if by is None:
        between = sum(1 for each in versions if not each.position.same_prefix(bad))
        by = "versions" if between >= VERSIONS_MIN else "corrections"
    steps = versions if by == "versions" else list(_changes(book, good, bad))
    if not steps:
        raise InvalidRequest(f"no label changes between {good} and {bad}: there is nothing to find")
    return Steps(by, good, steps)


def _versions(governance: Governance, good: Position, bad: Position) -> list[Step]:
    names: dict[tuple[tuple[int, ...], int], list[str]] = {}
    for name, tag in governance.tags.items():
        position = tag.event.position.prefix()
        if good.within(position) and position.within(bad) and not position.same_prefix(good):
            names.setdefault((position.labels, position.governance), []).append(name)
    names.setdefault((bad.labels, bad.governance), [])
    chain = sorted(names.items(), key=lambda pair: (sum(pair[0][0]), pair[0][1]))
    return [Step(Position(*place), tuple(sorted(found))) for place, found in chain]


_SHOWN_MAX = 100
"""So many of a step's events are kept to be shown."""


class _Change(NamedTuple):
    """An event that changes labels, and what makes it one step with others."""

    cause: Cause
    belongs: tuple[object, ...]


class _Message(NamedTuple):
    """A message in the log, and the change of labels that it is, if it is one."""

    timestamp_ms: int
    topic: Topic
    partition: int
    offset: int
    change: _Change | None


def _changes(book: Reading, good: Position, bad: Position) -> Iterator[Step]:
    governance = book.governance
    applied = _applied(book, good, bad)
    parts = [_governed(book, good.governance, bad.governance)]
    parts += [
        _labelled(book, partition, start, stop, applied)
        for partition, (start, stop) in enumerate(zip(good.labels, bad.labels, strict=True))
    ]
    labels, offset = list(good.labels), good.governance
    causes: list[Cause] = []
    count = 0
    belongs: tuple[object, ...] | None = None
    last = good
    for message in heapq.merge(*parts, key=_TIME):
        change = message.change
        if change is not None:
            if count and change.belongs != belongs:
                here = Position(tuple(labels), offset)
                if _stands(governance, here):
                    yield Step(here, (), tuple(causes), count)
                    causes, count, last = [], 0, here
            belongs = change.belongs
            count += 1
            if len(causes) < _SHOWN_MAX:
                causes.append(change.cause)
        if message.topic is Topic.GOVERNANCE:
            offset = message.offset + 1
        else:
            labels[message.partition] = message.offset + 1
    if count and not last.same_prefix(bad):
        yield Step(bad, (), tuple(causes), count)


_TIME = operator.attrgetter("timestamp_ms")


def _stands(governance: Governance, position: Position) -> bool:
    """Whether labels can be asked for there, and no patch is in the midst of being applied."""
    return governance.closed(position) and not governance.cuts(position)


def _governed(book: Reading, start: int, stop: int) -> Iterator[_Message]:
    """The messages on governance. Contract changes and rollbacks that count are changes."""
    outcomes = book.reader.outcomes
    for entry in book.dataset.entries(Topic.GOVERNANCE, 0, start, stop) if start < stop else ():
        counts = outcomes.get(entry.offset) in (Outcome.CHANGED, Outcome.ROLLED_BACK)
        change = None
        if isinstance(entry.event, (SchemaChanged, RolledBack)) and counts:
            change = _Change(Cause(entry.event), ("governance", entry.offset))
        yield _Message(entry.timestamp_ms, Topic.GOVERNANCE, 0, entry.offset, change)


def _labelled(
    book: Reading, partition: int, start: int, stop: int, applied: Mapping[tuple[int, int], _Change]
) -> Iterator[_Message]:
    """The messages of a label partition. Of those that are no votes only registrations are changes,
    and only they are decoded.
    """
    codec = book.dataset.codec
    for batch in _read(book.dataset, partition, start, stop):
        rows = zip(batch.timestamps_ms, batch.offsets, batch.values, strict=True)
        for timestamp_ms, offset, value in rows:
            change = applied.get((partition, offset))
            if change is None and codec.name_of(value) == _ITEM:
                event = codec.decode(value)
                if isinstance(event, ItemRegistered):
                    change = _Change(Cause(event), ("import", event.actor, event.source))
            yield _Message(timestamp_ms, Topic.LABELS, partition, offset, change)


def _applied(book: Reading, good: Position, bad: Position) -> dict[tuple[int, int], _Change]:
    """The votes between that applied a correction, by place. Of those that a rollback between took
    back it is not asked whether they had: each may have been a change.
    """
    dataset = book.dataset
    keys: set[bytes | None] = set()
    for partition, (start, stop) in enumerate(zip(good.labels, bad.labels, strict=True)):
        for batch in _read(dataset, partition, start, stop):
            pairs = zip(batch.keys, batch.values, strict=True)
            keys.update(key for key, value in pairs if dataset.codec.name_of(value) == _VOTE)
    found: dict[tuple[int, int], _Change] = {}
    for story in stories(dataset, bad, keys):
        world = story.told()
        proposals: dict[str, CorrectionProposed] = {}
        for entry, _ in story.entries:
            event = entry.event
            if isinstance(event, CorrectionProposed):
                proposals[event.correction_id] = event
            elif isinstance(event, ReviewDecided) and event.correction_id in proposals:
                outcome = world.outcomes.get(entry.offset)
                if event.decision == "accept" and outcome in (Outcome.APPLIED, Outcome.VOID):
                    place = entry.partition, entry.offset
                    cause = Cause(event, proposals[event.correction_id])
                    patch = cause.proposal and cause.proposal.patch_id
                    found[place] = _Change(cause, (patch,) if patch else place)
    return found


_ITEM, _VOTE = ItemRegistered.__name__, ReviewDecided.__name__


def _read(dataset: Dataset, partition: int, start: int, stop: int) -> Iterator[Batch]:
    return dataset.log.read(Topic.LABELS, partition, start, stop) if start < stop else iter(())
