"""`errata rebuild`: views and checkpoints from the log alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click

from consumers.follower import Follower, Piece
from ledger.cli import Progress, open_ledger, settings, shared
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Topic
from ledger.replay import GovernanceReader
from ledger.views.bulk import bulk
from ledger.views.contract import Known
from ledger.wiring import views_path

_AHEAD_MAX = 2
"""Pieces that wait to be written: each holds the messages of a batch."""


class Behind:
    """Does things in order in a thread of its own, a few at most ahead of it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "errata-rebuild")
        self._waiting: deque[Future[None]] = deque()

    def __call__(self, act: Callable[..., None], *arguments: object) -> None:
        """Do it when its turn comes. What an earlier one raised is raised here."""
        self._waiting.append(self._pool.submit(act, *arguments))
        while len(self._waiting) > _AHEAD_MAX:
            self._waiting.popleft().result()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all of it; or, after an error, only for the one that is being done."""
        if kind is not None:
            self._pool.shutdown(cancel_futures=True)
            return
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)


def rebuild(
    dataset: Dataset, views: Path | None, told: Callable[[int], None] = lambda _: None
) -> Position:
    """Make views from nothing, up to the log's end; the position that they have then.

    Args:
        dataset: the log.
        views: where the view is to be; None leaves it as it is.
        told: called with the number of events of each piece.
    """
    reader = GovernanceReader(dataset)
    governance = reader.refresh()
    known = Known(reader.stop, governance.prefix(reader.stop))
    ends = dataset.log.ends(Topic.LABELS)  # read after governance: no `at` lies beyond them
    with ExitStack() as stack:
        view = stack.enter_context(bulk(views, dataset, known)) if views else None
        behind = stack.enter_context(Behind())
        for partition, stop in enumerate(ends):
            if view:
                behind(view.begin, partition, stop)
            for piece in Follower(dataset, partition).advance(known.governance, stop):
                assert isinstance(piece, Piece)
                if view:
                    behind(view.take, piece.delta)
                told(piece.stop - piece.start)
            if view:
                behind(view.end)
    return Position(tuple(ends), known.stop)


@click.command("rebuild")
@shared
def rebuild_() -> None:
    """Make the views anew, from the log alone.

    The old ones are read until the new ones are whole. Workers may go on meanwhile.
    """
    dataset = open_ledger().dataset
    total = sum(dataset.log.ends(Topic.LABELS))
    with Progress("Rebuilding", total) as bar:
        position = rebuild(dataset, views_path(settings()), bar.advance)
    click.echo(position.text())
