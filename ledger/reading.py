"""What can be asked of a ledger, at any position."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import structlog

from ledger import positions
from ledger.core.events import LabelEvent, VersionTagged
from ledger.core.fold import Correction
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.errors import CheckpointDamaged, CheckpointsUnavailable, InvalidRequest
from ledger.history import History, history
from ledger.logs.base import Topic
from ledger.record import fold_record, home_of, proposed_in, state_of
from ledger.replay import (
    COLUMNS_FROM,
    GovernanceReader,
    Observer,
    State,
    rebuild,
    replay,
)
from ledger.snapshot import Difference, Snapshot

if TYPE_CHECKING:
    from ledger.checkpoints.reader import Checkpoints

Answer = TypeVar("Answer")
Where = str | datetime | Position
_say = structlog.get_logger("errata.checkpoints")
HEAD = positions.HEAD


class Proof(NamedTuple):
    """A version rebuilt, beside the hash that its tag says."""

    name: str
    tagged_sha256: str | None
    snapshot: Snapshot
    stood_in: bool = False
    """Whether what the log lacks of it was taken from checkpoints."""

    @property
    def proved(self) -> bool:
        """Whether the rebuilt snapshot has the hash of the tag."""
        return self.snapshot.sha256 == self.tagged_sha256


class Reading:
    """Answers from the log, by way of checkpoints where they are; see `Ledger`, which opens it and
    writes. What checkpoints answer is what a replay would, to the byte; where they are damaged or
    cannot be reached, a warning says so and the log is replayed.

    Args:
        dataset: the log.
        checkpoints: where its checkpoints are, if any were made.
    """

    def __init__(self, dataset: Dataset, checkpoints: str | None = None) -> None:
        self.dataset = dataset
        self.reader = GovernanceReader(dataset)
        self._place = checkpoints
        self._opened: Checkpoints | None = None
        self._head: tuple[int, Governance] | None = None

    def resolve(self, at: Where = HEAD) -> Position:
        """The closed position that `at` names."""
        end = positions.ends(self.dataset)
        return positions.resolve(self.dataset, self.reader.refresh(), end, at)

    @property
    def governance(self) -> Governance:
        """Governance at the log's end: the contract in force, versions, rollbacks."""
        return self.reader.refresh()

    def version(self, name: str) -> VersionTagged:
        """The version with this name.

        Raises:
            InvalidRequest: there is none.
        """
        tags = self.governance.tags
        if name not in tags:
            known = ", ".join(tags) or "none yet"
            raise InvalidRequest(f"there is no version {name!r}; there are: {known}")
        return tags[name].event

    def state(
        self,
        at: Where = HEAD,
        observe: Observer | None = None,
        since: Sequence[int] | None = None,
    ) -> State:
        """Everything the fold knows at a position.

        Args:
            at: the position.
            observe: called with every entry up to the position and what became of it there.
            since: the first label offsets that it has to be called with; all by default. Where the
                log holds fewer it is refused.
        """
        position = self.resolve(at)
        if observe is None:
            found = self._stored(position, lambda stored, then: stored.state(then, position))
            if found is not None:
                return found.reference()
        return replay(self.dataset, position, observe, since)

    def snapshot(self, at: Where = HEAD) -> Snapshot:
        """The labels at a position."""
        position = self.resolve(at)
        found = self._stored(position, lambda stored, then: stored.snapshot(then, position))
        return rebuild(self.dataset, position) if found is None else found

    def verify(self, names: Iterable[str] | None = None) -> Iterator[Proof]:
        """Rebuild versions (all, by default) from the log alone and hold them against their tags:
        a proof believes no checkpoint, but for what the log itself holds no more.
        """
        for name in list(self.governance.tags) if names is None else names:
            tag = self.version(name)
            position = self.resolve(name)
            lost = any(stop and self.dataset.head(p) for p, stop in enumerate(position.labels))
            yield Proof(name, tag.content_hash, rebuild(self.dataset, position), lost)

    def diff(self, before: Where, after: Where = HEAD) -> Difference:
        """The items whose canonical line differs between two positions, sorted by id."""
        one, two = self.resolve(before), self.resolve(after)
        longer = max(one, two, key=lambda position: sum(position.labels))
        found = self._stored(longer, lambda stored, then: stored.diff(then, one, two))
        return self.snapshot(one).diff(self.snapshot(two)) if found is None else found

    @property
    def checkpoints(self) -> Checkpoints | None:
        """The checkpoints; None where none are, or the extra `frames` is missing."""
        place = self._place
        if self._opened is None and place and _may_hold(place):
            try:
                from ledger.checkpoints.reader import Checkpoints
            except ImportError:
                return None
            self._opened = Checkpoints(place, self.dataset)
        return self._opened

    def _stored(
        self, position: Position, ask: Callable[[Checkpoints, Governance], Answer | None]
    ) -> Answer | None:
        """What checkpoints answer; None where a replay has to. A short log is replayed sooner than
        the libraries for checkpoints are loaded.
        """
        if sum(position.labels) < COLUMNS_FROM:
            return None
        try:
            stored = self.checkpoints
            return None if stored is None else ask(stored, self._frozen())
        except (CheckpointDamaged, CheckpointsUnavailable) as error:
            _say.warning("the log is replayed", why=str(error))
            return None

    def _frozen(self) -> Governance:
        """Governance as it is known now, the same state until more of it is."""
        stop = self.reader.stop
        if self._head is None or self._head[0] != stop:
            self._head = stop, self.reader.state.prefix(stop)
        return self._head[1]

    def history(self, item_id: str, at: Where = HEAD) -> History:
        """Everything that was said of an item up to a position, and what became of it."""
        return history(self.dataset, item_id, self.resolve(at))

    def events(
        self, start: Position | None = None, stop: Position | None = None
    ) -> Iterator[Entry]:
        """The log from one position to another, merged by time; each partition in its order.

        Args:
            start: the first offset of each partition to give; the log's start by default.
            stop: where to end, exclusive; the log's end by default. Neither need be closed.
        """
        start = start or Position((0,) * self.dataset.partitions, 0)
        stop = stop or positions.ends(self.dataset)
        ranges = [(Topic.GOVERNANCE, 0, start.governance, stop.governance)]
        ranges += [
            (Topic.LABELS, i, first, last)
            for i, (first, last) in enumerate(zip(start.labels, stop.labels, strict=True))
        ]
        parts = [self.dataset.entries(*each) for each in ranges if each[2] < each[3]]
        return heapq.merge(*parts, key=lambda entry: entry.timestamp_ms)

    def outcome(self, topic: Topic, partition: int, offset: int) -> Outcome:
        """What became of the event at this place, as of now."""
        governance = self.reader.refresh()
        if topic is Topic.GOVERNANCE:
            return self.reader.outcomes[offset]
        (batch,) = self.dataset.log.read(topic, partition, offset, offset + 1)
        event = self.dataset.codec.decode(batch.values[0])
        if not isinstance(event, LabelEvent):
            return Outcome.UNDECODABLE
        home = home_of(event.record_id, self.dataset)
        if (batch.keys[0], partition) != (event.record_id.encode(), home):
            return Outcome.MISPLACED
        last: list[Outcome] = []

        def observe(entry: Entry, outcome: Outcome) -> None:
            del entry
            last.append(outcome)

        fold_record(self.dataset, governance, event.record_id, offset + 1, observe, since=offset)
        return last[-1]

    def find_correction(self, correction_id: str, record_id: str | None = None) -> Correction:
        """The correction with this id (ids are unique within a record)."""
        head = self.resolve()
        records = [record_id] if record_id else proposed_in(self.dataset, correction_id, head)
        states = (state_of(self.dataset, [each], head) for each in records)
        found = [
            correction
            for state in states
            for correction in state.corrections()
            if correction.proposal.correction_id == correction_id
        ]
        if not found:
            raise InvalidRequest(f"there is no correction {correction_id!r}")
        if len(found) > 1:
            records = ", ".join(sorted(each.proposal.record_id for each in found))
            raise InvalidRequest(
                f"correction {correction_id!r} is in several records, {records}: give --record"
            )
        return found[0]

    def close(self) -> None:
        """Release files and connections; appends are durable without it."""
        self.dataset.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _may_hold(place: str) -> bool:
    """Whether checkpoints may be at a place. What is wrong with it is told when it is read."""
    if "://" in place:
        return True
    try:
        os.stat(place)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True
