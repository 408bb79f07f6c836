"""Views and checkpoints from the log alone, as fast as it can be folded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import structlog

from consumers.follower import Follower, Piece
from ledger.checkpoints.writer import CheckpointWriter, Overtaken, Rows
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic
from ledger.replay import GovernanceReader
from ledger.views.bulk import bulk
from ledger.views.contract import Known

_say = structlog.get_logger("errata.rebuild")
_AHEAD_MAX = 2
"""Pieces that wait to be written: each holds the messages of a batch."""


class Behind:
    """Does things in order in a thread of its own, a few at most ahead of it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "errata-rebuild")
        self._waiting: deque[Future[object]] = deque()

    def __call__(self, act: Callable[..., object], *arguments: object) -> None:
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


class _Storing:
    """Stores checkpoints, as far as nobody else does: what a worker stores meanwhile stays, for its
    rows are the same.
    """

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self._overtaken = False

    def __call__(self, act: Callable[..., object], *arguments: object) -> None:
        """Do it when its turn comes."""
        self._behind(self._act, act, *arguments)

    def _act(self, act: Callable[..., object], *arguments: object) -> None:
        if self._overtaken:
            return
        try:
            act(*arguments)
        except Overtaken as error:
            self._overtaken = True
            _say.warning("the checkpoints are left to the worker that is ahead", why=str(error))


def _refuse_anew(dataset: Dataset, checkpoints: CheckpointWriter | None) -> None:
    if checkpoints and dataset.stand_in is not None:
        raise InvalidRequest(
            "the checkpoints stand in for the head of the log, which is gone: they cannot be made "
            "anew. `errata rebuild --no-checkpoints` makes the views"
        )


def rebuild(
    dataset: Dataset,
    views: Path | None,
    checkpoints: CheckpointWriter | None,
    told: Callable[[int], None] = lambda _: None,
    *,
    at: Position | None = None,
    gate: Callable[[Path], None] = lambda _: None,
) -> Position:
    """Make views and checkpoints from nothing; the position they have then. Where a worker stores
    checkpoints meanwhile, and is ahead, the rest of them is left to it.

    Args:
        dataset: the log.
        views: where the view is; None leaves it as it is.
        checkpoints: stores the checkpoints; None leaves them as they are.
        told: called with the number of events of each piece.
        at: how far, which need not be closed; to the log's end by default.
        gate: called with the file of the view when it is whole; the old one stays if it raises.
    """
    _refuse_anew(dataset, checkpoints)
    # Labels come first: governance that is read later has what they need.
    ends = at.labels if at else dataset.log.ends(Topic.LABELS)
    reader = GovernanceReader(dataset)
    governance = reader.refresh()
    stop = at.governance if at else reader.stop
    known = Known(stop, governance.prefix(stop))
    with ExitStack() as stack:
        view = stack.enter_context(bulk(views, dataset, known, gate)) if views else None
        if checkpoints:  # not before it is sure that the view may stand where it is to
            checkpoints.clear()
        writing, storing = stack.enter_context(Behind()), _Storing(stack.enter_context(Behind()))
        for partition, end in enumerate(ends):
            if view:
                writing(view.begin, partition, end)
            if checkpoints:
                storing(checkpoints.begin, partition, known.epochs)
            for piece in Follower(dataset, partition).advance(known.governance, end):
                assert isinstance(piece, Piece)
                if view:
                    writing(view.take, piece.delta)
                if checkpoints:
                    rows = Rows(partition, piece.start, piece.stop, piece.delta, piece.met)
                    storing(checkpoints.write, rows, known.epochs)
                told(piece.stop - piece.start)
            if view:
                writing(view.end)
            if checkpoints:
                storing(checkpoints.flush, partition, known.epochs)
    return Position(tuple(ends), known.stop)
