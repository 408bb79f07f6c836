"""What a patch says of one item, and the bytes that a patch is known by.

The canonical bytes of a patch are one JSON line per edit, sorted by the id's UTF-8 bytes: keys in
the order id, from, to, from_geometry, to_geometry, reason, the last three absent when empty, and
otherwise as in `core.canonical`. Two files that say the same in another order are one patch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger.codec import VALUE_BYTES_MAX
from ledger.core.canonical import geometry_json, text_json
from ledger.core.events import CorrectionProposed, Geometry, LabelEvent, record_of
from ledger.core.validity import problem

_EVENT_BYTES_MAX = VALUE_BYTES_MAX - 50_000
"""What an edit may take of an event; the rest is for ids, names and positions."""
_OWN_TEXTS = ("item_id", "record_id", "from_label", "to_label", "reason")
_OWN_SHAPES = ("from_geometry", "to_geometry")
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Edit:
    """One item's correction. `from_label` None adds the item, or gives one without a label its
    label; `to_label` None takes it away. A `to_geometry` replaces `from_geometry`.
    """

    item_id: str
    from_label: str | None
    to_label: str | None
    from_geometry: Geometry | None = None
    to_geometry: Geometry | None = None
    reason: str | None = None


def edit_of(proposal: CorrectionProposed) -> Edit:
    """The edit that a proposal of a patch came from."""
    return Edit(
        proposal.item_id,
        proposal.from_label,
        proposal.to_label,
        proposal.from_geometry,
        proposal.to_geometry,
        proposal.reason,
    )


def by_id(edits: Iterable[Edit]) -> list[Edit]:
    """The edits sorted by the id's UTF-8 bytes."""
    return sorted(edits, key=lambda edit: edit.item_id.encode("utf-8", "surrogatepass"))


def line(edit: Edit) -> bytes:
    """One edit's canonical line, newline included."""
    parts = [
        f'"id":{text_json(edit.item_id)}',
        f'"from":{text_json(edit.from_label)}',
        f'"to":{text_json(edit.to_label)}',
    ]
    for name in ("from_geometry", "to_geometry"):
        geometry: Geometry | None = getattr(edit, name)
        if geometry is not None:
            parts.append(f'"{name}":{geometry_json(geometry)}')
    if edit.reason is not None:
        parts.append(f'"reason":{text_json(edit.reason)}')
    return ("{" + ",".join(parts) + "}\n").encode()


def digest(edits: Iterable[Edit]) -> str:
    """The SHA-256 of the patch's canonical bytes, hexadecimal."""
    hashed = hashlib.sha256()
    for edit in by_id(edits):
        hashed.update(line(edit))
    return hashed.hexdigest()


def broken(edit: Edit) -> str | None:
    """The rule that the edit breaks by itself, whatever the labels are; None if it breaks none."""
    if edit.from_label is None and edit.to_label is None:
        return "expected a class in `from` or `to`, found null in both, which says nothing"
    if edit.from_geometry is not None and edit.to_geometry is None:
        return "expected `to_geometry` beside `from_geometry`, found none; leave both out"
    if edit.from_label == edit.to_label and edit.to_geometry == edit.from_geometry:
        return f"expected another class in `to`, found {edit.to_label!r} in both: nothing changes"
    proposal = as_proposal(edit)
    rule = problem(proposal)
    if rule is not None:
        return rule.replace("from_label", "from").replace("to_label", "to")
    size = own_bytes(proposal)
    if size > _EVENT_BYTES_MAX:
        return f"expected at most {_EVENT_BYTES_MAX:,} bytes as an event, found {size:,}"
    return None


def own_bytes(event: LabelEvent) -> int:
    """What an event of a patch takes for itself; the rest is the same in all of one kind."""
    texts = (getattr(event, name, None) or "" for name in _OWN_TEXTS)
    shapes: tuple[Geometry | None, ...] = tuple(getattr(event, name, None) for name in _OWN_SHAPES)
    return sum(len(text.encode()) for text in texts) + sum(
        8 * len(shape.coordinates) for shape in shapes if shape
    )


def as_proposal(edit: Edit, version: int = 0) -> CorrectionProposed:
    """The edit as a proposal of nobody, which names classes as a contract version does: to be held
    against what every event must satisfy, or against an item as the fold does it.
    """
    return CorrectionProposed(
        event_id="-",
        actor="-",
        occurred_at=_NO_TIME,
        contract_version=version,
        correction_id="-",
        item_id=edit.item_id,
        record_id=record_of(edit.item_id),
        from_label=edit.from_label,
        to_label=edit.to_label,
        from_geometry=edit.from_geometry,
        to_geometry=edit.to_geometry,
        reason=edit.reason,
    )
