"""Copies a dataset to another log, or into another number of partitions, with every version's hash.

Offsets differ in the copy, so everything that names one is rewritten; event ids, timestamps and
content hashes stay. What makes that possible is that named positions form a chain: the label
events between two of them are laid out together, so that each named position is a prefix again.

- Label events go first, segment by segment of the chain, each to the partition of its record.
  Events of one record keep their order, for they share a partition in both.
- Governance follows, message by message, with its positions rewritten. A copy that was interrupted
  has no contract yet, and is seen to be none.
- The `at` of a contract change becomes, in each partition, the first event that may name it.
- A patch's frame becomes the least range between two cuts that holds it; no version cuts it.
- `based_on`, which no fold reads, becomes the greatest named position below it.
- Quarantine is left out: it names offsets of the source, and a worker on the copy derives it anew.
- What was refused stays refused: a misplaced event is misplaced again, undecodable bytes stay
  undecodable, and a refused governance event keeps the positions that it had.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ledger import positions
from ledger.codec import Undecodable
from ledger.core.events import (
    ContractChange,
    CorrectionProposed,
    Event,
    LabelEvent,
    PatchDecided,
    PatchProposed,
    RolledBack,
    VersionTagged,
)
from ledger.core.governance import Governance
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.errors import CorruptLog, InvalidRequest
from ledger.logs.base import BATCH_MESSAGES_MAX, Message, Topic
from ledger.reading import Reading
from ledger.replay import GovernanceReader

_OTHERS = (Topic.FEEDBACK, Topic.ANNOTATIONS, Topic.SIGNALS)


def copy(
    source: Dataset, target: Dataset, copied: Callable[[int], None] = lambda _: None
) -> Position:
    """Copy everything of `source` into the empty dataset `target`, and prove every version.

    `copied` is called with the number of label events of each batch that is stored.

    Returns:
        The position reached in `target`.

    Raises:
        InvalidRequest: `target` is not empty, or the source holds what no layout can keep.
        CorruptLog: a version of the copy does not have the hash that its tag says; or the source
            lacks its head, with the events of which a copy begins.
    """
    check_source(source)
    _refuse_events(target, (Topic.LABELS, Topic.GOVERNANCE), "copy into a new dataset")
    copying = _Copying(source, target, copied)
    copying.labels()
    copying.governance()
    for proof in Reading(target).verify():
        if not proof.proved and proof.tagged_sha256 is not None:
            raise CorruptLog(
                f"version {proof.name!r} of the copy is {proof.snapshot.sha256} and its tag says "
                f"{proof.tagged_sha256}: do not use the copy, and check the source"
            )
    return positions.ends(target)


def check_source(source: Dataset) -> None:
    """Refuse what cannot be copied at all, before anything is made to copy it into.

    Raises:
        InvalidRequest: it holds events on topics that no copy has yet.
        CorruptLog: it lacks its head.
    """
    _refuse_events(source, _OTHERS, "it can't be copied yet")
    for partition in range(source.partitions):
        source.refuse_lost(partition, 0, "what a copy begins with")


def _refuse_events(dataset: Dataset, topics: Sequence[Topic], why: str) -> None:
    for topic in topics:
        if any(dataset.log.ends(topic)):
            name = dataset.log.topic_name(topic)
            raise InvalidRequest(f"{name} at {dataset.log.url} holds events: {why}")


class _Copying:
    """One copy on its way."""

    def __init__(self, source: Dataset, target: Dataset, copied: Callable[[int], None]) -> None:
        self.copied = copied
        self.source = source
        self.target = target
        reader = GovernanceReader(source)
        self.state: Governance = reader.refresh()
        self.outcomes = reader.outcomes
        self.end = Position(
            tuple(source.log.ends(Topic.LABELS)), max(self.outcomes, default=-1) + 1
        )
        self.offsets = sorted(self.outcomes)
        """The governance offsets of the source that hold a message, which need not be all."""
        self.cuts: dict[tuple[int, ...], tuple[int, ...]] = {}
        """Label offsets of each named position in the source, and in the target."""
        self.written = [0] * target.partitions
        self.first_use: dict[int, list[int | None]] = {
            change.event.version: [None] * target.partitions for change in self.state.changes
        }
        self.heads = {change.event.version: change.event.at for change in self.state.changes}

    # Labels

    def labels(self) -> None:
        """Copy the label events, one segment of the chain after the other."""
        start = (0,) * self.source.partitions
        self.cuts[start] = tuple(self.written)
        for stop in self._chain():
            for partition, (first, last) in enumerate(zip(start, stop, strict=True)):
                self._copy_range(partition, first, last)
            self.cuts[stop] = tuple(self.written)
            start = stop

    def _chain(self) -> list[tuple[int, ...]]:
        """The label offsets to cut at, ascending: of named positions, and of contract changes as
        far as they fit, so that what guessed a version too early stays before it.
        """
        chain = {position.labels for position in self.state.named} | {self.end.labels}
        for head in self.heads.values():
            if all(_ordered(head, cut) for cut in chain):
                chain.add(head)
        return sorted(chain, key=sum)

    def _copy_range(self, partition: int, first: int, last: int) -> None:
        batch: list[Message] = []
        entries = self.source.entries(Topic.LABELS, partition, first, last) if first < last else ()
        values = self._values(partition, first, last)
        for entry, value in zip(entries, values, strict=True):
            batch.append(self._label_message(entry, value))
            if len(batch) == BATCH_MESSAGES_MAX:
                self._flush(batch)
        self._flush(batch)

    def _values(self, partition: int, first: int, last: int) -> Iterator[bytes]:
        """The values as they stand on the log."""
        if first < last:
            for batch in self.source.log.read(Topic.LABELS, partition, first, last):
                yield from (value or b"" for value in batch.values)

    def _label_message(self, entry: Entry, value: bytes) -> Message:
        event = entry.event
        key, home = self._home(entry)
        if isinstance(event, LabelEvent):
            self._note_use(entry, event, home)
        self.written[home] += 1
        if not isinstance(event, LabelEvent):
            return Message(home, key, still_undecodable(self.target, value), entry.timestamp_ms)
        if isinstance(event, CorrectionProposed) and event.based_on is not None:
            event = replace(event, based_on=self._below(event.based_on))
        return Message(home, key, self.target.codec.encode(event), entry.timestamp_ms)

    def _home(self, entry: Entry) -> tuple[bytes | None, int]:
        """The key and the partition in the copy; a misplaced event is misplaced there too."""
        count = self.target.partitions
        if count == self.source.partitions:
            return entry.key, entry.partition
        key = entry.key or b""
        home = partition_of(key, count)
        if partition_of(key, self.source.partitions) == entry.partition:
            return entry.key, home
        return (entry.key, (home + 1) % count) if count > 1 else (None, home)

    def _note_use(self, entry: Entry, event: LabelEvent, home: int) -> None:
        """Remember where a contract version is first named by an event that may name it."""
        version = event.contract_version
        if version not in self.heads:
            return
        may = self.heads[version][entry.partition] <= entry.offset
        first = self.first_use[version][home]
        if may and first is None:
            self.first_use[version][home] = self.written[home]
        elif not may and first is not None:
            raise InvalidRequest(
                f"labels partition {entry.partition} offset {entry.offset} names contract version "
                f"{version} before it was made, and {self.target.partitions} partitions can't keep "
                "it before the events that named it later; copy into as many as there are"
            )

    def _below(self, position: Position) -> Position:
        """The greatest named position within this one, in the copy."""
        return Position(
            self._cut_below(position.labels), self._governance_offset(position.governance)
        )

    def _cut_below(self, labels: tuple[int, ...]) -> tuple[int, ...]:
        """The greatest cut at or below these label offsets, in the copy."""
        return self.cuts[
            max((cut for cut in self.cuts if all(map(int.__le__, cut, labels))), key=sum)
        ]

    def _cut_above(self, labels: tuple[int, ...]) -> tuple[int, ...]:
        """The least cut at or above these label offsets, in the copy; beyond the end of the log,
        where a foreign writer may have put a frame, stays beyond it.
        """
        above = [cut for cut in self.cuts if all(map(int.__ge__, cut, labels))]
        if above:
            return self.cuts[min(above, key=sum)]
        return tuple(end + 1 for end in self.written)

    def _flush(self, batch: list[Message]) -> None:
        if batch:
            self.target.log.append(Topic.LABELS, batch)
            self.copied(len(batch))
            batch.clear()

    # Governance

    def governance(self) -> None:
        """Copy governance, message by message, rewriting what counts."""
        values = [
            value or b""
            for batch in self.source.log.read(Topic.GOVERNANCE, 0, 0, self.end.governance)
            for value in batch.values
        ]
        entries = self.source.entries(Topic.GOVERNANCE, 0, 0, self.end.governance)
        messages: list[Message] = []
        for entry, value in zip(entries, values, strict=True):
            if isinstance(entry.event, Undecodable):
                bytes_ = still_undecodable(self.target, value)
            else:
                refused = self.outcomes[entry.offset].refused
                event = entry.event if refused else self._rewritten(entry.event)
                bytes_ = self.target.codec.encode(event)
            messages.append(Message(0, entry.key, bytes_, entry.timestamp_ms))
        if messages:
            self.target.log.append(Topic.GOVERNANCE, messages)

    def _rewritten(self, event: Event) -> Event:
        match event:
            case ContractChange():
                uses = zip(self.first_use[event.version], self.written, strict=True)
                return replace(event, at=tuple(end if use is None else use for use, end in uses))
            case VersionTagged():
                return replace(event, position=self._mapped(event.position))
            case PatchProposed():
                return replace(event, at=self._cut_below(event.at))
            case PatchDecided():
                start, at = self._cut_below(event.start), self._cut_above(event.at)
                return replace(event, start=start, at=at)
            case RolledBack():
                return replace(event, to=self._mapped(event.to), at=self._mapped(event.at))
            case _:
                return event

    def _mapped(self, position: Position) -> Position:
        return Position(self.cuts[position.labels], self._governance_offset(position.governance))

    def _governance_offset(self, offset: int) -> int:
        """How many governance messages stand before this offset: the offset in the copy."""
        return bisect_left(self.offsets, offset)


def _ordered(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) or all(a >= b for a, b in pairs)


def still_undecodable(target: Dataset, value: bytes) -> bytes:
    """The bytes, or where the copy's registry could read them, with a byte in front that forbids
    it: what was no event must not become one.
    """
    decoded = target.codec.decode(value)
    return value if isinstance(decoded, Undecodable) else b"\xff" + value
