"""Workers on real brokers that die, and members of a group that freeze or die."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.core.events import Event
from tests.conftest import unavailable
from tests.faults.nursery import Child, Nursery
from tests.faults.place import Place, seed, until
from tests.faults.proof import prove
from tests.services import Broker, JavaBroker, JavaCluster, Unavailable

ROUNDS = 12
LIFE_S_MAX = 1.5
SESSION_S = 6
"""The shortest that a broker grants: after it a silent member of a group is taken for dead."""
PROPERTIES = json.dumps({"session.timeout.ms": str(1000 * SESSION_S)})


@pytest.fixture
def cluster() -> Iterator[JavaCluster]:
    """Three brokers to kill."""
    try:
        started = JavaCluster()
    except Unavailable as e:
        unavailable("Kafka cluster to kill brokers of", e)
    with started:
        yield started


def place_on(broker: Broker, nursery: Nursery, folder: Path) -> Place:
    """A new dataset there, whose workers soon notice what is away."""
    more = {"ERRATA_KAFKA": PROPERTIES, "ERRATA_TIMEOUT_S": "3"}
    dataset = f"birds-{uuid.uuid4().hex[:8]}"
    return Place.make(nursery, folder, f"kafka://{broker.bootstrap}", dataset=dataset, more=more)


def ids_in(place: Place) -> list[str]:
    """The id of every event that stands on the log."""
    with place.open() as book:
        return [entry.event.event_id for entry in book.events() if isinstance(entry.event, Event)]


def assert_all_there(place: Place, acknowledged: Path) -> None:
    """Nothing that was acknowledged is lost."""
    said = acknowledged.read_text().split()
    assert said
    assert not set(said) - set(ids_in(place))


def test_a_worker_killed_on_kafka(broker: Broker, nursery: Nursery, tmp_path: Path) -> None:
    """As on the embedded log. Each worker is the first of a group of its own, so that it need not
    wait until the group has missed the one before.
    """
    chosen = seed()
    at = random.Random(chosen)
    place = place_on(broker, nursery, tmp_path)
    with place.crowd(chosen) as acknowledged:
        for number in range(ROUNDS):
            worker = place.start("worker", "--group", f"{place.dataset}-{number}")
            time.sleep(at.uniform(0, LIFE_S_MAX))
            worker.kill()
    place.catch_up()
    prove(place)
    assert_all_there(place, acknowledged)


def test_a_broker_that_goes_and_comes(
    own_broker: JavaBroker, nursery: Nursery, tmp_path: Path
) -> None:
    """A worker waits for a broker, says so once, and goes on when it is back."""
    chosen = seed()
    place = place_on(own_broker, nursery, tmp_path)
    with place.crowd(chosen) as acknowledged:
        worker = place.start("worker")
        place.wait_for(20, worker)
        own_broker.kill()
        until(lambda: "waiting" in worker.said, worker)
        time.sleep(5)  # more tries
        own_broker.restart()
        place.wait_for(20, worker)
        worker.stop()
    assert worker.said.count("waiting") == 1, worker.said
    place.catch_up()
    prove(place)
    assert_all_there(place, acknowledged)


def test_a_cluster_whose_leaders_die(
    cluster: JavaCluster, nursery: Nursery, tmp_path: Path
) -> None:
    """The leader of a partition dies while events are appended and two workers fold, then the
    coordinator of their group does; each comes back. Nothing acknowledged is lost, and the views
    are what the log says.
    """
    chosen = seed()
    place = place_on(cluster, nursery, tmp_path)
    with place.crowd(chosen) as acknowledged:
        workers = [place.start("worker") for _ in range(2)]
        place.wait_for(20, *workers)
        for topic in (f"{place.dataset}.labels", "__consumer_offsets"):
            leader = cluster.leader(topic, 0)
            cluster.kill(leader)
            place.wait_for(20, *workers)
            cluster.start(leader)
            place.wait_for(20, *workers)
        for worker in workers:
            worker.stop()
    place.catch_up()
    prove(place)
    assert_all_there(place, acknowledged)


def freeze(worker: Child, views: Path) -> None:
    """Stop a worker at a moment at which it does not hold the view's lock: whoever is frozen with
    it keeps everybody out, as SQLite can't tell that from one at work.
    """
    while True:
        worker.send(signal.SIGSTOP)
        try:
            with contextlib.closing(sqlite3.connect(views, timeout=0.5)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            worker.send(signal.SIGCONT)
            time.sleep(0.05)
        else:
            return


def test_a_member_that_was_frozen(broker: Broker, nursery: Nursery, tmp_path: Path) -> None:
    """Workers that are stopped for longer than their session, and go on while another has their
    partitions, write nothing that is not so.
    """
    chosen = seed()
    at = random.Random(chosen)
    place = place_on(broker, nursery, tmp_path)
    with place.crowd(chosen) as acknowledged:
        workers = [place.start("worker") for _ in range(3)]
        place.wait_for(10, *workers)
        for frozen in workers[:2]:
            time.sleep(at.uniform(0, 0.5))
            freeze(frozen, place.views)
        time.sleep(SESSION_S + 1)
        place.wait_for(10, *workers)  # of their partitions, too
        for frozen in workers[:2]:
            frozen.send(signal.SIGCONT)
        place.wait_for(10, *workers)
        for worker in workers:
            worker.stop()
    place.catch_up()
    prove(place)
    assert_all_there(place, acknowledged)
