"""Whole files in one place: a folder, or a bucket of object storage.

Everything a checkpoint is made of is written once, whole, under a name of its own, and never
changed. So a place needs no more than this: a file is there with all its bytes or not at all, on
object storage because one request brings it, in a folder because it is renamed into place.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from ledger.clock import new_id
from ledger.errors import CheckpointsUnavailable, InvalidSetting

Answer = TypeVar("Answer")
_SETTING = (errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS)
"""What no waiting mends: the folder is a file, or may not be read or written."""


class Files(Protocol):
    """Files by name; a name is a path with `/` below the place."""

    url: str

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a file, durably and all at once; one of that name is replaced."""
        ...

    def list(self, folder: str) -> Mapping[str, int]:
        """The files below a folder (all of them for ""): their sizes in bytes by name."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no matter."""
        ...


def open_files(url: str) -> Files:
    """The place that a setting names: a folder, also as `file:///folder`, or `s3://bucket/path`.
    Nothing is connected to yet.

    Credentials are taken from where the storage's own tools take them (`AWS_ACCESS_KEY_ID`, ...).

    Raises:
        InvalidSetting: the address is of no known kind.
    """
    if "://" not in url:
        return Folder(Path(url))
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return Folder(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return Bucket(url)
    raise InvalidSetting(
        f"checkpoints {url!r}: a place is a folder, file:///folder or s3://bucket/path"
    )


class Folder:
    """A folder of a local disk."""

    def __init__(self, path: Path) -> None:
        self.url = str(path)
        self.path = path

    def read(self, name: str) -> bytes | None:
        """See `Files.read`."""
        return _told(self.url, lambda: _read(self.path / name))

    def put(self, name: str, data: bytes) -> None:
        """See `Files.put`."""
        _told(self.url, lambda: _place(self.path / name, data))

    def list(self, folder: str) -> Mapping[str, int]:
        """See `Files.list`; what was never renamed into place is listed, to be removed."""
        return _told(self.url, lambda: _sizes(self.path, self.path / folder))

    def delete(self, name: str) -> None:
        """See `Files.delete`."""
        _told(self.url, lambda: (self.path / name).unlink(missing_ok=True))


def _sizes(base: Path, root: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for folder, _, names in os.walk(root, onerror=_unless_gone):
        for each in (Path(folder) / name for name in names):
            with contextlib.suppress(FileNotFoundError):  # it may go meanwhile
                sizes[each.relative_to(base).as_posix()] = each.stat().st_size
    return dict(sorted(sizes.items()))


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _place(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{new_id()}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


class Bucket:
    """A path in object storage."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._path = (parts.netloc.rpartition("@")[2] + unquote(parts.path)).rstrip("/")

    @cached_property
    def _filesystem(self) -> Any:
        """Connected when it is first needed: where the address names no region, the storage is
        asked for it.
        """
        try:
            return fs.FileSystem.from_uri(self.url)[0]
        except pa.ArrowInvalid as error:
            raise InvalidSetting(f"checkpoints {self.url!r}: {error}") from error

    def read(self, name: str) -> bytes | None:
        """See `Files.read`."""

        def read() -> bytes | None:
            try:
                with self._filesystem.open_input_file(f"{self._path}/{name}") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

        return _told(self.url, read)

    def put(self, name: str, data: bytes) -> None:
        """See `Files.put`."""

        def put() -> None:
            with self._filesystem.open_output_stream(f"{self._path}/{name}") as file:
                file.write(data)

        _told(self.url, put)

    def list(self, folder: str) -> Mapping[str, int]:
        """See `Files.list`."""
        root = f"{self._path}/{folder}".rstrip("/")
        chosen = fs.FileSelector(root, allow_not_found=True, recursive=True)
        found: Any = _told(self.url, lambda: self._filesystem.get_file_info(chosen))
        skip = len(self._path) + 1
        return {each.path[skip:]: each.size for each in found if each.type == fs.FileType.File}

    def delete(self, name: str) -> None:
        """See `Files.delete`."""

        def delete() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._filesystem.delete_file(f"{self._path}/{name}")

        _told(self.url, delete)


def _told(url: str, act: Callable[[], Answer]) -> Answer:
    try:
        return act()
    except OSError as error:
        if error.errno in _SETTING and "://" not in url:
            raise InvalidSetting(
                f"the checkpoints at {url} are no folder that may be read and written: {error}. "
                "Allow it, or give another place with ERRATA_CHECKPOINTS"
            ) from error
        raise CheckpointsUnavailable(
            f"the checkpoints at {url} cannot be read or written now: {error}"
        ) from error
