"""The worker: follows the log as a member of a consumer group, and keeps what it says.

Each partition that this member holds has a follower, whose rows go to the sinks. A turn of the
loop takes the messages that are there (many when it is behind, one when it is not), then reads
governance on, so that whatever the messages need is in it, and then lets every partition go on.
Progress is what the sinks have; the group only says who reads what. Whatever fails, a partition
is dropped and taken up again from there: nothing is skipped, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from consumers.follower import Follower, Piece, Restore
from consumers.sinks import LATE, Again, Sink
from ledger.columnar.replay import ROWS, whole
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import CheckpointsUnavailable, LogUnavailable, ViewsUnavailable
from ledger.logs.base import Batch, Subscription, Topic
from ledger.replay import GovernanceReader
from ledger.views.contract import Known

Partitions = frozenset[tuple[Topic, int]]
IDLE_S = 0.02
"""How often governance is looked at while the log tells of nothing new."""
_AGAIN_S, _AGAIN_S_MAX = 0.1, 5.0
_PATIENCE_S = 5.0
_TURN_MAX = 100_000
_NOT_NOW = (LogUnavailable, ViewsUnavailable, CheckpointsUnavailable)
_say = structlog.get_logger("errata.worker")


class Worker:
    """A member of a group that keeps rows of the partitions it holds.

    Args:
        dataset: the log.
        sinks: where the rows go.
        group: the group's name; its members share the partitions.
        restore: brings a follower's state back; by default all is folded again.
        told: called with the number of events of each piece that was kept.
    """

    def __init__(
        self,
        dataset: Dataset,
        sinks: Sequence[Sink],
        group: str,
        restore: Restore | None = None,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._dataset, self._sinks, self._group = dataset, sinks, group
        self._restore, self._told = restore, told
        self._reader = GovernanceReader(dataset)
        self._known = Known(0, self._reader.state.prefix(0))
        self._followers: dict[int, Follower] = {}
        self._reached: dict[int, int] = {}
        """How far the group's messages have come: a follower behind it reads the log itself."""
        self._waiting: dict[int, list[Batch]] = {}
        """What has come and was not given to its follower yet."""
        self._since_s, self._told_idle = time.monotonic(), False
        self._ahead: dict[int, int] = {}
        """How far the sink was that was furthest when its follower began."""

    def run(self, go_on: Callable[[], bool]) -> None:
        """Follow the log for as long as it is told to go on; it asks between turns.

        Raises what does not pass by itself: a corrupt log, damaged views, a wrong configuration.
        """
        subscribe = partial(self._dataset.log.subscribe, [Topic.LABELS], self._group)
        with subscribe(self._start, self._lose) as member:
            patiently(lambda: self._turn(member), go_on, self._drop)
            self._end()

    def reaches(self, position: Position) -> bool:
        """Whether all up to a position is kept: by this member, or by who holds the partition."""
        return position.governance <= self._known.stop and all(
            self._offset(partition) >= stop for partition, stop in enumerate(position.labels)
        )

    def _offset(self, partition: int) -> int:
        follower = self._followers.get(partition)
        if follower is not None:
            return follower.offset
        return min(sink.offset(partition) for sink in self._sinks)

    def _end(self) -> None:
        """Keep what is only gathered so far; where that fails now, it is folded again later."""
        try:
            for partition in self._followers:
                self._settle(partition)
        except (*LATE, *_NOT_NOW, Again) as error:
            _say.warning("not settled", why=str(error))

    def _start(self, topic: Topic, partition: int) -> int:
        del topic
        start = min(sink.offset(partition) for sink in self._sinks)
        start = max(start, self._dataset.head(partition))  # what is before stands in checkpoints
        self._reached[partition] = start
        _say.info("assigned", partition=partition, offset=start)
        return start

    def _lose(self, lost: Partitions) -> None:
        """Forget them; all that was kept of them is durable, and others go on from there."""
        for _, partition in lost:
            _say.info("revoked", partition=partition)
            self._reached.pop(partition, None)
            self._waiting.pop(partition, None)
            self._followers.pop(partition, None)

    def _turn(self, member: Subscription) -> None:
        try:
            self._take_turn(member)
        except LATE as late:
            _say.warning("fenced", why=str(late))
            self._drop()
        except Again:
            self._drop()

    def _take_turn(self, member: Subscription) -> None:
        received = self._receive(member)
        if not received:
            self._say_idle()
            for sink in self._sinks:
                sink.check()
        before, self._known = self._known, self._refreshed()
        grown = before.stop < self._known.stop
        for partition, reached in self._reached.items():
            follower = self._followers.get(partition)
            batch = received.get(partition)
            if not grown and batch is None and follower is not None and follower.offset >= reached:
                continue
            self._go_on(partition, batch, reached, grown=grown)

    def _receive(self, member: Subscription) -> dict[int, Batch]:
        """The messages that are there, by partition; it waits a little where there are none.

        What has come is kept until it is given out, also where the next look fails; it is forgotten
        when its partition is lost.
        """
        batch = member.poll(0 if self._waiting else IDLE_S)
        while batch is not None:
            self._waiting.setdefault(batch.partition, []).append(batch)
            full = sum(len(each) for given in self._waiting.values() for each in given) >= ROWS
            batch = None if full else member.poll(0)
        received, self._waiting = self._waiting, {}
        for partition, batches in received.items():
            self._reached[partition] = batches[-1].offsets[-1] + 1
        return {
            partition: next(whole(batches, sum(map(len, batches)) + 1))
            for partition, batches in received.items()
        }

    def _say_idle(self) -> None:
        """Say once where nothing is to be done here, as others do it."""
        if self._reached or self._told_idle or time.monotonic() - self._since_s < _PATIENCE_S:
            return
        self._told_idle = True
        _say.warning("nothing to do", why="other members hold all partitions", group=self._group)

    def _go_on(self, partition: int, batch: Batch | None, reached: int, *, grown: bool) -> None:
        """Fold a partition on, as far as the group's messages have come."""
        follower = self._followers.get(partition)
        if follower is None or (grown and follower.offset < self._ahead[partition]):
            follower = self._take_up(partition)
        governance = self._known.governance
        reached = max(reached, follower.offset)
        if batch is None:  # a part at a time: others want their turn, and the group a sign of life
            pieces = follower.advance(governance, min(reached, follower.offset + _TURN_MAX))
        else:
            pieces = follower.follow(governance, batch)
        for said in pieces:
            for sink in self._sinks:
                sink.take(said, self._known)
            if isinstance(said, Piece):
                self._told(said.stop - said.start)
        if grown or (batch is None and follower.offset >= reached):
            self._settle(partition)
        self._followers[partition] = follower

    def _take_up(self, partition: int) -> Follower:
        """A follower from where the sink that is least far stands. As long as another is further
        than it, that one is not told what does not stand any more: then all is taken up again.
        """
        known = self._known
        starts = [sink.take_up(partition, known) for sink in self._sinks]
        start, self._ahead[partition] = min(starts), max(starts)
        return Follower(self._dataset, partition, start, known.governance, self._restore)

    def _settle(self, partition: int) -> None:
        for sink in self._sinks:
            sink.settle(partition, self._known)

    def _refreshed(self) -> Known:
        governance = self._reader.refresh()
        stop = self._reader.stop
        if stop == self._known.stop:
            return self._known
        return Known(stop, governance.prefix(stop))

    def _drop(self) -> None:
        """Forget every state: what was believed of it may not be so."""
        self._followers.clear()
        for sink in self._sinks:
            sink.renew()


def patiently(
    turn: Callable[[], None], go_on: Callable[[], bool], drop: Callable[[], None]
) -> None:
    """Take turns for as long as one is told to go on. Where something is away for a while, drop
    what is believed, and try again; it is said once, and once when it is back.
    """
    wait_s = 0.0
    while go_on():
        try:
            if wait_s:
                drop()
            turn()
        except _NOT_NOW as error:
            if not wait_s:
                _say.warning("waiting", why=str(error))
            wait_s = min(2 * wait_s or _AGAIN_S, _AGAIN_S_MAX)
            until = time.monotonic() + wait_s
            while go_on() and (left := until - time.monotonic()) > 0:
                time.sleep(min(left, IDLE_S))
        else:
            if wait_s:
                _say.warning("goes on")
            wait_s = 0.0


def group_of(dataset: Dataset, place: str) -> str:
    """The group whose members keep together what stands at a place, unless another is named. Who
    keeps something else is in another group: it needs every partition itself.
    """
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"errata.{dataset.log.dataset}.views.{digest}"
