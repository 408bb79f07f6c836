"""The attributes of a registration: read from Avro, as the JSON text that rows have of them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import fastavro
import numpy as np

from ledger.columnar.avro import Columns, Read, Walk

FIELD = "attributes"
_TYPE: Any = {"type": "map", "values": ["double", "string"]}
_ENTRIES_MAX = 64
_SIZE_BYTES_MAX = 4
_KNOWN_MAX = 1 << 16


def text_of(attributes: Mapping[str, object]) -> str | None:
    """Attributes as JSON, keys sorted; None for none."""
    return json.dumps(dict(attributes), ensure_ascii=False, sort_keys=True) if attributes else None


def reader(kind: Any) -> Read:
    """Reads a field of attributes. Raises `NotImplementedError` where its type is another one."""
    match kind:
        case {"type": "map", "values": ["double", "string"]}:
            return _read
        case _:
            raise NotImplementedError


def _read(walk: Walk, columns: Columns) -> None:
    texts: dict[int, str] = {}
    columns.parts[FIELD] = texts
    rows = np.nonzero(walk.byte())[0]
    if not len(rows):
        return
    part = walk.some(rows)
    part.at -= 1
    starts = part.at.copy()
    _skip(part)
    part.high = 0
    for i in np.nonzero(~part.odd)[0].tolist():
        text, high = _told(part.data[starts[i] : part.at[i]].tobytes())
        part.high += high
        if text is None:
            part.odd[i] = True
        else:
            texts[int(rows[i])] = text
    walk.join(rows, part)


def _skip(walk: Walk) -> None:
    """Go on behind a map in one block."""
    left = walk.varint(1)
    walk.odd |= (left & 1 == 1) | (left == 0) | (left >= 2 * _ENTRIES_MAX)
    left = np.where(walk.odd, 0, left >> 1)
    rows = np.nonzero(left)[0]
    while len(rows):
        entry = walk.some(rows)
        _skip_string(entry)
        branch = entry.byte()
        entry.odd |= (branch != 0) & (branch != 2)
        entry.skip(np.where(branch == 0, 8, 0))
        texts = np.nonzero(branch == 2)[0]
        value = entry.some(texts)
        _skip_string(value)
        entry.join(texts, value)
        walk.join(rows, entry)
        left[rows] -= 1
        rows = rows[(left[rows] > 0) & ~walk.odd[rows]]
    walk.odd |= walk.byte() != 0


def _skip_string(walk: Walk) -> None:
    size = walk.varint(_SIZE_BYTES_MAX)
    walk.odd |= size & 1 == 1
    walk.skip(size >> 1)


@lru_cache(_KNOWN_MAX)
def _told(value: bytes) -> tuple[str | None, int]:
    """A map that is not empty, None where it breaks a rule of `ledger.core.validity`, and how many
    of its bytes are 128 and more.
    """
    body = io.BytesIO(value)
    try:
        found = cast("dict[str, float | str]", fastavro.schemaless_reader(body, _TYPE, None))
    except Exception:  # whatever foreign bytes make the decoder say
        return None, 0
    numbers = [each for each in found.values() if isinstance(each, float)]
    if body.tell() != len(value) or "" in found or not all(map(math.isfinite, numbers)):
        return None, 0
    return text_of(found), sum(byte >= 0x80 for byte in value)
