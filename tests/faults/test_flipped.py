"""A bit that flips on its medium: told by `verify`, never passed on where a checksum stands against
it, and mended by a rebuild.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.faults.nursery import Nursery
from tests.faults.place import Place, seed
from tests.faults.proof import prove
from tests.views.material import content

FLIPS = 12
_KINDS = ("manifest", "changes", "corrections", "reviews", "refusals", "void")


@pytest.fixture(scope="module")
def settled(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dataset whose views and checkpoints are up to date, with a rollback in it."""
    place = Place.make(nursery, tmp_path_factory.mktemp("flipped"))
    with place.open() as book:
        crowd = Crowd(book, seed())
        crowd.begin()
        for say in (crowd.tag, crowd.roll_back, crowd.tag):
            for _ in range(15):
                crowd.turn()
            say()
        assert book.governance.rollbacks
    place.catch_up()
    return place


def flip(file: Path, at: random.Random) -> str:
    """Flip one bit, every other time one that makes text something that is none; where."""
    data = bytearray(file.read_bytes())
    place, bit = at.randrange(len(data)), at.choice([*range(8), *[7] * 6])
    data[place] ^= 1 << bit
    file.write_bytes(data)
    return f"bit {bit} of byte {place} of {len(data)} of {file}"


@contextlib.contextmanager
def flipped(file: Path, at: random.Random) -> Generator[str]:
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
            verified, read = settled.ended("verify"), settled.ended("snapshot")
            assert verified.code() == 1, where
            assert file.name in verified.said, (where, verified.said)
            assert read.out == right if read.code() == 0 else read.said, where
    settled.run("verify")


def test_in_a_view(settled: Place) -> None:
    """What `verify` passes is what a rebuild makes, in every table; the rest it tells in words."""
    at = random.Random(seed())
    file = emptied(settled)
    right = content(settled.views)
    told = 0
    for _ in range(FLIPS):
        with flipped(file, at) as where:
            verified = settled.ended("verify")
            if verified.code() == 0:
                assert content(settled.views) == right, where
            else:
                assert "views" in verified.said, where
                told += 1
    assert told
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
