"""A dataset with its views and checkpoints, in a folder, and the processes that work on it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger import Ledger
from tests.faults.nursery import PATIENCE_S, Child, Nursery

DATASET = "birds"


@dataclass(frozen=True)
class Place:
    """Where everything of a dataset is.

    Attributes:
        folder: where its files are.
        log: the log's address.
        nursery: where its processes come from.
        views: the path of the views.
        checkpoints: the folder of the checkpoints.
        dataset: its name.
        more: further settings of its processes.
    """

    folder: Path
    log: str
    nursery: Nursery
    views: Path
    checkpoints: Path
    dataset: str = DATASET
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def make(
        cls,
        nursery: Nursery,
        folder: Path,
        log: str | None = None,
        dataset: str = DATASET,
        more: Mapping[str, str] | None = None,
    ) -> Place:
        """A new dataset, by default on an embedded log in the folder."""
        place = cls(
            folder=folder,
            log=log or f"sqlite:///{folder}/log.db",
            nursery=nursery,
            views=folder / "views.db",
            checkpoints=folder / "checkpoints",
            dataset=dataset,
            more=more or {},
        )
        Ledger.create(place.log, place.dataset, partitions=3).close()
        return place

    @property
    def env(self) -> dict[str, str]:
        """The settings of its processes."""
        return {
            "ERRATA_LOG": self.log,
            "ERRATA_DATASET": self.dataset,
            "ERRATA_VIEWS": str(self.views),
            "ERRATA_CHECKPOINTS": str(self.checkpoints),
            "ERRATA_ACTOR": "ann",
            **self.more,
        }

    def open(self) -> Ledger:
        """The ledger, from here."""
        return Ledger.open(self.log, self.dataset)

    def start(self, *arguments: str, **more: object) -> Child:
        """Start a process of `errata`."""
        return self.nursery.start(*arguments, env=self.env, **more)

    def run(self, *arguments: str) -> str:
        """Run `errata` to a good end; its standard output."""
        return self.nursery.run(*arguments, env=self.env)

    def refused(self, *arguments: str) -> str:
        """The sentence with which `errata` ends."""
        return self.nursery.refused(*arguments, env=self.env)

    def ended(self, *arguments: str) -> Child:
        """Run `errata` to a good end, or one with a sentence."""
        child = self.start(*arguments)
        assert child.code() in (0, 1), child.said
        assert "Traceback" not in child.said, child.said
        return child

    def catch_up(self) -> None:
        """Keep all there is now."""
        self.run("worker", "--once")

    def progress(self) -> list[int]:
        """The next offset of each partition in the view, without asking the log."""
        query = "SELECT offset FROM progress WHERE topic = 'labels' ORDER BY partition"
        with (
            contextlib.suppress(sqlite3.OperationalError),  # there is none yet
            contextlib.closing(sqlite3.connect(f"file:{self.views}?mode=ro", uri=True)) as view,
        ):
            return [offset for (offset,) in view.execute(query)]
        return [0, 0, 0]

    def wait_for(self, more: int, *workers: Child) -> None:
        """Wait until every partition has come so much further in the view."""
        before = self.progress()
        until(
            lambda: all(
                now >= then + more for now, then in zip(self.progress(), before, strict=True)
            ),
            *workers,
        )

    def afresh(self) -> Place:
        """The same log with views and checkpoints made from nothing."""
        folder = self.folder / "afresh"
        folder.mkdir(exist_ok=True)
        other = replace(self, views=folder / "views.db", checkpoints=folder / "checkpoints")
        other.run("rebuild")
        return other

    @contextmanager
    def crowd(self, seed: int) -> Generator[Path]:
        """A process that appends meanwhile; the file that gets the ids of what was acknowledged."""
        file = self.folder / "acknowledged.txt"
        arguments = [self.log, self.dataset, str(seed), str(file)]
        process = subprocess.Popen([sys.executable, "-m", "tests.faults.crowd", *arguments])
        try:
            yield file
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()


def until(true: Callable[[], bool], *workers: Child) -> None:
    """Wait for something that the workers do."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        told = [worker.said[-2000:] for worker in workers]
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s: {told}"
        time.sleep(0.05)


def seed() -> int:
    """What decides every random choice of a test: printed, so that a failure can be repeated with
    ERRATA_TEST_SEED.
    """
    given = os.environ.get("ERRATA_TEST_SEED")
    chosen = int(given) if given else int.from_bytes(os.urandom(4))
    print(f"ERRATA_TEST_SEED={chosen}")
    return chosen
