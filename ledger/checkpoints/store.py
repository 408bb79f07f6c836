"""What is stored of every partition, checked before it is believed.

`Partition` reads one state of one partition. What a manifest names is read whole and held against
the size and the SHA-256 that the manifest says; what is not so raises `CheckpointDamaged`, in a
sentence that names the file and the remedy. A writer may replace files while they are read: then
there is a newer manifest, and `Store.partition` gives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ledger.checkpoints.files import Files
from ledger.checkpoints.manifest import (
    GONE,
    REMEDY,
    AnotherLog,
    Manifest,
    Named,
    Origin,
    Stored,
    folder,
    manifests,
    named,
    parse,
)
from ledger.checkpoints.segments import SCHEMAS, TABLES, decode, stored, whole
from ledger.columnar.delta import Delta
from ledger.columnar.restore import NEEDED
from ledger.core.epochs import Epochs, fingerprint, live
from ledger.core.governance import Governance
from ledger.dataset import Dataset
from ledger.errors import CheckpointDamaged, CorruptLog, InvalidRequest
from ledger.logs.base import Batch, Log, Topic


@dataclass(frozen=True, slots=True)
class Restored:
    """The rows of everything live in `[0, stop)` of a partition."""

    stop: int
    delta: Delta


@dataclass(frozen=True, slots=True)
class Partition:
    """One state of what is stored of a partition; `name` is the manifest's."""

    files: Files
    name: str
    manifest: Manifest
    origin: Origin
    _tied: list[int] = field(default_factory=list[int], compare=False)

    def tied(self) -> int:
        """How far what is stored is of the events that the log holds: up to the newest cut whose
        tie to the log still holds, or lies in a head that is gone. It is looked up once.
        """
        if not self._tied:
            tie, partition = self.origin.tie, self.manifest.partition
            cuts = (cut for cut in reversed(self.manifest.cuts) if cut.tie is not None)
            found = (c.offset for c in cuts if tie(partition, c.offset) in (c.tie, GONE))
            self._tied.append(next(found, 0))
        return self._tied[0]

    def valid(self, epochs: Epochs) -> int:
        """How far what is stored is what these epochs make of the log: epoch by epoch, up to the
        newest cut whose fingerprint is the same under them; and not beyond what is `tied`.
        """
        reach, partition = 0, self.manifest.partition
        for epoch, start, stop in epochs.ranges(partition, self.manifest.stop):
            cuts = [cut for cut in self.manifest.cuts if start < cut.offset <= stop]
            governance = epochs.governances[epoch]
            for cut in reversed(cuts):
                now = fingerprint(governance, partition, cut.offset, cut.met)
                if (epoch, now) == (cut.epoch, cut.fingerprint):
                    reach = cut.offset
                    break
            if reach < stop:
                break
        return min(reach, self.tied()) if reach else 0

    def restore(self, governance: Governance, stop: int) -> Restored:
        """The rows of the greatest `[0, stop)` that can be had under a governance: those of every
        offset below the newest cut that it bears out, with the columns that a restored fold needs.

        Args:
            governance: under which the fold will go on.
            stop: not beyond here.
        """
        epochs, partition = Epochs(governance), self.manifest.partition
        reach = min(stop, self.valid(epochs))
        tries = [reach, *(cut.offset for cut in reversed(self.manifest.cuts) if cut.offset < reach)]
        at = next((each for each in tries if epochs.stands(governance, partition, each)), 0)
        return Restored(at, self.delta(live(governance, partition, at), NEEDED))

    def delta(
        self,
        ranges: Sequence[tuple[int, int]],
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> Delta:
        """Every row of these offsets, with all columns or with those named for each table. A review
        whose correction lies elsewhere is without what the correction says of itself.
        """
        chosen = columns or dict.fromkeys(TABLES)
        return whole({table: self.rows(table, ranges, chosen[table]) for table in TABLES})

    def rows(
        self,
        table: str,
        ranges: Sequence[tuple[int, int]] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The stored columns of a table, or some of them, in offset order.

        Args:
            table: its name.
            ranges: the offsets `[start, stop)` wanted, ascending; all of them by default.
            columns: what is wanted; `offset` must be among them where `ranges` are given.
        """
        empty = stored(table, pl.DataFrame(schema=SCHEMAS[table]))
        wanted_columns = [name for name in empty.columns if columns is None or name in columns]
        frames = [empty.select(wanted_columns)]
        for segment in self.manifest.segments:
            wanted = (
                [(segment.start, segment.stop)]
                if ranges is None
                else [
                    (max(start, segment.start), min(stop, segment.stop))
                    for start, stop in ranges
                    if max(start, segment.start) < min(stop, segment.stop)
                ]
            )
            file = segment.files.get(table)
            if file is None or not wanted:
                continue
            frame = decode(table, self.read(file), columns)
            if wanted != [(segment.start, segment.stop)]:
                inside = (
                    pl.col("offset").is_between(start, stop, closed="left")
                    for start, stop in wanted
                )
                frame = frame.filter(pl.any_horizontal(inside))
            frames.append(frame)
        return pl.concat(frames)

    def read(self, file: Stored) -> bytes:
        """The bytes of a file, checked."""
        return checked(self.files, file)

    def damage(self) -> Iterator[str]:
        """What is wrong with each file, as sentences."""
        for file in self.manifest.files():
            try:
                self.read(file)
            except CheckpointDamaged as error:
                yield str(error)


def checked(files: Files, file: Stored) -> bytes:
    """The bytes of a file.

    Raises:
        CheckpointDamaged: it is missing, or its bytes are others.
    """
    data = files.read(file.name)
    where = f"checkpoint file {file.name} at {files.url}"
    if data is None:
        raise CheckpointDamaged(f"{where} is missing. {REMEDY}")
    if len(data) != file.size:
        raise CheckpointDamaged(
            f"{where} is damaged: it has {len(data)} bytes of {file.size}. {REMEDY}"
        )
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise CheckpointDamaged(f"{where} is damaged: its bytes are not those written. {REMEDY}")
    return data


class Store:
    """The checkpoints of a dataset.

    Args:
        files: where they are.
        origin: which log they are of.
    """

    def __init__(self, files: Files, origin: Origin) -> None:
        self.files = files
        self.origin = origin

    def partition(self, partition: int) -> Partition | None:
        """What is stored of a partition; None where nothing is.

        Raises:
            CheckpointDamaged: nothing that is stored can be believed.
        """
        listed = self.files.list(folder(partition))
        return self._newest(partition, set(listed), named(listed, partition))

    def partitions(self) -> list[Partition | None]:
        """What is stored of every partition."""
        listed = set(self.files.list(""))
        return [
            self._newest(number, listed, named(listed, number))
            for number in range(self.origin.partitions)
        ]

    def refuse_another(self, names: Iterable[str]) -> None:
        """Raise `AnotherLog` if one of these files is the manifest of another log."""
        for name in manifests(names):
            data = self.files.read(name.name)
            try:
                _ = data is None or parse(name, data, self.origin, self.files.url)
            except AnotherLog:
                raise
            except CheckpointDamaged:
                continue  # nobody's

    def _newest(
        self, partition: int, listed: set[str], manifests: Sequence[Named]
    ) -> Partition | None:
        """The newest manifest of which every file is there."""
        why: CheckpointDamaged | None = None
        for name in manifests:
            data = self.files.read(name.name)
            if data is None:
                continue  # replaced meanwhile
            try:
                manifest = parse(name, data, self.origin, self.files.url)
            except AnotherLog:
                raise
            except CheckpointDamaged as error:
                why = why or error
                continue
            missing = sorted({file.name for file in manifest.files()} - listed)
            if not missing:
                return Partition(self.files, name.name, manifest, self.origin)
            why = why or CheckpointDamaged(
                f"checkpoint file {missing[0]} at {self.files.url} is missing. {REMEDY}"
            )
        if why is not None:
            raise why
        return None


def origin_of(dataset: Dataset) -> Origin:
    """Which log a dataset is."""
    log = dataset.log

    def tie(partition: int, offset: int) -> str | None:
        if offset <= dataset.head(partition) > 0:
            return GONE
        return _last_message(log, partition, offset)

    def messages(partition: int, start: int, stop: int) -> Iterator[Batch]:
        return log.read(Topic.LABELS, partition, start, stop)

    return Origin(log.dataset, log.topic_ids()[Topic.LABELS], dataset.partitions, tie, messages)


def _last_message(log: Log, partition: int, offset: int) -> str | None:
    """A digest of the last label message below an offset, which a log may hold some offsets before;
    None where the log does not reach so far, or holds nothing there.
    """
    start, width = offset, 1
    while start > 0:
        start = max(0, offset - width)
        try:
            batches = list(log.read(Topic.LABELS, partition, start, offset))
        except (InvalidRequest, CorruptLog):
            return None
        if batches:
            last = batches[-1]
            said = (last.offsets[-1], last.timestamps_ms[-1], last.keys[-1], last.values[-1])
            return hashlib.sha256(repr(said).encode()).hexdigest()
        width *= 16
    return None
