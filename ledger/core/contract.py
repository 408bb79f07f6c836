"""The labeling contract at each of its versions, and the way a label takes from one to another.

Version 0 has no class, asks for one approval and names no role. A schema change makes the next
version in five steps: rename, merge, split, add, deprecate. Inside one step every entry reads the
classes as they stood before the step; a key that is no class does nothing, a target that is
missing is made.

Settled here, where the meaning leaves room:

- A class that is renamed onto a class that stays is one of "two that become one".
- A class that is both source and target of one step (`{"a": "b", "b": "c"}`) is a target like any
  other: `b` exists afterwards. After a rename it is what `a` was; after a merge it keeps the state
  that `b` had.
- Roles that are replaced by an empty map are not named: everybody may review and govern again.
- An unresolved label is no class, so it is no expert class either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ledger.core import rules
from ledger.core.events import Attributes, ClassAdded, ContractChange, PolicyChanged, SchemaChanged

EVERYBODY = "*"
ROLES = ("proposer", "annotator", "reviewer", "expert", "admin", "auditor")


class Unresolved(NamedTuple):
    """A label that no rule of its split, or several, matched: class and splitting version."""

    label_class: str
    version: int


Label = str | Unresolved | None


@dataclass(frozen=True, slots=True)
class ClassState:
    """One class of a contract."""

    meaning: str | None = None
    anchor: str | None = None
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract at one version."""

    version: int = 0
    classes: Mapping[str, ClassState] = field(default_factory=dict[str, ClassState])
    approvals_required: int = 1
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    expert_classes: frozenset[str] = frozenset()
    thresholds: Mapping[str, float] = field(default_factory=dict[str, float])
    service_levels: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def names_roles(self) -> bool:
        """Whether roles are named; before that everybody may review and govern."""
        return bool(self.roles)

    def has_role(self, actor: str, *roles: str) -> bool:
        """Whether one of the roles is given to the actor, by name or to everybody."""
        return any(
            actor in self.roles.get(role, ()) or EVERYBODY in self.roles.get(role, ())
            for role in roles
        )

    def may_propose(self, actor: str) -> bool:
        """Proposing and registering are open unless the role `proposer` is named."""
        return "proposer" not in self.roles or self.has_role(actor, "proposer")

    def may_review(self, actor: str) -> bool:
        """Reviewers and experts review."""
        return not self.names_roles or self.has_role(actor, "reviewer", "expert")

    def is_expert(self, actor: str) -> bool:
        """Whether the actor's accept or keep settles a correction at once."""
        return self.has_role(actor, "expert")

    def may_settle_escalated(self, actor: str) -> bool:
        """Whether the actor may settle an escalated correction (having not voted on it)."""
        return not self.names_roles or self.is_expert(actor)

    def may_govern(self, actor: str, approved_by: str | None) -> bool:
        """Governing takes an admin and another admin who approves; never oneself."""
        if approved_by == actor:
            return False
        if not self.names_roles:
            return True
        return (
            approved_by is not None
            and self.has_role(actor, "admin")
            and self.has_role(approved_by, "admin")
        )

    def takes(self, label: str) -> bool:
        """Whether a label may be set to this class: it is there and not deprecated."""
        state = self.classes.get(label)
        return state is not None and not state.deprecated

    def expert(self, label: Label) -> bool:
        """Whether the label is a class that only an expert may accept corrections of."""
        return isinstance(label, str) and label in self.expert_classes


@dataclass(frozen=True, slots=True)
class Step:
    """How one schema change maps a label forward; keys are classes that existed at their step."""

    version: int
    rename: Mapping[str, str]
    merge: Mapping[str, str]
    split: Mapping[str, Mapping[str, rules.Rule]]

    def name(self, label: str) -> str:
        """The class after renames and merges, before splits."""
        name = self.rename.get(label, label)
        return self.merge.get(name, name)

    def forward(self, label: Label, attributes: Attributes) -> Label:
        """The label after this change. `attributes` are the item's, as they are now."""
        if not isinstance(label, str):
            return label
        name = self.name(label)
        parts = self.split.get(name)
        if parts is None:
            return name
        matching = [part for part, rule in parts.items() if rules.matches(rule, attributes) is True]
        return matching[0] if len(matching) == 1 else Unresolved(name, self.version)


def apply_policy(contract: Contract, change: PolicyChanged) -> Contract:
    """The contract that a policy change makes."""
    given = {
        name: value
        for name in ("approvals_required", "roles", "thresholds", "service_levels")
        if (value := getattr(change, name)) is not None
    }
    if change.expert_classes is not None:
        given["expert_classes"] = frozenset(change.expert_classes)
    return replace(contract, version=change.version, **given)


