"""From what a person writes to a closed position of this log.

Everything that takes a position takes offsets (`labels=12,40,7,9;governance=3`), the name of a
version, a timestamp (ISO 8601; UTC unless it says otherwise), or `head`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.clock import milliseconds
from ledger.core import position as vectors
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic

HEAD = "head"


def ends(dataset: Dataset) -> Position:
    """The end of every label partition and of governance, read in this order: what a label event
    needs of governance was there before it.
    """
    labels = tuple(dataset.log.ends(Topic.LABELS))
    return Position(labels, dataset.log.ends(Topic.GOVERNANCE)[0])


def resolve(
    dataset: Dataset, governance: Governance, end: Position, where: str | datetime | Position
) -> Position:
    """The closed position that `where` names.

    Args:
        dataset: the log.
        governance: its governance, folded to `end`.
        end: the log's ends, as `ends` read them.
        where: text, a timestamp, or a position to check.

    Raises:
        InvalidRequest: unknown name, wrong number of partitions, beyond the end, or not closed
            (naming the greatest closed position below).
    """
    if isinstance(where, str):
        name = where.strip()
        if name in governance.tags:  # it was closed when it was tagged, and its prefix is the same
            return _there(governance.tags[name].event.position.prefix(), dataset, end)
        where = _parse(governance, name)
    if where == HEAD:
        return governance.floor(end)
    if isinstance(where, datetime):
        return governance.floor(_at_time(dataset, end, where))
    assert isinstance(where, Position)
    return _checked(dataset, governance, end, where)


def _parse(governance: Governance, text: str) -> str | datetime | Position:
    if text.lower() == HEAD:
        return HEAD
    if "=" in text:
        try:
            return vectors.parse(text)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        names = ", ".join(sorted(governance.tags)) or "none yet"
        raise InvalidRequest(
            f"position {text!r} is no version (there are: {names}), no timestamp such as "
            "2026-01-31T12:00:00Z, no offsets such as labels=12,40,7,9;governance=3, and not 'head'"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_moment(text: str) -> bool:
    """Whether the text reads as a timestamp, and so can't name a version."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _at_time(dataset: Dataset, end: Position, moment: datetime) -> Position:
    """Per partition the prefix before the first later message, within `end`."""
    try:
        timestamp_ms = milliseconds(moment)
    except (OverflowError, ValueError) as error:
        raise InvalidRequest(f"timestamp {moment.isoformat()}: {error}") from error

    def before(topic: Topic, partition: int, stop: int) -> int:
        if dataset.stand_in is not None and topic is Topic.LABELS and dataset.head(partition):
            lost = dataset.stand_in.offset_after(partition, timestamp_ms)
            if lost is not None:
                return min(stop, lost)
        return min(stop, dataset.log.offset_after(topic, partition, timestamp_ms))

    labels = tuple(before(Topic.LABELS, number, stop) for number, stop in enumerate(end.labels))
    return Position(labels, before(Topic.GOVERNANCE, 0, end.governance))


def _checked(
    dataset: Dataset, governance: Governance, end: Position, position: Position
) -> Position:
    position = _there(position.prefix(), dataset, end)
    floor = governance.floor(position)
    if not floor.same_prefix(position):
        raise InvalidRequest(
            f"position {position} is not closed: it includes an event whose contract change or "
            f"rollback range it leaves out. The greatest closed position below is {floor}"
        )
    return position


def _there(position: Position, dataset: Dataset, end: Position) -> Position:
    """The position, if it is within the log."""
    if len(position.labels) != dataset.partitions:
        raise InvalidRequest(
            f"position {position} names {len(position.labels)} label partitions; dataset "
            f"{dataset.log.dataset!r} has {dataset.partitions}"
        )
    places = [
        *(
            (f"labels partition {i}", *pair)
            for i, pair in enumerate(zip(position.labels, end.labels, strict=True))
        ),
        ("governance", position.governance, end.governance),
    ]
    for place, offset, stop in places:
        if offset > stop:
            raise InvalidRequest(
                f"position {position} is beyond the end of {place}: offset {offset} of {stop}"
            )
    return position
