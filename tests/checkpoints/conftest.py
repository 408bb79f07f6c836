"""An object storage, started once, for the tests of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import unavailable
from tests.services.java import Unavailable
from tests.services.storage import KEY, SECRET, Storage


@pytest.fixture(scope="session")
def server() -> Iterator[Storage]:
    """The server."""
    try:
        started = Storage()
    except Unavailable as error:
        unavailable("object storage", error)
    yield started
    started.stop()


@pytest.fixture
def storage(server: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The server, with its credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    return server
