"""Whether what is kept beside the log, its views and its checkpoints, is what the log says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import LedgerError
from ledger.reading import Reading
from ledger.replay import rebuild, replay
from ledger.snapshot import Difference, Snapshot


class Kept(NamedTuple):
    """What is kept, beside a replay to the position that it has come to."""

    name: str
    """`views` or `checkpoints`."""
    position: Position | None
    """None where it cannot be told."""
    difference: Difference
    """From what a replay says to what is kept."""
    problems: tuple[str, ...]
    """What else is wrong with it, in sentences."""

    @property
    def proved(self) -> bool:
        """Whether nothing is wrong."""
        return not self.difference and not self.problems


def verify_kept(book: Reading, views: Path) -> Iterator[Kept]:
    """Hold views and checkpoints against the log, as far as each has come. What was never made is
    passed over.

    Args:
        book: the ledger.
        views: where its views are.
    """
    book.resolve()
    governance = book.governance.prefix(book.reader.stop)
    yield from _told("checkpoints", lambda: _checkpoints(book, governance))
    yield from _told("views", lambda: _views(book.dataset, governance, views))


def _told(name: str, ask: Callable[[], Kept | None]) -> Iterator[Kept]:
    try:
        found = ask()
    except LedgerError as error:
        found = Kept(name, None, Difference(()), (str(error),))
    if found is not None:
        yield found


def _checkpoints(book: Reading, governance: Governance) -> Kept | None:
    stored = book.checkpoints
    if stored is None:
        return None
    reach = stored.reach(governance)
    parts = [part for part in stored.store.partitions() if part]
    if not parts:
        return None
    damage = tuple(sentence for part in parts for sentence in part.damage())
    position = governance.floor(Position(reach, book.reader.stop))
    if damage:
        return Kept("checkpoints", position, Difference(()), damage)
    found = stored.snapshot(governance, position)
    return _held("checkpoints", book.dataset, position, found)


def _views(dataset: Dataset, governance: Governance, path: Path) -> Kept | None:
    if not path.exists():
        return None
    from ledger.views.reader import View

    with View.open(path, dataset) as view:
        position = governance.floor(view.position)
        answered = view.answers(governance, position)
        frame = view.labels(governance, position) if answered else None
    if frame is None:
        return _held("views", dataset, position, None)
    from ledger.columnar.snapshot import ColumnarSnapshot

    version = governance.prefix(position.governance).contract.version
    texts = partial(replay, dataset, position)
    found = ColumnarSnapshot(position, version, frame, texts)
    return _held("views", dataset, position, found)


def _held(name: str, dataset: Dataset, position: Position, found: Snapshot | None) -> Kept:
    if found is None:
        why = f"the {name} cannot answer {position}, as far as they have come"
        return Kept(name, position, Difference(()), (why,))
    return Kept(name, position, rebuild(dataset, position).diff(found), ())
