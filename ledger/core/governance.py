"""The fold of the governance topic: what counts there, and what it makes of the label partitions.

Governance is read first, in offset order. From it follow the contract at each version, the named
versions, and the *live ranges* of every partition. A label partition can then be folded alone.

- **A contract change counts** if its `version` is one more than the highest that ever counted
  (void ones included) and its own `contract_version` is the one in force at its offset.
- **A rollback counts** if `at.governance` is its own offset (else somebody was faster:
  `version_conflict`), and `to` and `at` are closed, `to` lies before `at`, and both fit the chain
  of named positions (else `bad_rollback`). What lies in `[to, at)` is void while the rollback is
  live: label events, schema changes and rollbacks. Policies and tags stay, and names stay taken.
  A rollback that a later one voids no longer counts, and what it had voided is live again.
- **Named positions form a chain**: tags, `to` and `at`, each before or after every other.

A position is *causally closed* if it includes no label event whose contract change lies beyond
its governance offset, and no rollback whose `at` lies beyond its label offsets. Events that can
never be under a contract (none is ever made, or its change said `at` beyond them) do not count.
Closed positions are closed under the pairwise maximum, so each position has one greatest closed
position below it: its *floor*.

Settled here, where the meaning leaves room:

- Checks run in the order `unknown_contract`, `version_conflict`, `not_permitted`, identity, the
  positions. Governance is judged under the contract in force at the event's offset.
- A tag's second person is its `reviewer`; an event with no approver of its own has none.
- A tag whose name is taken is a `duplicate`, or an `id_conflict` when it names something else; one
  whose position is not closed or does not fit the chain is a `bad_position`, as is a contract
  change whose `at` has another number of partitions.
- A tag, `to` or `at` in the midst of a patch that was settled as one thing (see `register`) is no
  position to name: `bad_position`, `bad_rollback`.
- `to` equal to `at` would void nothing: `bad_rollback`.
- Whoever writes governance names only what there is: the writer refuses a position beyond the
  log's end, for the fold cannot know the end, and judges what a foreign writer put there by what
  the log holds. An `at` lower than the heads that were there is taken at its word; it can open
  positions that were closed, but tags are read at their own position all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ledger.core.contract import Contract, Contracts
from ledger.core.events import (
    ContractChange,
    Event,
    PolicyChanged,
    RolledBack,
    SchemaChanged,
    VersionTagged,
)
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.core.register import HANDLERS as REGISTERED
from ledger.core.register import Register, World

FirstUse = Callable[[int, int, int, int], int | None]
"""`(partition, contract version, start, stop)`: the first offset in `[start, stop)` of a label
event that names the version, or None."""


class Change(NamedTuple):
    """A contract change that counts, at its governance offset."""

    offset: int
    event: ContractChange


class Rollback(NamedTuple):
    """A rollback that counts, at its governance offset."""

    offset: int
    event: RolledBack

    def voids(self, offset: int) -> bool:
        """Whether the governance offset lies in what this rollback takes back."""
        return self.event.to.governance <= offset < self.event.at.governance


class Tag(NamedTuple):
    """A named version, at its governance offset."""

    offset: int
    event: VersionTagged


@dataclass(frozen=True, slots=True)
class Span:
    """A range of offsets `[start, stop)` of one partition, live or void."""

    start: int
    stop: int
    live: bool


class Governance:
    """The state after a prefix of the governance topic.

    Args:
        partitions: the number of label partitions.
        first_use: looks contract versions up in the label log; asked only where a position
            reaches beyond the label heads that a later contract change had read.
    """

    def __init__(self, partitions: int, first_use: FirstUse) -> None:
        self.partitions = partitions
        self.first_use = first_use
        self.changes: list[Change] = []
        self.rollbacks: list[Rollback] = []
        self.tags: dict[str, Tag] = {}
        self.named: list[Position] = []
        self.register = Register()
        self.contracts = Contracts()
        self.live_rollbacks: list[Rollback] = []

    def apply(self, offset: int, event: Event) -> Outcome:
        """Fold one event; offsets ascend. The state changes only if the event is not refused."""
        return HANDLERS[type(event)](self, offset, event)

    def foretell(self, offset: int, event: Event) -> Outcome:
        """What `apply` would answer, changing nothing."""
        return self.prefix(offset).apply(offset, event)

    def prefix(self, stop: int) -> Governance:
        """The state after `[0, stop)`, a state of its own: what was decided once stays decided."""
        earlier = Governance(self.partitions, self.first_use)
        earlier.changes = [change for change in self.changes if change.offset < stop]
        earlier.rollbacks = [rollback for rollback in self.rollbacks if rollback.offset < stop]
        earlier.tags = {name: tag for name, tag in self.tags.items() if tag.offset < stop}
        named = [(tag.offset, [tag.event.position]) for tag in earlier.tags.values()]
        named += [(each.offset, [each.event.to, each.event.at]) for each in earlier.rollbacks]
        earlier.register = self.register.prefix(stop)
        for _, positions in sorted(named, key=lambda pair: pair[0]):
            earlier.named += positions
        earlier._refresh()
        return earlier

    @property
    def contract(self) -> Contract:
        """The contract in force: the highest live version."""
        return self.contracts.in_force

    @property
    def highest_version(self) -> int:
        """The highest version that any change ever made, void ones included."""
        return self.changes[-1].event.version if self.changes else 0

    def void(self, offset: int) -> bool:
        """Whether a live rollback takes this governance offset back."""
        return any(rollback.voids(offset) for rollback in self.live_rollbacks)

    def spans(self, partition: int, stop: int) -> list[Span]:
        """`[0, stop)` of a label partition as live and void ranges, in order and without gaps."""
        cuts = sorted(
            (rollback.event.to.labels[partition], rollback.event.at.labels[partition])
            for rollback in self.live_rollbacks
        )
        spans: list[Span] = []
        done = 0
        for start, end in cuts:
            if start > done:
                spans.append(Span(done, min(start, stop), live=True))
            if end > max(start, done):
                spans.append(Span(max(start, done), min(end, stop), live=False))
            done = max(done, end)
        spans.append(Span(done, stop, live=True))
        return [span for span in spans if span.start < span.stop]

    def floor(self, position: Position) -> Position:
        """The greatest closed position within `position` (itself when it is closed)."""
        labels, governance = list(position.labels), position.governance
        settled = False
        while not settled:
            settled = True
            for rollback in self.rollbacks:
                beyond = any(
                    at > mine for at, mine in zip(rollback.event.at.labels, labels, strict=True)
                )
                if rollback.offset < governance and beyond:
                    governance, settled = rollback.offset, False
            for change in self.changes:
                if change.offset < governance:
                    continue
                for partition, stop in enumerate(labels):
                    start = change.event.at[partition]
                    if start < stop:
                        first = self.first_use(partition, change.event.version, start, stop)
                        if first is not None:
                            labels[partition], settled = first, False
        return Position(tuple(labels), governance)

    def closed(self, position: Position) -> bool:
        """Whether the position is causally closed, as far as this prefix of governance knows."""
        return self.floor(position).same_prefix(position)

    def fits_chain(self, position: Position) -> bool:
        """Whether the position is before or after every named one."""
        return all(position.comparable(other) for other in self.named)

    def cuts(self, position: Position) -> list[str]:
        """The patches that were settled as one thing and of which the position holds a part."""
        return [
            patch.event.patch_id
            for patch in self.register.patches.values()
            if patch.settled_at is not None
            and patch.cut_by(position)
            and not self.void(patch.settled_at)
        ]

    def _refresh(self) -> None:
        """Derive what is live. From the last rollback backwards: one counts unless a later live
        one voids it.
        """
        live: list[Rollback] = []
        for rollback in reversed(self.rollbacks):
            if not any(later.voids(rollback.offset) for later in live):
                live.append(rollback)
        self.live_rollbacks = live[::-1]
        self.contracts = Contracts(
            change.event
            for change in self.changes
            if isinstance(change.event, PolicyChanged) or not self.void(change.offset)
        )

    def _contract_changed(self, offset: int, event: Event) -> Outcome:
        assert isinstance(event, ContractChange)
        in_force = self.contract
        if (event.version, event.contract_version) != (self.highest_version + 1, in_force.version):
            return Outcome.VERSION_CONFLICT
        if not in_force.may_govern(event.actor, event.approved_by):
            return Outcome.NOT_PERMITTED
        if len(event.at) != self.partitions:
            return Outcome.BAD_POSITION
        self.changes.append(Change(offset, event))
        self._refresh()
        return Outcome.CHANGED

    def _tagged(self, offset: int, event: Event) -> Outcome:
        assert isinstance(event, VersionTagged)
        if not self.contracts.live(event.contract_version):
            return Outcome.UNKNOWN_CONTRACT
        if not self.contract.may_govern(event.actor, event.reviewer):
            return Outcome.NOT_PERMITTED
        taken = self.tags.get(event.name)
        if taken is not None:
            same = taken.event.position.same_prefix(event.position)
            return (
                Outcome.DUPLICATE
                if same and taken.event.content_hash == event.content_hash
                else Outcome.ID_CONFLICT
            )
        if not self._nameable(event.position, offset):
            return Outcome.BAD_POSITION
        self.tags[event.name] = Tag(offset, event)
        self.named.append(event.position)
        return Outcome.TAGGED

    def _rolled_back(self, offset: int, event: Event) -> Outcome:
        assert isinstance(event, RolledBack)
        if not self.contracts.live(event.contract_version):
            return Outcome.UNKNOWN_CONTRACT
        if event.at.governance != offset:
            return Outcome.VERSION_CONFLICT
        if not self.contract.may_govern(event.actor, event.approved_by):
            return Outcome.NOT_PERMITTED
        before = event.to.within(event.at) and not event.to.same_prefix(event.at)
        if not (before and self._nameable(event.to, offset) and self._nameable(event.at, offset)):
            return Outcome.BAD_ROLLBACK
        self.rollbacks.append(Rollback(offset, event))
        self.named += [event.to, event.at]
        self._refresh()
        return Outcome.ROLLED_BACK

    def _nameable(self, position: Position, offset: int) -> bool:
        return (
            len(position.labels) == self.partitions
            and position.governance <= offset
            and self.fits_chain(position)
            and not self.cuts(position)
            and self.closed(position)
        )

    def _registered(self, offset: int, event: Event) -> Outcome:
        if not self.contracts.live(event.contract_version):
            return Outcome.UNKNOWN_CONTRACT
        world = World(self.contract, self.partitions, self.tags.__contains__)
        return self.register.apply(offset, event, world)


HANDLERS: Mapping[type[Event], Callable[[Governance, int, Event], Outcome]] = {
    SchemaChanged: Governance._contract_changed,  # pyright: ignore[reportPrivateUsage]
    PolicyChanged: Governance._contract_changed,  # pyright: ignore[reportPrivateUsage]
    VersionTagged: Governance._tagged,  # pyright: ignore[reportPrivateUsage]
    RolledBack: Governance._rolled_back,  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(REGISTERED, Governance._registered),  # pyright: ignore[reportPrivateUsage]
}
