"""A worker that is killed at any moment loses nothing and does nothing twice."""

from __future__ import annotations

import random
import time

from tests.faults.crowd import Crowd
from tests.faults.place import Place, seed
from tests.faults.proof import prove

ROUNDS = 200
LIFE_S_MAX = 0.3


def test_a_worker_killed_two_hundred_times(place: Place) -> None:
    """While others append, a worker is killed at random moments: in the middle of its commits,
    while it reads, while it writes checkpoints. What it leaves is what a rebuild makes.
    """
    chosen = seed()
    at = random.Random(chosen)
    with place.crowd(chosen):
        for _ in range(ROUNDS):
            worker = place.start("worker")
            time.sleep(at.uniform(0, LIFE_S_MAX))
            worker.kill()
    place.catch_up()
    prove(place)


def test_a_worker_killed_between_any_two_files(place: Place) -> None:
    """Writing a checkpoint opens, names and removes files: a worker dies before the first of these
    operations, the next one before the second, and so on until one has no more to do.
    """
    with place.open() as book:
        crowd = Crowd(book, seed())
        crowd.begin()
        number = 0
        while True:
            number += 1
            crowd.turn()
            crowd.tag()
            below = str(place.checkpoints)
            worker = place.start("worker", "--once", dies_before=number, below=below)
            if worker.code() == 0:
                break
            worker.kill()
    assert number > 20
    prove(place)
