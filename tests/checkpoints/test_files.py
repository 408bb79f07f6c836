"""What a place of checkpoints promises, in a folder and in object storage; and that everything else
works on either.
"""

from __future__ import annotations

import uuid
from pathlib import Path

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
    (tmp_path / "file").write_text("")
    for url in (
        str(tmp_path / "file"),
        "s3://labels/x?endpoint_override=127.0.0.1:1&scheme=http&region=here",
    ):
        with pytest.raises(CheckpointsUnavailable, match="cannot be read or written now"):
            open_files(url).put("a/b", b"")


def test_an_address_of_no_known_kind():
    with pytest.raises(InvalidSetting, match="checkpoints 'ftp://there'"):
        open_files("ftp://there")
