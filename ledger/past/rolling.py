"""What a rollback would take back, before it is appended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledger import positions
from ledger.codec import HEADER_BYTES
from ledger.core.epochs import live
from ledger.core.events import SchemaChanged
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic
from ledger.reading import Where


@dataclass(frozen=True, slots=True)
class Undoing:
    """What a rollback takes back. Names are those that stay: nobody may take them again.

    Attributes:
        to: where it goes back to.
        at: the log's end.
        events: how many label events become void, by type.
        restored: how many label events that an earlier rollback voided are live again.
        contracts: the contract versions that become void.
        rollbacks: how many earlier rollbacks are taken back themselves.
        versions: the versions whose labels are no longer those in force.
        patches: the bulk changes that become void.
        models: the models that were trained on one of these versions.
    """

    to: Position
    at: Position
    events: Mapping[str, int]
    restored: int
    contracts: tuple[int, ...]
    rollbacks: int
    versions: tuple[str, ...]
    patches: tuple[str, ...]
    models: tuple[str, ...]


def undoing(dataset: Dataset, governance: Governance, to: Position) -> Undoing:
    """What going back to a closed position would take back. Nothing is appended.

    Raises:
        InvalidRequest: it is where the log ends, in the midst of a patch, or neither before nor
            after a position that was named.
    """
    at = positions.ends(dataset)
    _refuse(governance, to, at)
    then = governance.prefix(to.governance)
    events: Counter[str] = Counter()
    restored = 0
    for partition, stop in enumerate(at.labels):
        now, after = live(governance, partition, stop), live(then, partition, to.labels[partition])
        for start, end in _without(now, after):
            events += _types(dataset, partition, start, end)
        restored += sum(end - start for start, end in _without(after, now))
    schemas = [change for change in governance.changes if isinstance(change.event, SchemaChanged)]
    kept = {change.offset for change in then.changes if not then.void(change.offset)}
    gone = [
        each for each in schemas if not governance.void(each.offset) and each.offset not in kept
    ]
    versions = [name for name, tag in governance.tags.items() if not tag.event.position.within(to)]
    return Undoing(
        to,
        at,
        dict(sorted(events.items())),
        restored,
        tuple(each.event.version for each in gone),
        sum(each.offset >= to.governance for each in governance.live_rollbacks),
        tuple(versions),
        tuple(_patches(governance, to)),
        tuple(
            sorted(
                name
                for name, model in governance.register.models.items()
                if model.event.label_version in versions
            )
        ),
    )


def _refuse(governance: Governance, to: Position, at: Position) -> None:
    if to.same_prefix(at):
        raise InvalidRequest(f"position {to} is where the log ends: nothing to undo")
    cut = governance.cuts(to)
    if cut:
        raise InvalidRequest(
            f"position {to} is in the midst of patch {cut[0]!r}, which was settled as one thing: "
            "go back to before or after it"
        )
    if not governance.fits_chain(to):
        raise InvalidRequest(
            f"position {to} is neither before nor after every position that was named (by a "
            "version or a rollback): go back to one that is"
        )


def refuse_unfinished(cut: list[str], to: Where) -> None:
    """Refuse a position that holds a part of bulk changes that are being settled."""
    if cut:
        raise InvalidRequest(
            f"position {to} is in the midst of patch {cut[0]!r}, which is being settled: finish "
            "it first, or go back to before it"
        )


def _without(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges of `some` that none of `others` covers; both ascend and do not overlap."""
    left: list[tuple[int, int]] = []
    for start, stop in some:
        for other, end in others:
            if other < stop and end > start:
                if other > start:
                    left.append((start, other))
                start = end  # noqa: PLW2901  what is left of it
        if start < stop:
            left.append((start, stop))
    return left


def _types(dataset: Dataset, partition: int, start: int, stop: int) -> Counter[str]:
    """How many messages of each type there are. A type is known by the schema in front of the
    value; a value without a schema of ours is `undecodable`.
    """
    headers: Counter[bytes] = Counter()
    for batch in dataset.log.read(Topic.LABELS, partition, start, stop):
        headers.update((value or b"")[:HEADER_BYTES] for value in batch.values)
    counts: Counter[str] = Counter()
    for header, count in headers.items():
        counts[dataset.codec.name_of(header) or "undecodable"] += count
    return counts


def _patches(governance: Governance, to: Position) -> Iterator[str]:
    for name, patch in sorted(governance.register.patches.items()):
        settled = patch.settlement
        if governance.void(patch.offset if patch.settled_at is None else patch.settled_at):
            continue
        opened_later = patch.offset >= to.governance
        if opened_later or (
            settled is not None and not all(map(int.__le__, settled.at, to.labels))
        ):
            yield name