def apply_schema(contract: Contract, change: SchemaChanged) -> tuple[Contract, Step]:
    """The contract that a schema change makes, and how labels follow it."""
    classes = dict(contract.classes)
    rename = {old: new for old, new in change.rename.items() if old in classes}
    classes = _renamed(classes, rename)
    expert = {rename.get(name, name) for name in contract.expert_classes}

    merge = {old: new for old, new in change.merge.items() if old in classes}
    classes = _moved(classes, merge.keys(), merge.values())
    expert = {merge.get(name, name) for name in expert}

    split = {
        name: {part: rules.parse(rule) for part, rule in parts.items()}
        for name, parts in change.split.items()
        if name in classes
    }
    classes = _moved(classes, split.keys(), (part for parts in split.values() for part in parts))
    expert = {part for name in expert for part in split.get(name, (name,))}

    for added in change.add:
        classes[added.name] = _added(classes.get(added.name), added)
    for name in change.deprecate:
        if name in classes:
            classes[name] = replace(classes[name], deprecated=True)
    made = replace(
        contract, version=change.version, classes=classes, expert_classes=frozenset(expert)
    )
    return made, Step(change.version, rename, merge, split)


def _renamed(classes: Mapping[str, ClassState], rename: Mapping[str, str]) -> dict[str, ClassState]:
    """Each class under its new name; one that several become is deprecated if any of them was."""
    made: dict[str, ClassState] = {}
    for name, state in classes.items():
        new = rename.get(name, name)
        other = made.get(new)
        if other is None:
            made[new] = state
        else:
            kept = state if new == name else other  # the class whose name stays keeps its meaning
            made[new] = replace(kept, deprecated=state.deprecated or other.deprecated)
    return made


def _moved(
    classes: Mapping[str, ClassState], sources: Iterable[str], targets: Iterable[str]
) -> dict[str, ClassState]:
    """Sources go, targets stay as they were or are made."""
    gone = set(sources)
    made = {name: state for name, state in classes.items() if name not in gone}
    for target in targets:
        made.setdefault(target, classes.get(target, ClassState()))
    return made


def _added(present: ClassState | None, added: ClassAdded) -> ClassState:
    """A class that is added again is no longer deprecated and keeps what is not given anew."""
    present = present or ClassState()
    return ClassState(
        meaning=present.meaning if added.meaning is None else added.meaning,
        anchor=present.anchor if added.anchor is None else added.anchor,
    )


class Contracts:
    """The contract at every live version.

    Args:
        changes: the contract changes that count and are not void, by ascending version.
    """

    def __init__(self, changes: Iterable[ContractChange] = ()) -> None:
        current = Contract()
        self._at: dict[int, Contract] = {0: current}
        self._heads: dict[int, tuple[int, ...]] = {}
        self._mappings: list[Step] = []
        for change in changes:
            if isinstance(change, SchemaChanged):
                current, mapping = apply_schema(current, change)
                self._mappings.append(mapping)
            elif isinstance(change, PolicyChanged):
                current = apply_policy(current, change)
            self._at[change.version] = current
            self._heads[change.version] = change.at
        self.in_force = current

    def at(self, version: int) -> Contract:
        """The contract at a live version (KeyError if it is not one)."""
        return self._at[version]

    @property
    def versions(self) -> list[int]:
        """The live versions, ascending, 0 included."""
        return list(self._at)

    def live(self, version: int) -> bool:
        """Whether the version exists and is not void."""
        return version in self._at

    def admits(self, version: int, partition: int, offset: int) -> bool:
        """Whether a label event at this place may name the version: it is live, and its change
        did not say that the event was there before it.
        """
        return version == 0 or (version in self._at and self._heads[version][partition] <= offset)

    def forward(self, label: Label, since: int, until: int, attributes: Attributes) -> Label:
        """The label of contract `since` under the later contract `until`."""
        if not isinstance(label, str):
            return label
        for mapping in self._mappings:
            if since < mapping.version <= until:
                label = mapping.forward(label, attributes)
        return label

    def asks(self, label: str, since: int, until: int) -> bool:
        """Whether the way of a class of `since` to the contract `until` asks an item's attributes:
        there is a split on it.
        """
        for mapping in self._mappings:
            if since < mapping.version <= until:
                label = mapping.name(label)
                if label in mapping.split:
                    return True
        return False

    def cuts(self, attribute: str) -> list[float] | None:
        """The numbers that split rules compare an attribute with, ascending: where it lies among
        them is all that matters. None where a rule compares it with another attribute.
        """
        own, found = rules.Attribute(attribute), set[float]()
        splits = (parts.values() for step in self._mappings for parts in step.split.values())
        for each in (
            each for parts in splits for rule in parts for each in rules.comparisons(rule)
        ):
            if own in (each.left, each.right):
                other = each.right if each.left == own else each.left
                if isinstance(other, rules.Attribute):
                    return None
                if isinstance(other, float):
                    found.add(other)
        return sorted(found)

    def becomes(self, label: str, since: int, until: int) -> tuple[str, ...]:
        """Every class that items of a class of `since` may have under the later contract `until`,
        whatever their attributes are; a split's parts in its order.
        """
        found = (label,)
        for mapping in self._mappings:
            if since < mapping.version <= until:
                parts = (mapping.split.get(name, (name,)) for name in map(mapping.name, found))
                found = tuple(dict.fromkeys(part for each in parts for part in each))
        return found
