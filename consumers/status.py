"""`errata status`: where the ledger stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import click

from ledger.cli import (
    as_json,
    at_position,
    open_ledger,
    position_fields,
    print_fields,
    print_json,
    shared,
)
from ledger.codec import Undecodable
from ledger.core.contract import Unresolved
from ledger.core.outcome import Outcome
from ledger.dataset import Entry
from ledger.ledger import Ledger
from ledger.replay import State

_LISTED_MAX = 20


@click.command()
@shared
@at_position
@as_json
def status(*, at: str, as_json: bool) -> None:
    """Show where the ledger stands.

    The position, the contract, the labels, what is open and what was refused.
    """
    fields = _fields(open_ledger(), at)
    if as_json:
        print_json(fields)
        return
    fields["position"] = fields.pop("position_text")
    print_fields((name, _text(value)) for name, value in fields.items())


def _fields(ledger: Ledger, at: str) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    undecodable: list[dict[str, Any]] = []

    def observe(entry: Entry, outcome: Outcome) -> None:
        outcomes[outcome.value] += 1
        if isinstance(entry.event, Undecodable):
            place = {"topic": entry.topic.value, "partition": entry.partition}
            reason = entry.event.reason
            undecodable.append({**place, "offset": entry.offset, "reason": reason})

    state = ledger.state(at, observe)
    contract = state.governance.contract
    return {
        "dataset": ledger.dataset.log.dataset,
        "log": ledger.dataset.log.url,
        **position_fields(state.position),
        "partitions": ledger.dataset.partitions,
        "contract_version": contract.version,
        "classes": sorted(contract.classes),
        **_label_counts(state),
        "corrections": _counted(each.status.value for each in state.corrections()),
        "conflicts": sum(state.conflict(each) for each in state.corrections()),
        "outcomes": dict(sorted(outcomes.items())),
        "undecodable": undecodable[-_LISTED_MAX:],
        "versions": {
            name: tag.event.position.prefix().text() for name, tag in state.governance.tags.items()
        },
        "rollbacks": len(state.governance.live_rollbacks),
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
