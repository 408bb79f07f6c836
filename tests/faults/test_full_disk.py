"""A disk that fills up, under each of the things that are kept, and is given room again."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.faults.place import Place, seed, until
from tests.faults.proof import prove
from tests.views.material import content

DISK_MB = 16
_BLOCK = 4096


class Disk:
    """A small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, left: int = 0) -> None:
        """Leave no more than so many bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                for _ in itertools.count():
                    file.write(bytes(_BLOCK))
            except OSError:
                file.truncate(max(0, self._ballast.stat().st_size - left))

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system in memory; mounting one takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "errata-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        assert os.environ.get("CI") != "true", done.stderr
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def talk(place: Place, turns: int) -> None:
    """A crowd's first turns."""
    with place.open() as book:
        crowd = Crowd(book, seed())
        crowd.begin()
        for _ in range(turns):
            crowd.turn()


def files_of_views(disk: Disk) -> list[str]:
    """The databases; what SQLite has beside one comes and goes."""
    found = (each.name for each in disk.folder.iterdir())
    return sorted(name for name in found if re.fullmatch(r"views\.db\.[0-9a-f]+", name))


@pytest.mark.parametrize(("kept", "word"), [("views", "waiting"), ("checkpoints", "passed over")])
def test_under_a_worker(place: Place, disk: Disk, kept: str, word: str) -> None:
    """The worker says so, and waits or goes on without checkpoints; what it committed stands, and
    given room all is as it should be.
    """
    place = replace(place, **{kept: disk.folder / getattr(place, kept).name})
    with place.crowd(seed()):
        worker = place.start("worker")
        place.wait_for(20, worker)
        disk.fill()
        until(lambda: word in worker.said, worker)
        assert "full" in worker.said or "No space left on device" in worker.said, worker.said
        disk.free()
        place.wait_for(20, worker)
        disk.fill()
        worker.kill()
        disk.free()
        worker = place.start("worker")
        place.wait_for(20, worker)
        worker.stop()
    place.catch_up()
    prove(place)


def test_before_a_worker(place: Place, disk: Disk) -> None:
    """A worker that cannot even begin says so and ends."""
    place = replace(place, views=disk.folder / "views.db")
    talk(place, 20)
    disk.fill()
    assert "disk is full" in place.refused("worker", "--once")
    disk.free()
    place.catch_up()
    prove(place)


def test_under_a_rebuild_of_views(place: Place, disk: Disk) -> None:
    """The old view stays as it was, and nothing of the new one is left behind."""
    place = replace(place, views=disk.folder / "views.db")
    talk(place, 40)
    place.catch_up()
    before, files = content(place.views), files_of_views(disk)
    for left in (0, 3 * _BLOCK, 20 * _BLOCK):
        disk.fill(left)
        assert "disk is full" in place.refused("rebuild")
        disk.free()
        assert content(place.views) == before
        assert files_of_views(disk) == files
    place.run("rebuild")
    prove(place)


def test_under_a_rebuild_of_checkpoints(place: Place, disk: Disk) -> None:
    """Said in words; what there is counts as far as it is whole, and another rebuild makes all."""
    place = replace(place, checkpoints=disk.folder / "checkpoints")
    talk(place, 40)
    place.catch_up()
    for left in (0, 3 * _BLOCK, 9 * _BLOCK):
        shutil.rmtree(place.checkpoints)
        disk.fill(left)
        assert "No space left on device" in place.refused("rebuild")
        disk.free()
    place.catch_up()
    prove(place)
    place.run("rebuild")
    prove(place)
