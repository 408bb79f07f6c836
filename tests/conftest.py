"""Services that the tests share: started once in a session, and only when a test asks."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.services import (
    Broker,
    JavaBroker,
    Registry,
    Unavailable,
    start_broker,
    start_registry,
)


def pytest_configure() -> None:
    """A shell starts what runs in the background deaf to Ctrl-C, and the commands under test would
    be so too: what is ignored here is ignored by every process that is started.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def unavailable(service: str, why: Unavailable) -> NoReturn:
    """Skip with the reason, or fail where the services were promised."""
    reason = f"no {service}: {why}"
    if os.environ.get("CI") == "true" or os.environ.get("ERRATA_REQUIRE_KAFKA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A Kafka broker; `broker.bootstrap` is its address."""
    try:
        started = start_broker()
    except Unavailable as e:
        unavailable("Kafka broker", e)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def own_broker() -> Iterator[JavaBroker]:
    """A broker that a test may kill, if it starts it again."""
    try:
        started = JavaBroker()
    except Unavailable as e:
        unavailable("Kafka broker to kill", e)
    with started:
        yield started


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A Confluent-compatible schema registry at `registry.url`."""
    try:
        started = start_registry()
    except Unavailable as e:
        unavailable("schema registry", e)
    yield started
    started.stop()


@pytest.fixture(params=["sqlite", "kafka"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Where a new dataset can be, on either log: the arguments `log` and `dataset`."""
    dataset = f"t{uuid.uuid4().hex[:12]}"
    if request.param == "sqlite":
        return {"log": f"sqlite:///{tmp_path}/log.db", "dataset": dataset}
    started: Broker = request.getfixturevalue("broker")
    return {"log": f"kafka://{started.bootstrap}", "dataset": dataset}
