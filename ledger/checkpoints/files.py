"""Whole files in one place: a folder, or a bucket of object storage.

Everything a checkpoint is made of is written once, whole, under a name of its own, and never
changed. So a place needs no more than this: a file is there with all its bytes or not at all, on
object storage because one request brings it, in a folder because it is renamed into place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from pyarrow import fs

from ledger.clock import new_id
from ledger.errors import CheckpointsUnavailable, InvalidSetting

Answer = TypeVar("Answer")


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
    """The place that a setting names: a folder, or an address such as `s3://bucket/path`.

    Credentials are taken from where the storage's own tools take them (`AWS_ACCESS_KEY_ID`, ...).

    Raises:
        InvalidSetting: the address is of no known kind.
    """
    if "://" not in url:
        return Folder(Path(url))
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InvalidSetting(f"checkpoints {url!r}: {error}") from error
    return Bucket(url, filesystem, path)


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
        root = self.path / folder
        found = sorted(root.rglob("*")) if root.is_dir() else []
        sizes: dict[str, int] = {}
        for each in found:
            with contextlib.suppress(FileNotFoundError):  # it may go meanwhile
                if each.is_file():
                    sizes[each.relative_to(self.path).as_posix()] = each.stat().st_size
        return sizes

    def delete(self, name: str) -> None:
        """See `Files.delete`."""
        _told(self.url, lambda: (self.path / name).unlink(missing_ok=True))

    def clear(self) -> None:
        """Remove the folder with all that is in it."""
        _told(self.url, lambda: shutil.rmtree(self.path, ignore_errors=True))


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

    def __init__(self, url: str, filesystem: Any, path: str) -> None:
        self.url = url
        self._filesystem = filesystem
        self._path = path.rstrip("/")

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
        raise CheckpointsUnavailable(
            f"the checkpoints at {url} cannot be read or written now: {error}"
        ) from error
