"""Each backend in turn."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.logs.base import Log
from tests.logs.places import OpenLog, Place


@pytest.fixture(params=["sqlite", "kafka"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    backend: str = request.param
    if backend == "sqlite":
        where = str(tmp_path / "log.db")
    else:
        where = request.getfixturevalue("broker").bootstrap
    opener = OpenLog(Place(backend, where, uuid.uuid4().hex[:8]))
    yield opener
    for handle in opener.handles:
        handle.close()


@pytest.fixture
def log(open_log: OpenLog) -> Log:
    """A dataset of three partitions."""
    opened = open_log()
    opened.create(3)
    return opened
