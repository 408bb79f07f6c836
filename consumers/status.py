"""`errata status`: where the ledger stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from ledger.cli import (
    as_json,
    at_position,
    note,
    open_ledger,
    position_fields,
    print_fields,
    print_json,
    shared,
)
from ledger.codec import Undecodable
from ledger.core.contract import Unresolved
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Entry
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.logs.base import Topic
from ledger.replay import State
from ledger.wiring import views_path

if TYPE_CHECKING:
    from ledger.views.reader import View

_LISTED_MAX = 20


@click.command()
@shared
@at_position
@as_json
def status(*, at: str, as_json: bool) -> None:
    """Show where the ledger stands.

    The position, the contract, the labels, what is open and what was refused; and by partition how
    many events the views and checkpoints lag behind.
    """
    fields = _fields(open_ledger(), at)
    if as_json:
        print_json(fields)
        return
    fields["position"] = fields.pop("position_text")
    print_fields((name, _text(value)) for name, value in fields.items())


def _fields(ledger: Ledger, at: str) -> dict[str, Any]:
    position = ledger.resolve(at)
    governance = ledger.governance.prefix(position.governance)
    contract = governance.contract
    return {
        "dataset": ledger.dataset.log.dataset,
        "log": ledger.dataset.log.url,
        **position_fields(position),
        "partitions": ledger.dataset.partitions,
        **_heads(ledger),
        **_lag(ledger),
        "contract_version": contract.version,
        "classes": sorted(contract.classes),
        **(from_view(ledger, position, governance) or from_replay(ledger, position)),
        "versions": {
            name: tag.event.position.prefix().text() for name, tag in governance.tags.items()
        },
        "rollbacks": len(governance.live_rollbacks),
    }


def _heads(ledger: Ledger) -> dict[str, Any]:
    """Where each partition of `labels` begins, if that is not at 0: checkpoints stand in for what
    is before.
    """
    dataset = ledger.dataset
    if dataset.stand_in is None:
        return {}
    return {"checkpoints_stand_in_below": [dataset.head(i) for i in range(dataset.partitions)]}


def _lag(ledger: Ledger) -> dict[str, Any]:
    """How many events of each partition are not in the views, and not in the checkpoints; None
    where there are none, or they cannot be read.
    """
    ends = ledger.dataset.log.ends(Topic.LABELS)
    kept: dict[str, Sequence[int] | None] = {"views_lag": None, "checkpoints_lag": None}
    with _view(ledger) as view:
        if view is not None:
            kept["views_lag"] = view.position.labels
    try:
        if ledger.checkpoints is not None:
            kept["checkpoints_lag"] = ledger.checkpoints.reach(ledger.governance)
    except LedgerError as error:
        note(str(error))
    return {
        name: None
        if reached is None
        else [end - done for end, done in zip(ends, reached, strict=True)]
        for name, reached in kept.items()
    }


@contextmanager
def _view(ledger: Ledger) -> Generator[View | None]:
    """The view, if there is one that can be read."""
    path = views_path(ledger.settings)
    if not path.exists():
        yield None
        return
    try:
        from ledger.views.reader import View
    except ImportError:  # the extra `views` is missing
        yield None
        return
    try:
        view = View.open(path, ledger.dataset)
    except LedgerError as error:
        note(str(error))
        yield None
        return
    with view:
        yield view


def from_view(ledger: Ledger, position: Position, governance: Governance) -> dict[str, Any] | None:
    """Counts from the view, where it stands at this very position, and every partition has come to
    its governance; else None.
    """
    with _view(ledger) as view:
        if view is None:
            return None
        with view.still():
            if not view.position.same_prefix(position):
                return None
            # Whoever comes first to a rollback says so of governance: other partitions may have
            # what it made void.
            if not view.answers(ledger.governance, position):
                return None
            return _counted_in(ledger, view, position, governance)


def _counted_in(
    ledger: Ledger, view: View, position: Position, governance: Governance
) -> dict[str, Any]:
    from ledger.views import standing

    found, places = standing.outcomes(view)
    odd = [
        (Topic.GOVERNANCE, 0, offset)
        for offset, outcome in ledger.reader.outcomes.items()
        if outcome is Outcome.UNDECODABLE and offset < position.governance
    ]
    odd += [(Topic.LABELS, *place) for place in places]
    found.update(
        outcome.value
        for offset, outcome in ledger.reader.outcomes.items()
        if offset < position.governance
    )
    return {
        **standing.counts(view, _LISTED_MAX),
        "conflicts": standing.conflicts(view, governance),
        "outcomes": dict(sorted(found.items())),
        "undecodable": [_undecodable(ledger, *place) for place in odd[-_LISTED_MAX:]],
    }


def _undecodable(ledger: Ledger, topic: Topic, partition: int, offset: int) -> dict[str, Any]:
    place = {"topic": topic.value, "partition": partition, "offset": offset}
    if topic is Topic.LABELS and offset < ledger.dataset.head(partition):
        return {**place, "reason": "its bytes are gone"}
    (entry,) = ledger.dataset.entries(topic, partition, offset, offset + 1)
    assert isinstance(entry.event, Undecodable)
    return {**place, "reason": entry.event.reason}


def from_replay(ledger: Ledger, position: Position) -> dict[str, Any]:
    """The same counts from a replay; where some events are gone, without what became of each."""
    if ledger.dataset.stand_in is not None:
        return {**_counts(ledger.state(position)), "outcomes": None, "undecodable": None}
    outcomes: Counter[str] = Counter()
    undecodable: list[dict[str, Any]] = []

    def observe(entry: Entry, outcome: Outcome) -> None:
        outcomes[outcome.value] += 1
        if isinstance(entry.event, Undecodable):
            place = {"topic": entry.topic.value, "partition": entry.partition}
            reason = entry.event.reason
            undecodable.append({**place, "offset": entry.offset, "reason": reason})

    return {
        **_counts(ledger.state(position, observe)),
        "outcomes": dict(sorted(outcomes.items())),
        "undecodable": undecodable[-_LISTED_MAX:],
    }


def _counts(state: State) -> dict[str, Any]:
    return {
        **_label_counts(state),
        "corrections": _counted(each.status.value for each in state.corrections()),
        "conflicts": sum(state.conflict(each) for each in state.corrections()),
    }


def _label_counts(state: State) -> dict[str, Any]:
    labels: Counter[str] = Counter()
    unresolved: list[str] = []
    items = 0
    for _, item in state.items():  # noqa: PERF102 - pairs, not a dictionary
        items += 1
        label = state.label(item)
        if isinstance(label, str):
            labels[label] += 1
        elif isinstance(label, Unresolved):
            unresolved.append(item.item_id)
    return {
        "items": items,
        "labelled": labels.total(),
        "unresolved": len(unresolved),
        "unresolved_items": sorted(unresolved)[:_LISTED_MAX],
        "labels": dict(sorted(labels.items())),
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return ", ".join(f"{key} {each}" for key, each in pairs) or "-"
    if isinstance(value, list):
        each_text = (
            each if isinstance(each, str) else json.dumps(each) for each in cast("list[Any]", value)
        )
        return ", ".join(each_text) or "-"
    return str(value)
