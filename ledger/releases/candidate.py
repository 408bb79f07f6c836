"""A position that may become a version, beside the version that it follows.

Labels of the base are mapped forward to the contract of the candidate first, so that a rename alone
changes no item: what the schema changed and what people corrected are told apart. The base is the
latest version whose labels are still in the candidate's: what a rollback took back is no base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, NoReturn, cast

from ledger.contracts.relabel import Counts, columns_of, counts, difference
from ledger.contracts.unresolved import unresolved
from ledger.core.contract import Contract, Contracts
from ledger.core.events import GeometryType, RolledBack, SchemaChanged, VersionTagged
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.errors import InvalidRequest
from ledger.reading import Reading
from ledger.releases.corrections import Corrections, corrections_between
from ledger.releases.geometry import Drawn, in_columns, in_state
from ledger.releases.remembered import Remembered
from ledger.replay import State, fold_governance
from ledger.snapshot import Snapshot
from ledger.tally import Group, Tally, tally

if TYPE_CHECKING:
    from ledger.columnar.snapshot import ColumnarSnapshot
    from ledger.ledger import Ledger


class Forwarded(NamedTuple):
    """The labels of a base to compare with: a snapshot, and the names that its classes have now."""

    snapshot: Snapshot
    names: Mapping[str, str]

    def labels(self) -> Mapping[str, int]:
        """How many items have each label, by label."""
        found = Counter[str]()
        for name, count in self.snapshot.labels().items():
            found[self.names.get(name, name)] += count
        return dict(sorted(found.items()))


class Candidate:
    """Everything that is asked of a release, each answer computed once.

    Args:
        book: the ledger.
        position: closed.
        base: the version to compare with; None if it is the first.
        reading: the same ledger, with labels that it was asked for before.
    """

    def __init__(
        self,
        book: Ledger,
        position: Position,
        base: VersionTagged | None,
        reading: Remembered | None = None,
    ) -> None:
        self.book = book
        self.position = position
        self.base = base
        self.reading = Remembered(book) if reading is None else reading

    @classmethod
    def at(cls, book: Ledger, position: Position, base: str | None = None) -> Candidate:
        """The candidate at a position, beside the named base or the version before it.

        Raises:
            InvalidRequest: there is no such version, or it lies beyond the position.
        """
        if base is None:
            return cls(book, position, version_before(book.governance, position))
        tag = book.version(base)
        if not tag.position.prefix().within(position):
            raise InvalidRequest(
                f"base {base!r} lies beyond the position that is to be tagged; name a version "
                "before it"
            )
        return cls(book, position, tag)

    @cached_property
    def governance(self) -> Governance:
        """Governance at the position."""
        return fold_governance(self.book.dataset, self.position.governance)

    @property
    def contract(self) -> Contract:
        """The contract in force at the position."""
        return self.governance.contract

    @property
    def base_contract_version(self) -> int | None:
        """The contract that the labels of the base stood under."""
        if self.base is None:
            return None
        return self.governance.prefix(self.base.position.governance).contract.version

    @cached_property
    def snapshot(self) -> Snapshot:
        """The labels at the position."""
        return self.reading.snapshot(self.position)

    @cached_property
    def forwarded(self) -> Forwarded | None:
        """The labels of the base under the contract of the candidate; an item that a split leaves
        without a class keeps the one that it had.
        """
        if self.base is None:
            return None
        named = self.base.position.prefix()
        if named.labels == self.position.labels and self._only_named_anew(named):
            return Forwarded(self.snapshot, {})
        return forward(self.reading, self.reading.snapshot(named), self.governance)

    def _only_named_anew(self, named: Position) -> bool:
        """Whether nothing but names of classes can differ from the labels at an earlier position
        with the same label events.
        """
        contract = self.governance.prefix(named.governance).contract
        asking = _asking(self.governance.contracts, contract)
        return not asking and _undisturbed(self.governance, named)

    @cached_property
    def _counts(self) -> Counts:
        return counts(self.snapshot)

    @cached_property
    def splits(self) -> Mapping[str, int]:
        """How many items each split has, sorted; `""` for none."""
        sizes = Counter[str]()
        for (_, split), count in self._counts.items():
            sizes[split] += count
        return dict(sorted(sizes.items()))

    @cached_property
    def tally(self) -> Tally:
        """What differs from the base; without one every item is new."""
        if self.forwarded is None:
            each = self._counts.items()
            return Tally({Group(None, label, None, split or None): n for (label, split), n in each})
        before, names = self.forwarded
        return tally(difference(before, self.snapshot, names, {}))

    @cached_property
    def unresolved(self) -> list[str]:
        """The items that a split left without a class, sorted: no rule matches, or several do."""
        return [waiting.item_id for waiting in unresolved(self.reading, self.position)]

    @cached_property
    def state(self) -> State:
        """Everything that the fold knows at the position: items one by one, with their texts. Where
        the snapshot was replayed by columns it has the state, and nothing is folded again.
        """
        snapshot = self.snapshot
        if columns_of(snapshot) is None:
            return self.book.state(self.position)
        return cast("ColumnarSnapshot", snapshot).reference()

    @cached_property
    def corrections(self) -> Corrections:
        """What was settled since the base."""
        start = self.base.position.labels if self.base else (0,) * len(self.position.labels)
        return corrections_between(self.book.dataset, self.governance, start, self.position)

    @cached_property
    def schema_changes(self) -> list[SchemaChanged]:
        """How the classes changed since the base, in order: the mapping that was used."""
        since = self.base.position.governance if self.base else 0
        return [
            change.event
            for change in self.governance.changes
            if change.offset >= since
            and isinstance(change.event, SchemaChanged)
            and not self.governance.void(change.offset)
        ]

    @cached_property
    def rollbacks(self) -> list[RolledBack]:
        """What took labels or classes back since the base, in order."""
        since = self.base.position.governance if self.base else 0
        return [each.event for each in self.governance.live_rollbacks if each.offset >= since]

    def without(self, item_ids: Collection[str]) -> list[str]:
        """Those of the items that are not labelled here, sorted."""
        frame = columns_of(self.snapshot)
        if frame is None:
            there = {row.item_id for row in self.snapshot.rows}
        else:
            there = set(frame["id"].filter(frame["id"].is_in(list(item_ids))).to_list())
        return sorted(set(item_ids) - there)

    def drawn(self, kind: GeometryType) -> Iterable[Drawn]:
        """The labelled items with a geometry of this kind; of boxes those that break a rule are
        enough. The state is asked for only where there is no other way.
        """
        frame = columns_of(self.snapshot)
        if frame is None:
            there = any(row.geometry and row.geometry.type == kind for row in self.snapshot.rows)
        else:
            there = bool((frame["geometry_type"] == kind).any())
            attributes = cast("ColumnarSnapshot", self.snapshot).attributes
            if there and kind != "span" and attributes is not None:
                return in_columns(frame, kind, attributes)
        return in_state(self.state, kind) if there else ()


def version_before(governance: Governance, position: Position) -> VersionTagged | None:
    """The latest version within the position whose labels no rollback up to there took back.

    Args:
        governance: the versions to choose from.
        position: closed.
    """
    rollbacks = governance.prefix(position.governance).live_rollbacks
    found: VersionTagged | None = None
    for tag in governance.tags.values():
        named = tag.event.position.prefix()
        voided = any(
            named.within(each.event.at) and not named.within(each.event.to) for each in rollbacks
        )
        if voided or not named.within(position):
            continue
        if found is None or found.position.prefix().within(named):
            found = tag.event
    return found


def forward(book: Reading, snapshot: Snapshot, governance: Governance) -> Forwarded:
    """A snapshot's labels mapped forward to the contract of a later governance.

    Where a split asks for attributes, its labels are read at its own label offsets under that
    governance, or, where a rollback lies in between, mapped item by item.
    """
    contracts = governance.contracts
    since, until = snapshot.contract.version, contracts.in_force.version
    if since >= until or not contracts.live(since):
        return Forwarded(snapshot, {})  # the contract went back: classes compare as they stand
    if not _asking(contracts, snapshot.contract):
        classes = snapshot.contract.classes
        names = {name: contracts.becomes(name, since, until)[0] for name in classes}
        return Forwarded(snapshot, {old: new for old, new in names.items() if old != new})
    position = Position(snapshot.position.labels, governance.changes[-1].offset + 1)
    if _undisturbed(governance, snapshot.position) and governance.closed(position):
        return Forwarded(_completed(book.snapshot(position), snapshot), {})
    return Forwarded(_one_by_one(snapshot, contracts, since, until), {})


def _asking(contracts: Contracts, since: Contract) -> bool:
    """Whether the way of some class of a contract to the one in force asks an item's attributes."""
    until = contracts.in_force.version
    return any(contracts.asks(name, since.version, until) for name in since.classes)


