"""What can happen: one frozen class per event, under the names that stand on the wire.

Every event carries who acted (`actor`), when (`occurred_at`, UTC), an `event_id` of its own and
the `contract_version` under which its author read the class names. None means "absent"; an absent
geometry field is none. `Position` fields name prefixes of the log (see `position`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ledger.core.position import Position

GeometryType = Literal["bbox", "polygon", "span"]
Decision = Literal["accept", "keep", "escalate"]
Settlement = Literal["accept", "keep"]
BulkKind = Literal["patch", "rollback", "burst"]
CorrectionSource = Literal[
    "feedback", "patch", "audit", "annotator", "label_studio", "consensus", "rollback"
]
Attributes = Mapping[str, float | str]


def record_of(item_id: str) -> str:
    """The record that an item belongs to: `record` of `record#region`, or the item itself."""
    return item_id.partition("#")[0]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A region of a record.

    `coordinates` are flat: a bbox is `[x, y, width, height]`, a polygon `[x1, y1, x2, y2, ...]`,
    a span `[start, end)` in characters of the record's text.
    """

    type: GeometryType
    coordinates: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event carries."""

    event_id: str
    actor: str
    occurred_at: datetime
    contract_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEvent(Event):
    """An event about one item; its key is the record id, which picks its partition."""

    item_id: str
    record_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRegistered(LabelEvent):
    """An item exists, with the label that its source gave it, or none."""

    label: str | None = None
    geometry: Geometry | None = None
    split: str | None = None
    attributes: Attributes = field(default_factory=dict[str, float | str])
    content: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionProposed(LabelEvent):
    """Somebody says that a label or a geometry is wrong. `from_label` None adds, `to_label` None
    removes the label.
    """

    correction_id: str
    from_label: str | None
    to_label: str | None
    from_geometry: Geometry | None = None
    to_geometry: Geometry | None = None
    reason: str | None = None
    source: CorrectionSource | None = None
    confidence: float | None = None
    model_version: str | None = None
    audit_run_id: str | None = None
    patch_id: str | None = None
    segment: str | None = None
    based_on: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDecided(LabelEvent):
    """A reviewer's vote on a correction."""

    correction_id: str
    decision: Decision
    rationale: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionWithdrawn(LabelEvent):
    """The proposer takes an open correction back."""

    correction_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ClassAdded:
    """A class, what it means to the business, and its anchor in an external ontology."""

    name: str
    meaning: str | None = None
    anchor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractChange(Event):
    """A change that makes contract `version`. `at` holds the label heads read before it was
    appended: an event below them cannot have known it.
    """

    version: int
    at: tuple[int, ...]
    approved_by: str | None = None


def _no_maps() -> dict[str, str]:
    return {}


def _no_counts() -> dict[str, int]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChanged(ContractChange):
    """Classes change: rename, then merge, then split, then add, then deprecate."""

    add: tuple[ClassAdded, ...] = ()
    deprecate: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=_no_maps)
    merge: Mapping[str, str] = field(default_factory=_no_maps)
    split: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged(ContractChange):
    """Review policy changes. A field left out (None) stays as it was; `roles` replaces the map."""

    approvals_required: int | None = None
    roles: Mapping[str, tuple[str, ...]] | None = None
    expert_classes: tuple[str, ...] | None = None
    thresholds: Mapping[str, float] | None = None
    service_levels: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTagged(Event):
    """A position gets a name and the SHA-256 of its canonical export.

    `counts` holds the items of each class. Beside the `base`: `changed_by_class` the items that
    differ by the class that they have now (or had, where they have none now), `changed_by_split`
    the same by split (`""` for none), `class_deltas` how many more or fewer each class has.
    """

    name: str
    position: Position
    content_hash: str | None = None
    base: str | None = None
    author: str | None = None
    reviewer: str | None = None
    reason: str | None = None
    patch_hashes: tuple[str, ...] = ()
    tool_versions: Mapping[str, str] = field(default_factory=_no_maps)
    guideline: str | None = None
    counts: Mapping[str, int] = field(default_factory=_no_counts)
    checks: Mapping[str, str] = field(default_factory=_no_maps)
    waivers: tuple[str, ...] = ()
    test_version: str | None = None
    changed_by_class: Mapping[str, int] = field(default_factory=_no_counts)
    changed_by_split: Mapping[str, int] = field(default_factory=_no_counts)
    class_deltas: Mapping[str, int] = field(default_factory=_no_counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack(Event):
    """The labels go back to `to`; what lies between `to` and `at` is void from here on."""

    to: Position
    at: Position
    reason: str | None = None
    approved_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchProposed(Event):
    """A bulk change opens: `count` corrections that carry `patch_id` follow, with ids derived from
    it. `sha256` is that of the patch as JSON lines, `at` the label heads read before the append,
    `base` the version that it was checked against, if it was a version.
    """

    patch_id: str
    sha256: str
    count: int
    at: tuple[int, ...]
    kind: BulkKind = "patch"
    base: str | None = None
    file: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchDecided(Event):
    """A bulk change was settled as one thing: all votes that settle its corrections stand between
    the label heads `start` and `at`. No version and no rollback may name a position in between.
    """

    patch_id: str
    decision: Settlement
    start: tuple[int, ...]
    at: tuple[int, ...]
    rationale: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistered(Event):
    """A model was trained: on which labels, data and configuration, and what it measured.

    `label_version` is a tagged version, `split_version` names the frozen splits (a version's
    `test_version`), the hashes are hexadecimal, `base` is the model that it follows.
    """

    name: str
    label_version: str
    split_version: str | None = None
    raw_data_hash: str | None = None
    training_config_hash: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    base: str | None = None
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverGranted(Event):
    """A check may fail once: `check` of the release that will be named `version`."""

    version: str
    check: str
    reason: str
    approved_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuarantined(Event):
    """What a gate or a decoder refused: where it stands, its bytes, and why. Its `event_id` is
    computed from the place, so that saying it twice changes nothing.
    """

    source_topic: str
    source_partition: int
    source_offset: int
    key: bytes | None = None
    value: bytes | None = None
    reason: str
    gate: str


LABEL_EVENTS: tuple[type[LabelEvent], ...] = (
    ItemRegistered,
    CorrectionProposed,
    ReviewDecided,
    CorrectionWithdrawn,
)
GOVERNANCE_EVENTS: tuple[type[Event], ...] = (
    SchemaChanged,
    PolicyChanged,
    VersionTagged,
    RolledBack,
    PatchProposed,
    PatchDecided,
    ModelRegistered,
    WaiverGranted,
)
QUARANTINE_EVENTS: tuple[type[Event], ...] = (EventQuarantined,)
EVENT_TYPES: Mapping[str, type[Event]] = {
    cls.__name__: cls for cls in (*LABEL_EVENTS, *GOVERNANCE_EVENTS, *QUARANTINE_EVENTS)
}
