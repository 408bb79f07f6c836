"""Appends events in the order they are given, whatever topics they belong on.

Kafka orders events inside one partition only. So that an event finds what it depends on, label
events are durable before a governance event that follows them, and a governance event before the
label events that follow it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from ledger import positions
from ledger.clock import new_id, now
from ledger.core.events import (
    Event,
    PatchDecided,
    PatchProposed,
    PolicyChanged,
    RolledBack,
    SchemaChanged,
    VersionTagged,
)
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, topic_of
from ledger.door import Stamps, admit, type_of
from ledger.errors import InvalidRequest, LogUnavailable
from ledger.logs.base import BATCH_MESSAGES_MAX, Message, Topic
from ledger.replay import GovernanceReader

Given = Event | Mapping[str, Any]


@dataclass
class Appended:
    """What an append did.

    Attributes:
        places: topic, partition and offset of every event, in the order given.
        refused: number (from 1), event and outcome of each governance event that the fold
            refuses; it is in the log all the same.
    """

    places: list[tuple[Topic, int, int]] = field(default_factory=list[tuple[Topic, int, int]])
    refused: list[tuple[int, Event, Outcome]] = field(
        default_factory=list[tuple[int, Event, Outcome]]
    )


class Writer:
    """Stamps and appends events to one dataset.

    Args:
        dataset: where to.
        governance: its governance; the contract in force there is what events are stamped with.
    """

    def __init__(self, dataset: Dataset, governance: GovernanceReader) -> None:
        self._dataset = dataset
        self._governance = governance

    def check(self, events: Iterable[Given]) -> None:
        """Refuse the first event that could not be appended, appending nothing.

        Raises:
            InvalidRequest: names the event's number, counted from 1, and the rule.
        """
        heads = tuple(map(self._dataset.head, range(self._dataset.partitions)))
        stamps = Stamps("unstamped", now(), 0, Position(heads, 0))
        for number, given in enumerate(events, 1):
            self._message(number, given, self._event(number, given, stamps, there=False))

    def stamp(self, fields: Mapping[str, Any]) -> Event:
        """The event that appending the fields now would append."""
        ends = positions.ends(self._dataset)
        version = self._governance.refresh().contract.version
        return admit(fields, Stamps(new_id(), now(), version, ends))

    def append(self, events: Iterable[Given]) -> Appended:
        """Append in order, durably.

        Raises:
            InvalidRequest: the event of this number cannot be; all before it are appended.
            LogUnavailable: `acknowledged` events are known to be appended, of each partition the
                first ones; appending all again is harmless where they carry their event ids.
        """
        done = Appended()
        batch: list[Message] = []
        contract_version = self._governance.refresh().contract.version
        try:
            for number, given in enumerate(events, 1):
                is_governance = _topic(number, given) is Topic.GOVERNANCE
                if is_governance or len(batch) == BATCH_MESSAGES_MAX:
                    self._flush(Topic.LABELS, batch, done)
                    contract_version = self._governance.refresh().contract.version
                ends = positions.ends(self._dataset) if is_governance else _NOWHERE
                stamps = Stamps(new_id(), now(), contract_version, ends)
                event = self._event(number, given, stamps)
                message = self._message(number, given, event)
                if not is_governance:
                    batch.append(message)
                    continue
                self._flush(Topic.GOVERNANCE, [message], done)
                contract_version = self._governance.refresh().contract.version
                outcome = self._governance.outcomes[done.places[-1][2]]
                if outcome.refused:
                    done.refused.append((number, event, outcome))
        except InvalidRequest:
            self._flush(Topic.LABELS, batch, done)
            raise
        self._flush(Topic.LABELS, batch, done)
        return done

    def _flush(self, topic: Topic, batch: list[Message], done: Appended) -> None:
        if not batch:
            return
        try:
            places = self._dataset.append(topic, batch)
        except LogUnavailable as error:
            stored = len(done.places) + error.acknowledged
            raise LogUnavailable(str(error), acknowledged=stored) from error
        done.places += [(topic, *place) for place in places]
        batch.clear()

    def _event(self, number: int, given: Given, stamps: Stamps, *, there: bool = True) -> Event:
        with _numbered(number):
            if isinstance(given, Event):
                event = given
            else:
                _refuse_foreign(given, self._dataset.partitions)
                event = admit(given, stamps)
            if there:
                _refuse_beyond(event, stamps.position)
            self._refuse_lost(event)
            return event

    def _refuse_lost(self, event: Event) -> None:
        """Refuse to change what label events mean that are gone: no fold could be made of it."""
        match event:
            case RolledBack():
                name, offsets = "to", event.to.labels
            case SchemaChanged() | PolicyChanged():
                name, offsets = "at", event.at
            case _:
                return
        for partition, offset in enumerate(offsets):
            if offset < (head := self._dataset.head(partition)):
                raise InvalidRequest(
                    f"{type(event).__name__}: {name} names offset {offset} of partition "
                    f"{partition}, and what {self._dataset.log.topic_name(Topic.LABELS)} holds "
                    f"begins at {head}: what became of lost events stays as it is"
                )

    def _message(self, number: int, given: Given, event: Event) -> Message:
        with _numbered(number):
            return self._dataset.message(event, admitted=given is not event)


_NOWHERE = Position((0,), 0)


def _refuse_foreign(fields: Mapping[str, Any], partitions: int) -> None:
    """Refuse what another log's `errata log --json` gives and this log cannot mean."""
    for name in ("at", "start", "to", "position", "based_on"):
        value = fields.get(name)
        labels = (
            cast("Mapping[str, Any]", value).get("labels") if isinstance(value, dict) else value
        )
        count = len(cast("list[object]", labels)) if isinstance(labels, list) else partitions
        if count != partitions:
            raise InvalidRequest(
                f"{fields.get('type')}: {name} names {count} label partitions and this dataset has "
                f"{partitions}: a position holds for one layout only. Leave out `based_on` and the "
                "`at` of a contract change (it is stamped); tag and roll back here anew"
            )


def _refuse_beyond(event: Event, end: Position) -> None:
    """Refuse to name what is not there yet: what it would mean depended on what comes."""
    named: dict[str, Position] = {}
    match event:
        case VersionTagged():
            named = {"position": event.position}
        case RolledBack():
            named = {"to": event.to, "at": event.at}
        case PatchProposed():
            named = {"at": Position(event.at, end.governance)}
        case PatchDecided():
            heads = {"start": event.start, "at": event.at}
            named = {name: Position(labels, end.governance) for name, labels in heads.items()}
        case _:
            pass
    for name, position in named.items():
        if not position.within(end):
            raise InvalidRequest(
                f"{type(event).__name__}: {name} {position.prefix()} is beyond the end of the log, "
                f"{end}: name what is there"
            )


@contextmanager
def _numbered(number: int) -> Generator[None]:
    """Put the event's number in front of a refusal."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"event {number}: {error}") from error


def _topic(number: int, given: Given) -> Topic:
    with _numbered(number):
        named = {"type": type(given).__name__} if isinstance(given, Event) else given
        return topic_of(type_of(named))  # which refuses what is not for everybody to write
