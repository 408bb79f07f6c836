"""What an event must satisfy by itself, whatever the log holds: the door asks before an event is
written, the decoder after one is read, so that the fold meets only events that make sense.

An event that breaks a rule here is refused at the door, and recorded as `undecodable` when a
foreign writer put it on a topic. Which events pass must therefore never change.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, cast

from ledger.core import rules
from ledger.core.events import (
    ContractChange,
    CorrectionProposed,
    CorrectionWithdrawn,
    Event,
    EventQuarantined,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ModelRegistered,
    PatchDecided,
    PatchProposed,
    PolicyChanged,
    ReviewDecided,
    RolledBack,
    SchemaChanged,
    VersionTagged,
    WaiverGranted,
)
from ledger.core.position import Position

_NUMBERS = {"bbox": 4, "span": 2}
_LABELS = ("label", "from_label", "to_label", "split", "correction_id")
_VERSION_NAME = re.compile(r"[^\x00-\x20\x7f;=,]{1,200}")
_PLAIN_NAME = re.compile(r"[^\x00-\x20\x7f]{1,200}")
_SHA256 = re.compile("[0-9a-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = 1 << 63


def problem(event: Event) -> str | None:
    """The first rule that the event breaks, naming the field and the value; None if it breaks
    none.
    """
    return next(_problems(event), None)


def _problems(event: Event) -> Iterator[str]:
    for name in field_names(type(event)):
        value = getattr(event, name)
        if value is None or (type(value) is str and value.isascii()):
            continue  # what most fields are; a generator for each would take half of the time
        yield from _unwritable(value, name)
    for name in ("event_id", "actor"):
        if not getattr(event, name):
            yield f"{name} is empty"
    if event.occurred_at.utcoffset() != timedelta(0):
        yield f"occurred_at {event.occurred_at.isoformat()} is not in UTC; end it with Z"
    if event.contract_version < 0:
        yield f"contract_version {event.contract_version} is negative"
    if isinstance(event, LabelEvent):
        yield from _identity(event)
    yield from OWN_RULES[type(event)](event)


@cache
def field_names(of: type) -> tuple[str, ...]:
    """The fields of an event class, or of a part of one, in order."""
    return tuple(field.name for field in dataclasses.fields(of))


def _unwritable(value: Any, path: str) -> Iterator[str]:
    """Lone surrogates, NaN, infinities and numbers beyond 64 bits, anywhere in the value."""
    if isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            yield f"{path} holds a lone surrogate, which is no text: {value!r}"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{path} is {value}, which is no number that JSON knows"
    elif isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            yield f"{path} is {value}, which does not fit into 64 bits"
    elif isinstance(value, tuple):
        for i, each in enumerate(cast("tuple[object, ...]", value)):
            yield from _unwritable(each, f"{path}[{i}]")
    elif isinstance(value, Mapping):
        for key, each in cast("Mapping[str, object]", value).items():
            yield from _unwritable(key, f"a key of {path}")
            yield from _unwritable(each, f"{path}[{key!r}]")
    elif dataclasses.is_dataclass(value):
        for name in field_names(type(value)):
            yield from _unwritable(getattr(value, name), f"{path}.{name}")


def _identity(event: LabelEvent) -> Iterator[str]:
    record, item = event.record_id, event.item_id
    if not record or "#" in record:
        yield f"record_id {record!r} must be non-empty and hold no '#'"
    elif item != record and (not item.startswith(record + "#") or item == record + "#"):
        yield f"item_id {item!r} must be the record id {record!r} or {record + '#REGION'!r}"
    for name in _LABELS:
        if getattr(event, name, None) == "":
            yield f"{name} is empty; leave it out (null) where there is none"
    for name in ("geometry", "from_geometry", "to_geometry"):
        geometry: Geometry | None = getattr(event, name, None)
        if geometry is not None:
            yield from _geometry(name, geometry)


def _geometry(name: str, geometry: Geometry) -> Iterator[str]:
    count = len(geometry.coordinates)
    if geometry.type == "polygon":
        if count % 2:
            yield f"{name} of type polygon takes pairs x, y; it has {count} numbers"
    elif count != _NUMBERS[geometry.type]:
        yield f"{name} of type {geometry.type} takes {_NUMBERS[geometry.type]} numbers, not {count}"
    elif geometry.type == "bbox" and not math.isfinite(
        geometry.coordinates[2] * geometry.coordinates[3]
    ):
        yield f"{name} has an area that no number holds: {geometry.coordinates}"


def _item_registered(event: Any) -> Iterator[str]:
    yield from _names("attributes", event.attributes)


def _contract_change(event: ContractChange) -> Iterator[str]:
    if event.version < 1:
        yield f"version {event.version} must be 1 or more: version 0 is the empty contract"
    yield from _offsets("at", event.at)


def _schema_changed(event: Any) -> Iterator[str]:
    change: SchemaChanged = event
    yield from _contract_change(change)
    yield from _names("add", [added.name for added in change.add])
    yield from _names("deprecate", change.deprecate)
    for name, moves in (("rename", change.rename), ("merge", change.merge)):
        yield from _names(name, [*moves.keys(), *moves.values()])
    for label, parts in change.split.items():
        yield from _names("split", [label, *parts])
        for part, rule in parts.items():
            try:
                rules.parse(rule)
            except rules.RuleError as error:
                yield f"split of {label!r} into {part!r}: {error}"


def _policy_changed(event: Any) -> Iterator[str]:
    policy: PolicyChanged = event
    yield from _contract_change(policy)
    if policy.approvals_required is not None and policy.approvals_required < 1:
        yield f"approvals_required {policy.approvals_required} must be 1 or more"
    yield from _names("expert_classes", policy.expert_classes or ())
    for role, actors in (policy.roles or {}).items():
        yield from _names("roles", [role, *actors])


def _version_tagged(event: Any) -> Iterator[str]:
    tag: VersionTagged = event
    yield from _version_name("name", tag.name)
    yield from _position("position", tag.position)


def _version_name(field: str, name: str) -> Iterator[str]:
    if not _VERSION_NAME.fullmatch(name) or name == "head":
        yield (
            f"{field} {name!r} must have 1 to 200 characters without space, ';', '=' or ',', "
            "and not be 'head'"
        )


def _rolled_back(event: Any) -> Iterator[str]:
    rollback: RolledBack = event
    yield from _position("to", rollback.to)
    yield from _position("at", rollback.at)


def _patch_proposed(event: Any) -> Iterator[str]:
    patch: PatchProposed = event
    yield from _named("patch_id", patch.patch_id)
    if not _SHA256.fullmatch(patch.sha256):
        yield f"sha256 {patch.sha256!r} must be 64 hexadecimal digits in lower case"
    if patch.count < 1:
        yield f"count {patch.count} must be 1 or more"
    yield from _offsets("at", patch.at)


def _patch_decided(event: Any) -> Iterator[str]:
    decided: PatchDecided = event
    yield from _named("patch_id", decided.patch_id)
    yield from _offsets("start", decided.start)
    yield from _offsets("at", decided.at)


def _model_registered(event: Any) -> Iterator[str]:
    model: ModelRegistered = event
    yield from _named("name", model.name)
    yield from _version_name("label_version", model.label_version)
    yield from _names("metrics", model.metrics)


def _waiver_granted(event: Any) -> Iterator[str]:
    waiver: WaiverGranted = event
    yield from _version_name("version", waiver.version)
    for name in ("check", "reason"):
        if not getattr(waiver, name):
            yield f"{name} is empty"


def _named(field: str, name: str) -> Iterator[str]:
    if not _PLAIN_NAME.fullmatch(name):
        yield f"{field} {name!r} must have 1 to 200 characters without spaces"


def _event_quarantined(event: Any) -> Iterator[str]:
    quarantined: EventQuarantined = event
    for name in ("source_topic", "reason", "gate"):
        if not getattr(quarantined, name):
            yield f"{name} is empty"
    for name in ("source_partition", "source_offset"):
        if getattr(quarantined, name) < 0:
            yield f"{name} is {getattr(quarantined, name)}: it is 0 or more"


def _nothing(_: Any) -> Iterator[str]:
    yield from ()


def _correction_proposed(event: Any) -> Iterator[str]:
    proposal: CorrectionProposed = event
    if proposal.based_on is not None:
        yield from _position("based_on", proposal.based_on)


def _names(field: str, names: Any) -> Iterator[str]:
    if "" in names:
        yield f"{field} holds an empty name"


def _position(field: str, position: Position) -> Iterator[str]:
    yield from _offsets(f"{field}.labels", position.labels)
    yield from _offsets(f"{field}.governance", (position.governance,))


def _offsets(field: str, offsets: tuple[int, ...]) -> Iterator[str]:
    if not offsets:
        yield f"{field} is empty: it holds one offset per partition"
    for offset in offsets:
        if offset < 0:
            yield f"{field} holds {offset}: an offset is 0 or more"


OWN_RULES: Mapping[type[Event], Callable[[Any], Iterator[str]]] = {
    ItemRegistered: _item_registered,
    CorrectionProposed: _correction_proposed,
    ReviewDecided: _nothing,
    CorrectionWithdrawn: _nothing,
    SchemaChanged: _schema_changed,
    PolicyChanged: _policy_changed,
    VersionTagged: _version_tagged,
    RolledBack: _rolled_back,
    PatchProposed: _patch_proposed,
    PatchDecided: _patch_decided,
    ModelRegistered: _model_registered,
    WaiverGranted: _waiver_granted,
    EventQuarantined: _event_quarantined,
}
