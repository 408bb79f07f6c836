"""Patch files: JSON lines `{"id", "from", "to", "reason"}`, as they stand in the wild.

`reason` may be left out; null in `from` adds the item, null in `to` takes its label away. Our own
richer lines may hold `from_geometry` and `to_geometry`, each `{"type", "coordinates"}`. The file
is UTF-8, empty lines mean nothing, and an item has one line. It is read as a stream: a line may
have 1 MiB, a file 256 MiB and 250,000 lines, so that whatever is given is answered in bounded
memory. Larger patches are given in parts.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ledger.core.events import Geometry
from ledger.door import admit_geometry, read_line
from ledger.errors import InvalidRequest
from ledger.patches.edit import Edit, by_id, digest
from ledger.patches.problems import Problems

LINE_BYTES_MAX = 1 << 20
FILE_BYTES_MAX = 256 << 20
LINES_MAX = 250_000
KEYS = ("id", "from", "to", "reason", "from_geometry", "to_geometry")
_BOM = b"\xef\xbb\xbf"
_SHOWN_MAX = 60


@dataclass(frozen=True, slots=True)
class PatchFile:
    """What a file says.

    Attributes:
        name: the file's.
        edits: of the lines that can be read, sorted by the id's UTF-8 bytes.
        problems: the other lines; it knows on which line each item stands.
    """

    name: str
    edits: list[Edit]
    problems: Problems

    def digest(self) -> str:
        """The SHA-256 of the patch's canonical bytes; see `edit`.

        Raises:
            BadPatch: some line is bad.
        """
        self.problems.refuse()
        return digest(self.edits)


def read_patch(file: BinaryIO, name: str) -> PatchFile:
    """Read a patch file. What is wrong with single lines is gathered, for what is wrong with the
    labels to be told beside it.

    Raises:
        InvalidRequest: the file is too large, or holds no line.
    """
    if file.seekable():
        here = file.tell()
        _refuse_size(name, file.seek(0, io.SEEK_END) - here)
        file.seek(here)
    at: dict[str, int] = {}
    problems = Problems(name, at)
    edits: list[Edit] = []
    number = 0
    for number, line in _lines(file, name):
        fields: Mapping[str, Any] = {}
        try:
            fields = _fields(line)
            edit = _edit(fields)
            _refuse_twice(at.setdefault(edit.item_id, number), number)
        except InvalidRequest as error:
            item_id = fields.get("id")
            problems.add(str(error), item_id if isinstance(item_id, str) else "", number)
        else:
            edits.append(edit)
    if not number:
        raise InvalidRequest(f"{name} holds no line: a patch changes one item at least")
    return PatchFile(name, by_id(edits), problems)


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers; of one that is too long its beginning."""
    number = size = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if number > LINES_MAX:
            raise InvalidRequest(
                f"{name} has more than {LINES_MAX:,} lines: cut it into several patches"
            )
        size += len(line)
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES_MAX + 1)
            size += len(rest)
            _refuse_size(name, size)
        _refuse_size(name, size)
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, line


def _fields(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise InvalidRequest(f"expected at most {LINE_BYTES_MAX:,} bytes, found more")
    return read_line(line)


def _refuse_twice(first: int, number: int) -> None:
    if first != number:
        raise InvalidRequest(f"expected each id once, found it on line {first} too")


def _refuse_size(name: str, size: int) -> None:
    if size > FILE_BYTES_MAX:
        raise InvalidRequest(
            f"{name} has more than the {FILE_BYTES_MAX:,} bytes that a patch may have: "
            "cut it into several patches"
        )


def _edit(fields: Mapping[str, Any]) -> Edit:
    for name in fields:
        if name not in KEYS:
            raise InvalidRequest(f"expected the keys {', '.join(KEYS)}, found {_short(name)}")
    for name, means in (("id", "the item"), ("from", "null adds"), ("to", "null removes")):
        if name not in fields:
            raise InvalidRequest(f"expected the key {name!r} ({means}), found none")
    item_id = fields["id"]
    if not isinstance(item_id, str) or not item_id:
        raise InvalidRequest(f"expected the item's id as a text, found {_short(item_id)}")
    reason = fields.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise InvalidRequest(f"expected a text in `reason`, found {_short(reason)}")
    return Edit(
        item_id,
        _class(fields, "from"),
        _class(fields, "to"),
        _geometry(fields, "from_geometry"),
        _geometry(fields, "to_geometry"),
        reason,
    )


def _class(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields[name]
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidRequest(f"expected a class or null in `{name}`, found {_short(value)}")


def _geometry(fields: Mapping[str, Any], name: str) -> Geometry | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        shape = '{"type": ..., "coordinates": [...]}'
        raise InvalidRequest(f"expected {shape} in `{name}`, found {_short(value)}")
    try:
        return admit_geometry(json.dumps(value))
    except InvalidRequest as error:
        rule = str(error).removeprefix("geometry ")
        raise InvalidRequest(f"expected a geometry in `{name}`, found {rule}") from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
