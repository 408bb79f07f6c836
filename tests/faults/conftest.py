"""The nursery, and a dataset on an embedded log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

from tests.faults.nursery import Nursery
from tests.faults.place import Place


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where the processes of `errata` come from."""
    with Nursery(tmp_path_factory.mktemp("said")) as started:
        yield started


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("ERRATA_")]:
        if not name.startswith("ERRATA_TEST"):
            monkeypatch.delenv(name)


@pytest.fixture
def place(nursery: Nursery, tmp_path: Path) -> Place:
    """A new dataset on an embedded log."""
    return Place.make(nursery, tmp_path)
