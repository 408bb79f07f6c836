"""Whether what is kept beside the log, its views and its checkpoints, is what the log says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import CheckpointDamaged, EventsLost, LedgerError
from ledger.logs.base import Topic
from ledger.reading import Reading
from ledger.replay import rebuild, replay
from ledger.snapshot import Difference, Snapshot

if TYPE_CHECKING:
    from ledger.checkpoints.reader import Checkpoints
    from ledger.checkpoints.store import Store

_LOOKS = 5
BACKUP = (
    "No log makes again what stands in for its lost events: restore the checkpoints from a backup"
)


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
    unchecked: str = ""
    """Why it was not compared, in a sentence; empty where it was."""

    @property
    def wrong(self) -> bool:
        """Whether anything is known to be wrong."""
        return bool(self.difference or self.problems)

    @property
    def proved(self) -> bool:
        """Whether it was compared, and nothing is wrong."""
        return not self.wrong and not self.unchecked


def verify_kept(book: Reading, views: Path) -> Iterator[Kept]:
    """Hold views and checkpoints against the log, as far as each has come. What was never made is
    passed over.

    Args:
        book: the ledger.
        views: where its views are.
    """
    yield from _told("checkpoints", lambda: _checkpoints(book))
    yield from _told("views", lambda: _views(book, views))


def stood_in(book: Reading) -> Iterator[str]:
    """What of the log could not be proved, for it is gone: a sentence for each partition."""
    dataset = book.dataset
    for partition in range(dataset.partitions):
        if head := dataset.head(partition):
            yield (
                f"{dataset.log.topic_name(Topic.LABELS)} partition {partition} begins at offset "
                f"{head}: what is before is taken from a checkpoint, whose files are as written. "
                "What it says is borne out by the hashes of the versions that hold it, and by "
                "nothing else"
            )


def now(book: Reading) -> Governance:
    """Governance at the log's end, which is not to change any more."""
    governance = book.governance
    return governance.prefix(book.reader.stop)


def unchecked(name: str, error: EventsLost) -> Kept:
    """What is kept under this name, where no replay can be had to hold it against."""
    return Kept(name, None, Difference(()), (), f"not checked: {error}")


def undisturbed(dataset: Dataset, store: Store, look: Callable[[], Kept | None]) -> Kept | None:
    """Look again where something is wrong and files of checkpoints were replaced meanwhile: then
    what is missing may only have been joined with others.

    Args:
        dataset: the log.
        store: the checkpoints.
        look: may raise `CheckpointDamaged`, which is a problem like others.
    """
    from ledger.checkpoints.manifest import REMEDY

    found: Kept | None = None
    for _ in range(_LOOKS):
        before = _manifests(store)
        try:
            found = look()
        except CheckpointDamaged as error:
            found = Kept("checkpoints", None, Difference(()), (str(error),))
        if found is None or not found.wrong or _manifests(store) == before:
            break
    if found is None or dataset.stand_in is None:
        return found
    apt = (each.replace(REMEDY, BACKUP) for each in found.problems)
    return found._replace(problems=tuple(apt))


def _manifests(store: Store) -> set[str]:
    from ledger.checkpoints.manifest import manifests

    return {each.name for each in manifests(store.files.list(""))}


def _told(name: str, ask: Callable[[], Kept | None]) -> Iterator[Kept]:
    try:
        found = ask()
    except EventsLost as error:
        found = unchecked(name, error)
    except LedgerError as error:
        found = Kept(name, None, Difference(()), (str(error),))
    if found is not None:
        yield found


def _checkpoints(book: Reading) -> Kept | None:
    stored = book.checkpoints
    if stored is None:
        return None
    return undisturbed(book.dataset, stored.store, lambda: _stored(book, stored))


def _stored(book: Reading, stored: Checkpoints) -> Kept | None:
    governance = now(book)
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


def _views(book: Reading, path: Path) -> Kept | None:
    if not path.exists():
        return None
    try:
        from ledger.views.reader import View
    except ImportError as error:
        why = f"not checked: that needs the extra `views` ({error}): pip install 'errata[views]'"
        return Kept("views", None, Difference(()), (), why)

    dataset = book.dataset
    with View.open(path, dataset) as view, view.still():
        labels = view.position.labels
        # Where one has met what another has not, all are taken as of what each knows.
        least = min(view.place(partition).governance for partition in range(view.partitions))
        governance = now(book)  # not read before the view, which may be ahead of it else
        position = governance.floor(Position(labels, least))
        answered = view.answers(governance, position)
        frame = view.labels(governance, position) if answered else None
    if frame is None:
        return _held("views", dataset, position, None)
    from ledger.columnar.snapshot import ColumnarSnapshot

    contract = governance.prefix(position.governance).contract
    texts = partial(replay, dataset, position)
    found = ColumnarSnapshot(position, contract, frame, texts)
    return _held("views", dataset, position, found)


def _held(name: str, dataset: Dataset, position: Position, found: Snapshot | None) -> Kept:
    if found is None:
        why = "not checked: its partitions have not all come to the same rollbacks yet"
        return Kept(name, position, Difference(()), (), why)
    return Kept(name, position, rebuild(dataset, position).diff(found), ())