def _undisturbed(governance: Governance, position: Position) -> bool:
    """Whether no rollback since then takes label events back."""
    return all(rollback.offset < position.governance for rollback in governance.rollbacks)


def _completed(forwarded: Snapshot, before: Snapshot) -> Snapshot:
    """The snapshot, and the items that only the one before it has, as they were there."""
    new, old = columns_of(forwarded), columns_of(before)
    if new is None or old is None:
        known = {row.item_id for row in forwarded.rows}
        rows = [*forwarded.rows, *(row for row in before.rows if row.item_id not in known)]
        return Snapshot(forwarded.position, forwarded.contract, rows)
    import polars as pl

    from ledger.columnar.snapshot import ColumnarSnapshot

    whole = pl.concat([new, old.join(new, on="id", how="anti")])
    return ColumnarSnapshot(forwarded.position, forwarded.contract, whole, _columns_only)


def _columns_only() -> NoReturn:
    raise AssertionError("labels mapped forward are compared as columns")


def _one_by_one(snapshot: Snapshot, contracts: Contracts, since: int, until: int) -> Snapshot:
    found = (
        (row, contracts.forward(row.label, since, until, row.attributes)) for row in snapshot.rows
    )
    rows = [row._replace(label=label) if isinstance(label, str) else row for row, label in found]
    return Snapshot(snapshot.position, snapshot.contract, rows)
