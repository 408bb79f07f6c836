"""What a place of checkpoints promises, in a folder and in object storage; and that everything else
works on either.
"""

from __future__ import annotations

import errno
import uuid
from pathlib import Path
from unittest.mock import Mock

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger.checkpoints.files import Files, open_files
from ledger.checkpoints.reader import Checkpoints
from ledger.errors import CheckpointsUnavailable, InvalidSetting
from tests.checkpoints.feeding import store_of
from tests.checkpoints.test_reading import keep, lines
from tests.checkpoints.test_store import check, eventful, write
from tests.columnar.test_replay import simple, stored


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place."""
    if request.param == "folder":
        return str(tmp_path / "not there yet")
    return request.getfixturevalue("storage").url(f"some/{uuid.uuid4().hex}")


@pytest.fixture
def files(url: str) -> Files:
    return open_files(url)


def test_what_was_put_is_there(files: Files):
    assert files.list("") == {}
    assert files.read("a/b") is None
    files.put("a/b", b"one")
    files.put("a/c/d", bytes(9_000_000))
    files.put("ab", b"x")
    assert files.list("") == {"a/b": 3, "a/c/d": 9_000_000, "ab": 1}
    assert files.list("a") == {"a/b": 3, "a/c/d": 9_000_000}
    assert files.list("a/c") == {"a/c/d": 9_000_000}
    assert files.list("b") == {}
    assert (files.read("a/b"), files.read("ab")) == (b"one", b"x")


def test_a_file_is_replaced_and_deleted(files: Files):
    files.put("a/b", b"one")
    files.put("a/b", b"other")
    assert files.read("a/b") == b"other"
    for _ in range(2):
        files.delete("a/b")
        assert files.read("a/b") is None
    assert files.list("") == {}


def test_a_history_is_kept(files: Files):
    """Segments, rollbacks, compaction and removal."""
    history = eventful()
    store = store_of(history, files)
    write(history, store, [7, 4], 3, 10)
    check(history, store)


def test_it_is_read(url: str, files: Files, tmp_path: Path):
    history = simple(30)
    dataset = stored(history, tmp_path / "log.db")
    keep(dataset, files, every=30)
    found = Checkpoints(url, dataset).snapshot(history.governed(), history.head())
    assert found is not None
    assert bytes(found.canonical()) == lines(dataset, history.head())


def test_a_place_that_cannot_be_reached(storage: object, tmp_path: Path):
    """It is told in words, with the address."""
    del storage
    with pytest.raises(CheckpointsUnavailable, match="cannot be read or written now"):
        open_files("s3://labels/x?endpoint_override=127.0.0.1:1&scheme=http&region=here").put(
            "a/b", b""
        )


def test_a_region_that_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch):
    """An outage is none of the setting's; and nothing is asked before it is needed."""

    def away(uri: str) -> None:
        raise OSError(f"When resolving region for bucket of {uri}: no network")

    files = open_files("s3://labels/x")
    monkeypatch.setattr("ledger.checkpoints.files.fs", Mock(FileSystem=Mock(from_uri=away)))
    for act in (lambda: files.list(""), lambda: files.read("a"), lambda: files.put("a", b"")):
        with pytest.raises(CheckpointsUnavailable, match="s3://labels/x cannot be read or written"):
            act()


def test_a_folder_that_may_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is a file, or not allowed: no waiting mends it."""
    (tmp_path / "file").write_text("")
    files = open_files(str(tmp_path / "file"))
    for act in (lambda: files.list(""), lambda: files.read("a"), lambda: files.put("a", b"")):
        with pytest.raises(InvalidSetting, match="give another place with ERRATA_CHECKPOINTS"):
            act()
    for number in (errno.EACCES, errno.EROFS):

        def refuse(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, "no")

        monkeypatch.setattr("os.walk", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
        for act in (lambda: files.list(""), lambda: files.put("a/b", b"")):
            with pytest.raises(InvalidSetting, match="no folder that may be read and written"):
                act()


def test_a_folder_as_an_address(tmp_path: Path):
    open_files(f"file://{tmp_path}/with%20space").put("a", b"x")
    assert open_files(str(tmp_path / "with space")).read("a") == b"x"


def test_an_address_of_no_known_kind():
    for url in ("ftp://there", "gs://bucket/x", "file://host/x", "s3:///x"):
        with pytest.raises(InvalidSetting, match=f"checkpoints '{url}': a place is a folder"):
            open_files(url)
    with pytest.raises(InvalidSetting, match=r"checkpoints 's3://bucket/x\?what=1'"):
        open_files("s3://bucket/x?what=1").list("")
