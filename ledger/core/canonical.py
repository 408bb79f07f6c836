"""The bytes of a snapshot: one JSON line per labelled item, sorted by the id's UTF-8 bytes.

Keys stand in the order id, record, label, geometry, split; a key is absent when it is empty and
`record` when it equals `id`. There are no spaces, numbers are `repr(float)`, strings are plain
UTF-8 with only JSON's necessary escapes, and every line ends with a newline. A snapshot's content
hash is the SHA-256 of these bytes, so `sha256sum` of an exported file checks it.
"""

from __future__ import annotations

import hashlib
import json

from ledger.core.events import Geometry

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def line(
    item_id: str, record_id: str, label: str, geometry: Geometry | None, split: str | None
) -> bytes:
    """One item's canonical line, newline included."""
    parts = [f'{{"id":{_encode(item_id)}']
    if record_id != item_id:
        parts.append(f'"record":{_encode(record_id)}')
    parts.append(f'"label":{_encode(label)}')
    if geometry is not None:
        parts.append(f'"geometry":{geometry_json(geometry)}')
    if split:
        parts.append(f'"split":{_encode(split)}')
    return (",".join(parts) + "}\n").encode()


def text_json(text: str | None) -> str:
    """A text, or null, as canonical JSON."""
    return "null" if text is None else _encode(text)


def geometry_json(geometry: Geometry) -> str:
    """A geometry as canonical JSON."""
    numbers = ",".join(repr(float(number)) for number in geometry.coordinates)
    return f'{{"type":"{geometry.type}","coordinates":[{numbers}]}}'


def derived_id(*parts: str) -> str:
    """The id that follows from these parts: what is derived twice from the same is the same event,
    so that doing it again changes nothing. Each part stands behind its length, so that no other
    parts give the same text.
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
