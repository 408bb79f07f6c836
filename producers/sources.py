"""Lines and rows from outside, each known by its place so that an error can name it."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from ledger.errors import InvalidRequest

STANDARD_INPUT = Path("-")
LINE_BYTES_MAX = 16 * 1024 * 1024
"""No event is near as long; without a limit a file that is no text would fill the memory."""
_CHUNK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_EVENT_NUMBER = re.compile(r"^event \d+: ")


class PlacedError(InvalidRequest):
    """It says which source and line it is about."""


class Source(NamedTuple):
    """An open input, and what to call it."""

    name: str
    file: BinaryIO


def open_source(path: Path) -> Source:
    """A file, or standard input for `-`."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidRequest("standard input is closed: give a file, or pipe lines into it")
        return Source("standard input", sys.stdin.buffer)
    try:
        return Source(str(path), path.open("rb"))
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error


def rereadable(source: Source) -> Source:
    """The source itself if it can be read twice, else a copy of all that it gives."""
    if source.file.seekable():
        return source
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(source.file, copy)
    copy.seek(0)
    return Source(source.name, copy)


def size_of(source: Source) -> int:
    """How many bytes a source that can be read again holds."""
    here = source.file.tell()
    size = source.file.seek(0, io.SEEK_END)
    source.file.seek(here)
    return size


def at_line(source: Source, number: int, error: InvalidRequest | str) -> PlacedError:
    """The error with its place in front (and without the number of the event in its batch)."""
    if isinstance(error, PlacedError):
        return error
    rule = _EVENT_NUMBER.sub("", str(error))
    return PlacedError(f"{source.name}, line {number}: {rule}")


def lines(source: Source) -> Iterator[list[tuple[int, bytes]]]:
    """The lines that are not empty, with their numbers, in groups: those that are there now, so
    that a pipe's lines need not wait for the next ones.

    Raises:
        InvalidRequest: a line is longer than `LINE_BYTES_MAX`.
    """
    number = 0
    begun: list[bytes] = []  # the parts of a line whose end has not come
    begun_bytes = 0
    read_available = cast("io.BufferedReader", source.file).read1
    while True:
        chunk = read_available(_CHUNK_BYTES)
        *whole, rest = chunk.split(b"\n") if chunk else [b"", b""]
        group: list[tuple[int, bytes]] = []
        for part in whole:
            number += 1
            line = b"".join([*begun, part])
            begun, begun_bytes = [], 0
            if number == 1:
                line = line.removeprefix(_BOM)
            if line.strip():
                group.append((number, line))
        begun.append(rest)
        begun_bytes += len(rest)
        if group:
            yield group
        if begun_bytes > LINE_BYTES_MAX:
            limit = f"it is longer than {LINE_BYTES_MAX:,} bytes, and no event is"
            raise at_line(source, number + 1, limit)
        if not chunk:
            return


def csv_rows(source: Source, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, the header first, with the number of the line each begins on.

    Raises:
        InvalidRequest: not UTF-8, or not quoted as CSV is.
    """
    csv.field_size_limit(2**31 - 1)  # the event's own limit refuses what is too long, in words
    number = 0

    def texts() -> Iterator[str]:
        for line in source.file:
            try:
                yield line.decode("utf-8-sig" if reader.line_num == 0 else "utf-8")
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise at_line(
                    source,
                    reader.line_num + 1,
                    f"not UTF-8: byte {error.start} is 0x{byte:02x}; save the file as UTF-8",
                ) from error

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise at_line(source, number, f"not CSV: {error}") from error
        if row is None:
            return
        if row:
            yield number, row


def header_of(rows: Iterator[tuple[int, list[str]]]) -> Sequence[str]:
    """The first row; no name stands in it twice."""
    header = next(rows, (1, list[str]()))[1]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise InvalidRequest(f"the column {twice[0]!r} stands twice in the header")
    return header
