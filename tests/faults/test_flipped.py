"""A bit that flips on its medium: told by `verify`, never passed on where a checksum stands against
it, and mended by a rebuild.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.faults.nursery import Nursery
from tests.faults.place import Place, seed
from tests.faults.proof import prove

_KINDS = ("manifest", "changes", "corrections", "reviews", "refusals", "void")


@pytest.fixture(scope="module")
def settled(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dataset whose views and checkpoints are up to date, with a rollback in it."""
    place = Place.make(nursery, tmp_path_factory.mktemp("flipped"))
    with place.open() as book:
        crowd = Crowd(book, seed())
        crowd.begin()
        while not book.governance.rollbacks:
            crowd.turn()
        for _ in range(20):
            crowd.turn()
    place.catch_up()
    return place


def flip(file: Path, at: random.Random) -> str:
    """Flip one bit; where."""
    data = bytearray(file.read_bytes())
    place, bit = at.randrange(len(data)), at.randrange(8)
    data[place] ^= 1 << bit
    file.write_bytes(data)
    return f"bit {bit} of byte {place} of {len(data)} of {file}"


@contextlib.contextmanager
def flipped(file: Path, at: random.Random) -> Iterator[str]:
    """One bit is another inside the block."""
    whole = file.read_bytes()
    try:
        yield flip(file, at)
    finally:
        file.write_bytes(whole)


def emptied(place: Place) -> Path:
    """The view's file, once all that SQLite keeps beside it is in it."""
    with contextlib.closing(sqlite3.connect(place.views.resolve())) as view:
        view.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return place.views.resolve()


@pytest.mark.parametrize("kind", _KINDS)
def test_in_a_checkpoint(settled: Place, kind: str) -> None:
    """`verify` names the file; what is read is right all the same, or refused."""
    at = random.Random(seed())
    right = settled.run("snapshot")
    files = sorted(each for each in settled.checkpoints.rglob(f"{kind}/**/*") if each.is_file())
    assert files, f"there is no {kind}"
    for _ in range(3):
        file = at.choice(files)
        with flipped(file, at) as where:
            code, said = settled.tell("verify")
            assert (code, file.name in said, "Traceback" in said) == (1, True, False), (where, said)
            code, said = settled.tell("snapshot")
            assert said == right if code == 0 else said.startswith("errata: "), where
    settled.run("verify")


def test_mended(settled: Place) -> None:
    """A rebuild makes all of it anew, whatever was wrong; and a worker goes on from it."""
    at = random.Random(seed())
    flip(emptied(settled), at)
    for file in sorted(settled.checkpoints.rglob("*.*")):
        flip(file, at)
    settled.refused("verify")
    settled.run("rebuild")
    settled.run("verify")
    prove(settled)
