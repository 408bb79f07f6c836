"""`errata log`: the events as they stand on the log."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from heapq import merge
from typing import Any

import click

from ledger import positions
from ledger.cli import as_json, open_ledger, print_json, print_line, shared
from ledger.codec import Undecodable
from ledger.core.events import (
    EVENT_TYPES,
    GOVERNANCE_EVENTS,
    Event,
    EventQuarantined,
    LabelEvent,
    record_of,
)
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.door import as_fields
from ledger.ledger import Ledger
from ledger.logs.base import Topic

_POLL_S = 0.2
_UNDECODABLE = "undecodable"
_TYPES = (*EVENT_TYPES, _UNDECODABLE)
_GOVERNING = {each.__name__ for each in GOVERNANCE_EVENTS}
_SHOWN_MAX = 160
_QUIET = ("type", "event_id", "actor", "occurred_at", "contract_version", "item_id", "record_id")


@click.command()
@shared
@click.option("--since", metavar="POSITION", help="Begin at this position.")
@click.option("--until", metavar="POSITION", help="End at this position.")
@click.option("--item", help="Only events about this item.")
@click.option("--type", "type_", type=click.Choice(_TYPES), help="Only events of this type.")
@click.option("-n", "--last", type=click.IntRange(min=0), help="Only the last N.")
@click.option("--quarantine", is_flag=True, help="What was quarantined, instead.")
@click.option("--outcomes", is_flag=True, help="Say what became of each event.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended from now on.")
@as_json
def log(
    *,
    since: str | None,
    until: str | None,
    item: str | None,
    type_: str | None,
    last: int | None,
    quarantine: bool,
    outcomes: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """List the events on the log, oldest first.

    Bytes that are no event are listed as `undecodable`. The lines of --json can be appended to
    another dataset that has the same number of partitions.
    """
    if follow and (until or outcomes):
        raise click.UsageError("--follow goes with neither --until nor --outcomes")
    if quarantine and (since or until or outcomes or follow):
        raise click.UsageError("--quarantine goes with --item, --type, --last and --json only")
    ledger = open_ledger()
    stop = ledger.resolve(until) if until else positions.ends(ledger.dataset)
    if quarantine:
        start = stop  # nothing else is shown
    else:
        start = ledger.resolve(since) if since else _begin(ledger.dataset, stop, type_, last)
    known = _outcomes(ledger, start) if outcomes else {}

    def wanted(entries: Iterable[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if _wanted(entry, item, type_))

    entries = wanted(_quarantined(ledger) if quarantine else ledger.events(start, stop))
    if last is not None:
        entries = deque(entries, maxlen=last)
        if not (since or quarantine or type_ in _GOVERNING):
            _refuse_lost(ledger.dataset, entries, last)
    for entry in entries:
        _print(entry, known.get(entry[:3]), as_json=as_json)
    while follow:
        time.sleep(_POLL_S)
        end = positions.ends(ledger.dataset)
        for entry in wanted(ledger.events(stop, end)):
            _print(entry, None, as_json=as_json)
        stop = end


def _begin(dataset: Dataset, stop: Position, type_: str | None, last: int | None) -> Position:
    """Where to begin unless a position is given: behind label events that need not be read."""
    if type_ in _GOVERNING:
        return Position(stop.labels, 0)
    heads = tuple(map(dataset.head, range(dataset.partitions)))
    if last is None:
        for partition, end in enumerate(stop.labels):
            if end:
                dataset.refuse_lost(partition, 0, "what the log begins with (--since passes it by)")
    return Position(heads, 0)


def _refuse_lost(dataset: Dataset, shown: Collection[Entry], last: int) -> None:
    """Refuse to call these the last ones where the log holds some events no more, which may be
    among them: it is certain that they are not if all are later than any of those.
    """
    if dataset.stand_in is None:
        return
    for partition in range(dataset.partitions):
        if head := dataset.head(partition):
            lost = dataset.stand_in.latest(partition, head)
            if len(shown) < last or any(entry.timestamp_ms <= lost for entry in shown):
                dataset.refuse_lost(partition, 0, f"whether the last {last} are all still there")


def _quarantined(ledger: Ledger) -> Iterator[Entry]:
    dataset = ledger.dataset
    stops = enumerate(dataset.log.ends(Topic.QUARANTINE))
    entries = merge(
        *(dataset.entries(Topic.QUARANTINE, partition, 0, stop) for partition, stop in stops),
        key=lambda entry: entry.timestamp_ms,
    )
    seen: set[str] = set()  # one that was taken over midway may have been told twice
    for entry in entries:
        if isinstance(entry.event, Undecodable):
            yield entry
        elif entry.event.event_id not in seen:
            seen.add(entry.event.event_id)
            yield entry


def _outcomes(ledger: Ledger, start: Position) -> dict[tuple[Topic, int, int], Outcome]:
    found: dict[tuple[Topic, int, int], Outcome] = {}

    def observe(entry: Entry, outcome: Outcome) -> None:
        found[entry[:3]] = outcome

    ledger.state(observe=observe, since=start.labels)
    return found


def _wanted(entry: Entry, item: str | None, type_: str | None) -> bool:
    event = entry.event
    if item is not None and not _about(event, item):
        return False
    return type_ is None or type_ == _type(event)


def _about(event: Event | Undecodable, item: str) -> bool:
    if isinstance(event, EventQuarantined):  # all that is known of its bytes is their record
        return event.key == record_of(item).encode()
    return isinstance(event, LabelEvent) and event.item_id == item


def _type(event: Event | Undecodable) -> str:
    return _UNDECODABLE if isinstance(event, Undecodable) else type(event).__name__


def _print(entry: Entry, outcome: Outcome | None, *, as_json: bool) -> None:
    fields = _fields(entry)
    moment = datetime.fromtimestamp(entry.timestamp_ms / 1000, UTC)
    if as_json:
        place: dict[str, Any] = {
            "topic": entry.topic.value,
            "partition": entry.partition,
            "offset": entry.offset,
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if outcome is not None:
            place["outcome"] = outcome.value
        print_json({**place, **fields})
        return
    said = " ".join(
        f"{name}={_text(value)}"
        for name, value in fields.items()
        if name not in _QUIET and value not in (None, [], {})
    )
    parts = [
        f"{f'{entry.topic}/{entry.partition}@{entry.offset}':<18}",
        f"{moment:%Y-%m-%d %H:%M:%S}",
        _type(entry.event),
        fields.get("item_id"),
        fields.get("actor"),
        f"[{outcome}]" if outcome is not None else None,
        said if len(said) <= _SHOWN_MAX else said[: _SHOWN_MAX - 1] + "…",
    ]
    print_line(" ".join(part for part in parts if part))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fields(entry: Entry) -> dict[str, Any]:
    if isinstance(entry.event, Undecodable):
        return {"type": _UNDECODABLE, "reason": entry.event.reason}
    return as_fields(entry.event)
