"""Views and checkpoints from the log alone, as fast as it can be folded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import structlog

from consumers.follower import Follower, Piece
from ledger.checkpoints.writer import CheckpointWriter, Overtaken, Rows
from ledger.columnar.delta import Delta
from ledger.core.epochs import Epochs
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic
from ledger.replay import GovernanceReader
from ledger.views.bulk import bulk
from ledger.views.contract import Known

_say = structlog.get_logger("errata.rebuild")
_PIECES_MAX = 6
"""Pieces that wait to be written: each holds the messages of a batch."""
_STORING_MAX = 2
"""Likewise of what is stored as checkpoints, and holds much."""
_GATHERED_MAX, _GATHERED_BYTES_MAX = 1 << 20, 1 << 28
"""How many events of a partition, and bytes of their rows, are stored as checkpoints at once."""


class Behind:
    """Does things in order in a thread of its own.

    Args:
        ahead_max: how many may wait for it.
    """

    def __init__(self, ahead_max: int) -> None:
        self._ahead_max = ahead_max
        self._pool = ThreadPoolExecutor(1, "errata-rebuild")
        self._waiting: deque[Future[object]] = deque()

    def __call__(self, act: Callable[..., object], *arguments: object) -> None:
        """Do it when its turn comes. What an earlier one raised is raised here."""
        self._waiting.append(self._pool.submit(act, *arguments))
        while len(self._waiting) > self._ahead_max:
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

    Much is gathered first: what is stored joins what was stored before, which is written again.
    """

    def __init__(self, checkpoints: CheckpointWriter, epochs: Epochs, behind: Behind) -> None:
        self._checkpoints, self._epochs, self._behind = checkpoints, epochs, behind
        self._gathered: list[Piece] = []
        self._bytes = 0
        self._overtaken = False

    def begin(self, partition: int) -> None:
        """The rows of a partition follow."""
        self._behind(self._act, self._checkpoints.begin, partition, self._epochs)

    def take(self, piece: Piece) -> None:
        """Store its rows, when there are enough."""
        self._gathered.append(piece)
        self._bytes += sum(frame.estimated_size() for frame in piece.delta)
        events = piece.stop - self._gathered[0].start
        if events >= _GATHERED_MAX or self._bytes >= _GATHERED_BYTES_MAX:
            self._store()

    def end(self, partition: int) -> None:
        """The partition has all its rows."""
        self._store(partition)

    def _store(self, ended: int | None = None) -> None:
        gathered, self._gathered, self._bytes = self._gathered, [], 0
        self._behind(self._act, self._write, gathered, ended)

    def _write(self, gathered: list[Piece], ended: int | None) -> None:
        if gathered:
            self._checkpoints.write(_joined(gathered), self._epochs)
        if ended is not None:
            self._checkpoints.flush(ended, self._epochs)

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


def _joined(parts: Sequence[Piece]) -> Rows:
    """The rows of pieces that follow each other."""
    first, last = parts[0], parts[-1]
    delta = Delta(*map(pl.concat, zip(*(part.delta for part in parts), strict=True)))
    met = frozenset[int]().union(*(part.met for part in parts))
    return Rows(first.partition, first.start, last.stop, delta, met)


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
    known = _known(dataset, at)
    with ExitStack() as stack:
        behind = stack.enter_context(Behind(_STORING_MAX))  # it stores on while a view is finished
        view = stack.enter_context(bulk(views, dataset, known, gate)) if views else None
        if checkpoints:  # not before it is sure that the view may stand where it is to
            checkpoints.clear()
        storing = _Storing(checkpoints, known.epochs, behind) if checkpoints else None
        writing = stack.enter_context(Behind(_PIECES_MAX))
        for partition, end in enumerate(ends):
            if view:
                writing(view.begin, partition, end)
            if storing:
                storing.begin(partition)
            for piece in Follower(dataset, partition).advance(known.governance, end):
                assert isinstance(piece, Piece)
                if view:
                    writing(view.take, piece.delta)
                if storing:
                    storing.take(piece)
                told(piece.stop - piece.start)
            if view:
                writing(view.end)
            if storing:
                storing.end(partition)
    return Position(tuple(ends), known.stop)


def _known(dataset: Dataset, at: Position | None) -> Known:
    """Governance as it is at a position, or now."""
    reader = GovernanceReader(dataset)
    governance = reader.refresh()
    stop = at.governance if at else reader.stop
    return Known(stop, governance.prefix(stop))
