"""The contract at every version: who made it, what it says, and how two differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ledger.contracts.common import Bond, bonds
from ledger.contracts.files import POLICY, SCHEMA
from ledger.core.contract import Contract
from ledger.core.governance import Change, Governance
from ledger.door import as_fields
from ledger.errors import InvalidRequest
from ledger.reading import HEAD, Reading, Where
from ledger.thresholds import THRESHOLDS

Status = Literal["in force", "live", "void"]
_FRAME = ("type", "event_id", "actor", "occurred_at", "contract_version", "approved_by", "at")


@dataclass(frozen=True)
class Made:
    """One version of the contract, as it was made.

    Attributes:
        version: its number.
        kind: what changed: classes (`schema`) or `policy`.
        actor: who made it.
        approved_by: the second person, if one was named.
        occurred_at: when, UTC as ISO 8601.
        status: `void` where a rollback took it back.
        change: what was changed, as the event says it; what it leaves out is not there.
    """

    version: int
    kind: Literal["schema", "policy"]
    actor: str
    approved_by: str | None
    occurred_at: str
    status: Status
    change: Mapping[str, Any]


def history(governance: Governance) -> list[Made]:
    """Every version that was ever made, the oldest first."""
    return [_made(governance, change) for change in governance.changes]


def _made(governance: Governance, change: Change) -> Made:
    event, fields = change.event, as_fields(change.event)
    status: Status = "live" if governance.contracts.live(event.version) else "void"
    if event.version == governance.contract.version:
        status = "in force"
    return Made(
        version=event.version,
        kind="schema" if "rename" in fields else "policy",
        actor=event.actor,
        approved_by=event.approved_by,
        occurred_at=fields["occurred_at"],
        status=status,
        change=_said(fields),
    )


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a change says. An empty list of changed classes says nothing; an empty policy does."""
    said = {name: value for name, value in fields.items() if name not in (*_FRAME, "version")}
    policy = {name: value for name, value in said.items() if name in POLICY and value is not None}
    schema = {name: value for name, value in said.items() if name in SCHEMA and value}
    if "add" in schema:
        schema["add"] = [
            {key: value for key, value in each.items() if value is not None}
            for each in schema["add"]
        ]
    return schema | policy


def governance_at(book: Reading, where: Where | int) -> Governance:
    """Governance where a contract version was in force for the first time, or at a position.

    Args:
        book: the ledger.
        where: a contract version, also as digits and also a void one, or a position.

    Raises:
        InvalidRequest: there is no such version, or position.
    """
    known = book.governance
    if isinstance(where, str) and where.isascii() and where.isdigit() and where not in known.tags:
        where = int(where)
    if not isinstance(where, int):
        return known.prefix(book.resolve(where).governance)
    if where == 0:
        return known.prefix(0)
    for change in known.changes:
        if change.event.version == where:
            return known.prefix(change.offset + 1)
    raise InvalidRequest(
        f"there is no contract version {where}; there are 0 to {known.highest_version}"
    )


@dataclass(frozen=True)
class ContractDifference:
    """How the contracts of two positions differ.

    Attributes:
        before: the one.
        after: the other one.
        classes: what became of which classes, where a name differs or is in one of them only.
        states: by class that is the same in both, what is said of it and how that differs:
            meaning, anchor, deprecated, expert; before and after.
        policy: by name, before and after.
    """

    before: Contract
    after: Contract
    classes: tuple[Bond, ...]
    states: Mapping[str, Mapping[str, tuple[Any, Any]]]
    policy: Mapping[str, tuple[Any, Any]]

    def __bool__(self) -> bool:
        return bool(self.classes or self.states or self.policy)


def contract_diff(
    book: Reading, before: Where | int, after: Where | int = HEAD
) -> ContractDifference:
    """How two contracts differ, each given as a contract version or a position."""
    one, two = governance_at(book, before), governance_at(book, after)
    old, new = one.contract, two.contract
    common = bonds(one, two)
    states: dict[str, dict[str, tuple[Any, Any]]] = {}
    for bond in common:
        if len(bond.old) == len(bond.new) == 1:
            sides = _state(old, bond.old[0]), _state(new, bond.new[0])
            differing = _differing(*sides)
            if differing:
                states[bond.new[0]] = differing
    changed = tuple(bond for bond in common if bond.old != bond.new)
    return ContractDifference(old, new, changed, states, _differing(policy(old), policy(new)))


def _state(contract: Contract, name: str) -> dict[str, Any]:
    state = contract.classes[name]
    return {
        "meaning": state.meaning,
        "anchor": state.anchor,
        "deprecated": state.deprecated,
        "expert": contract.expert(name),
    }


def policy(contract: Contract) -> dict[str, Any]:
    """The policy of a contract, JSON-ready, as a policy file would say it."""
    return {
        "approvals_required": contract.approvals_required,
        "roles": {role: sorted(actors) for role, actors in sorted(contract.roles.items())},
        "expert_classes": sorted(contract.expert_classes),
        "thresholds": dict(sorted(contract.thresholds.items())),
        "service_levels": dict(sorted(contract.service_levels.items())),
    }


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (value, after[name]) for name, value in before.items() if value != after[name]}


def as_fields_of(contract: Contract) -> dict[str, Any]:
    """A whole contract, JSON-ready: every threshold there is, with its default and its meaning."""
    return {
        "version": contract.version,
        "classes": [{"name": name, **_state(contract, name)} for name in contract.classes],
        **policy(contract),
        "thresholds": {
            name: {
                "value": contract.thresholds.get(name, known.default),
                "default": known.default,
                "meaning": known.meaning,
            }
            for name, known in THRESHOLDS.items()
        },
    }
