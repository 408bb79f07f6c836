"""Who saw a label before it was corrected: releases, the models trained on them, the evaluations.

A record's events are read once. For each version they are folded as its position has them, under
its governance, so that what a rollback took back, or brought back, is seen as each version saw it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.core.contract import Contracts, Label
from ledger.core.epochs import Epochs
from ledger.core.events import (
    Attributes,
    CorrectionProposed,
    Geometry,
    LabelEvent,
    ModelRegistered,
    VersionTagged,
    record_of,
)
from ledger.core.fold import Item, PartitionFold, Record
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Entry
from ledger.errors import InvalidRequest
from ledger.history import label_text
from ledger.reading import Reading
from ledger.record import entries, home_of, record_proposed_in
from ledger.releases.splits import TEST
from ledger.remap import TRAINING


@dataclass(frozen=True)
class Sight:
    """What a version, or the head, has of an item: its label there, None where it has none."""

    label: Label
    contracts: Contracts
    attributes: Attributes
    geometry: Geometry | None
    split: str | None
    known: bool
    """Whether anything was said of the record by then."""

    @property
    def version(self) -> int:
        """The contract that the label is read under."""
        return self.contracts.in_force.version


@dataclass(frozen=True)
class Blast:
    """Who saw the old label of an item.

    Attributes:
        item_id: which item.
        split: of its record.
        correction: the one that it is about; None where all of the item's labels are.
        status: what became of the correction, as of now: `void` where a rollback took it back.
        now: the item's label now, as text.
        releases: the versions that show the old label, each with that label as text.
        models: those that learned from it.
        evaluations: the models whose metrics were measured on it.
    """

    item_id: str
    split: str | None
    correction: CorrectionProposed | None
    status: str | None
    now: str
    releases: Mapping[str, str]
    models: Sequence[ModelRegistered]
    evaluations: Sequence[ModelRegistered]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        said = self.correction
        correction = said and {
            "correction_id": said.correction_id,
            "from": said.from_label,
            "to": said.to_label,
            "by": said.actor,
            "reason": said.reason,
            "status": self.status,
        }
        return {
            "id": self.item_id,
            "split": self.split,
            "label": self.now,
            **({"correction": correction} if correction else {}),
            "releases": [{"version": v, "label": label} for v, label in self.releases.items()],
            "models": [
                {"model": each.name, "label_version": each.label_version} for each in self.models
            ],
            "evaluations": [
                {
                    "model": each.name,
                    "split_version": each.split_version,
                    "metrics": dict(sorted(each.metrics.items())),
                }
                for each in self.evaluations
            ],
        }


def blast_of_correction(book: Reading, correction_id: str, record_id: str | None = None) -> Blast:
    """Who saw the label that a correction corrects.

    Args:
        book: the ledger.
        correction_id: of a proposal; one that waits or was taken back will do.
        record_id: its record, where several have a correction of this id.
    """
    head = book.resolve()
    record = record_proposed_in(book.dataset, correction_id, head, record_id)
    story = _Story(book, record, head) if record else None
    proposal = story.proposal(correction_id) if story else None
    if story is None or proposal is None:
        raise InvalidRequest(f"there is no correction {correction_id!r}")
    return story.blast(proposal.item_id, proposal)


def blast_of_item(book: Reading, item_id: str) -> Blast:
    """Who saw another label of an item than the one that it has now."""
    story = _Story(book, record_of(item_id), book.resolve())
    if not any(story.about(item_id)):
        raise InvalidRequest(f"item {item_id!r} does not exist")
    return story.blast(item_id, None)


class _Story:
    """A record's events, and what each position makes of them."""

    def __init__(self, book: Reading, record_id: str, head: Position) -> None:
        self.book, self.record_id, self.head = book, record_id, head
        self.home = home_of(record_id, book.dataset)
        self.governance = book.governance
        self.epochs = Epochs(self.governance)
        keys = frozenset((record_id.encode(),))
        self.entries = list(entries(book.dataset, self.home, keys, 0, head.labels[self.home]))
        self.offsets = [entry.offset for entry in self.entries]

    def about(self, item_id: str) -> Iterator[LabelEvent]:
        """The events about an item."""
        for entry in self.entries:
            if isinstance(entry.event, LabelEvent) and entry.event.item_id == item_id:
                yield entry.event

    def proposal(self, correction_id: str) -> CorrectionProposed | None:
        """The proposal that has this id: the live one, else the first."""
        live = self.record(self.head, self.governance)
        if live is not None and correction_id in live.corrections:
            return live.corrections[correction_id].proposal
        proposals = (e.event for e in self.entries if isinstance(e.event, CorrectionProposed))
        return next((each for each in proposals if each.correction_id == correction_id), None)

    def record(self, position: Position, governance: Governance) -> Record | None:
        """The record as a position has it."""
        contracts = governance.contracts
        fold = PartitionFold(contracts, self.home, self.book.dataset.partitions)
        for span in governance.spans(self.home, position.labels[self.home]):
            for entry in self._between(span.start, span.stop):
                if isinstance(entry.event, LabelEvent):
                    if span.live:
                        fold.apply(entry.offset, entry.key, entry.event)
                    else:
                        fold.void(entry.key, entry.event)
        return fold.records.get(self.record_id)

    def _between(self, start: int, stop: int) -> Sequence[Entry]:
        return self.entries[bisect_left(self.offsets, start) : bisect_left(self.offsets, stop)]

    def sight(self, item_id: str, position: Position) -> Sight:
        """What a position has of an item."""
        governance = self.governance.prefix(position.governance)
        record = self.record(position, governance)
        item = record.items.get(item_id) if record else None
        contracts = governance.contracts
        return Sight(
            label=_label(contracts, item) if item else None,
            contracts=contracts,
            attributes=item.attributes if item else {},
            geometry=item.geometry if item else None,
            split=record.split if record else None,
            known=record is not None,
        )

    def blast(self, item_id: str, correction: CorrectionProposed | None) -> Blast:
        """Which versions saw the old label, and who took it from them."""
        now = self.sight(item_id, self.head)
        seen: dict[str, Sight] = {}
        for name, tag in self.governance.tags.items():
            sight = self.sight(item_id, tag.event.position.prefix())
            old = self.is_what(sight, correction) if correction else self.differs(sight, now)
            if old:
                seen[name] = sight
        split = now.split or next((each.split for each in seen.values() if each.split), None)
        models = [each.event for each in self.governance.register.models.values()]
        tags = {name: tag.event for name, tag in self.governance.tags.items()}
        return Blast(
            item_id=item_id,
            split=split,
            correction=correction,
            status=self._status(correction) if correction else None,
            now=label_text(now.label),
            releases={name: label_text(sight.label) for name, sight in seen.items()},
            models=[m for m in models if m.label_version in seen and split != TEST],
            evaluations=[
                m
                for m in models
                if m.metrics and split not in TRAINING and measured_on(m, tags) in seen
            ],
        )

    def is_what(self, sight: Sight, correction: CorrectionProposed) -> bool:
        """Whether a version has what a correction says is wrong."""
        if not sight.known:
            return False
        if correction.to_geometry is not None and sight.geometry != correction.from_geometry:
            return False
        if correction.from_label is None:
            return not isinstance(sight.label, str)
        return isinstance(sight.label, str) and self.same(
            sight, correction.from_label, correction.contract_version
        )

    def differs(self, sight: Sight, now: Sight) -> bool:
        """Whether a version has the item, and otherwise than now."""
        if not isinstance(sight.label, str):
            return False
        same = isinstance(now.label, str) and self.same(sight, now.label, now.version)
        return not (same and sight.geometry == now.geometry)

    def same(self, sight: Sight, label: str, version: int) -> bool:
        """Whether a version's label means what a label under a contract does: both are mapped
        forward to the later contract, as a governance has it that knows both.
        """
        for governance in reversed(self.epochs.governances):
            contracts = governance.contracts
            if contracts.live(version) and contracts.live(sight.version):
                later = max(version, sight.version)
                mine = contracts.forward(sight.label, sight.version, later, sight.attributes)
                return mine == contracts.forward(label, version, later, sight.attributes)
        return sight.label == label

    def _status(self, correction: CorrectionProposed) -> str:
        record = self.record(self.head, self.governance)
        found = record.corrections.get(correction.correction_id) if record else None
        return found.status.value if found else "void"


def _label(contracts: Contracts, item: Item) -> Label:
    until = contracts.in_force.version
    return contracts.forward(item.label, item.contract_version, until, item.attributes)


def measured_on(model: ModelRegistered, tags: Mapping[str, VersionTagged]) -> str:
    """The version whose test labels a model was measured on."""
    own = tags[model.label_version]
    if model.split_version in (None, own.test_version):
        return own.name
    named = (t.name for t in tags.values() if t.test_version == model.split_version)
    return next(named, own.name)
