"""What is stored of a partition: its segments and its cuts, in one small file that never changes.

A manifest's name says which one it is, in a count of its own, and what its bytes hash to, so that
of several the newest is known from a listing, and a damaged one by its name. A new state is a new
manifest, the next one after that which its writer started from; the one before goes once it is
there. So a writer that died leaves nothing half said, and one that was frozen and wakes up adds
only a manifest that comes before the newest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from ledger.errors import CheckpointDamaged
from ledger.logs.base import Batch

FORMAT = 2
"""Grows when a release writes what older ones cannot read. Format 1 kept no messages."""
_IDENTITY = ("dataset", "topic_id", "partitions")
GONE = "gone"
REMEDY = "Make them again from the log: `errata rebuild --no-views`"
_NAME = re.compile(r"labels-\d{4,}/manifest/(\d{12})-([0-9a-f]{16})\.json", re.ASCII)
_OURS = re.compile(
    r"labels-\d{4,}/manifest/(\d{12}-[0-9a-f]{16}\.json|\.[^/]+\.partial)"
    r"|labels-\d{4,}/(void/)?(changes|corrections|reviews|refusals|kept)"
    r"/(\d{12,}-\d{12,}-[0-9a-f]{8}\.parquet|\.[^/]+\.partial)"
    r"|timeline/([0-9a-f]{16}-[0-9a-f]{16}\.arrow|\.[^/]+\.partial)",
    re.ASCII,
)


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stored(_Plain):
    """A Parquet file of one table, or of messages."""

    name: str
    rows: int
    size: int
    """In bytes."""
    sha256: str


class Segment(_Plain):
    """The rows of the offsets `[start, stop)`. Tables without a row there have no file."""

    start: int
    stop: int
    live: bool
    """Whether the range is live, or void, at the newest cut."""
    files: dict[str, Stored]
    kept: tuple[tuple[int, int], ...] = ()
    """The offsets `[start, stop)` of which all messages are kept."""


class Cut(_Plain):
    """A place up to which everything is there, and what governance said about it then."""

    offset: int
    epoch: int
    """The native epoch of what lies just below."""
    fingerprint: str
    met: tuple[int, ...]
    """The contract versions that events below name."""
    tie: str | None = None
    """What `Origin.tie` said of the log here; None of a cut within what was stored at once."""


class Manifest(_Plain):
    """What is stored of one partition.

    `number` is one more than that of the manifest before. `segments` are consecutive from offset 0
    to `stop`; `cuts` ascend, and the last one is at `stop`. `epoch` is the number of rollbacks that
    the writer knew.
    """

    format: int = FORMAT
    number: int
    dataset: str
    topic_id: str
    partition: int
    partitions: int
    epoch: int
    stop: int
    segments: tuple[Segment, ...]
    cuts: tuple[Cut, ...]

    def data(self) -> bytes:
        """The file's bytes."""
        return (json.dumps(self.model_dump(), sort_keys=True, indent=1) + "\n").encode()

    def name(self) -> str:
        """The file's name."""
        digest = hashlib.sha256(self.data()).hexdigest()[:16]
        return f"{folder(self.partition)}/manifest/{self.number:012}-{digest}.json"

    def files(self) -> Iterable[Stored]:
        """Every file that it names."""
        return (each for segment in self.segments for each in segment.files.values())


class Named(NamedTuple):
    """What a manifest's name says; of two the greater one counts."""

    number: int
    digest: str
    name: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which log checkpoints are of."""

    dataset: str
    topic_id: str
    partitions: int
    tie: Callable[[int, int], str | None] = field(compare=False)
    """Given a partition and an offset: a digest of the last message below it; None where the log
    has none, `GONE` where it lies in a head that is gone. A log that was restored from a backup
    keeps its topic's id, and not its events.
    """
    messages: Callable[[int, int, int], Iterable[Batch]] = field(compare=False)
    """Given a partition and offsets `[start, stop)`: the label messages there."""


class AnotherLog(CheckpointDamaged):
    """Checkpoints of another log stand there: they may be needed, and are not to be removed."""


def ours(name: str) -> bool:
    """Whether a file of this name is part of checkpoints, or was to be."""
    return _OURS.fullmatch(name) is not None


def folder(partition: int) -> str:
    """The folder of a partition."""
    return f"labels-{partition:04}"


def named(names: Iterable[str], partition: int) -> list[Named]:
    """The manifests of a partition among these files, the newest first."""
    mine = f"{folder(partition)}/"
    return sorted(manifests(name for name in names if name.startswith(mine)), reverse=True)


def manifests(names: Iterable[str]) -> list[Named]:
    """The manifests of all partitions among these files."""
    found = (_NAME.fullmatch(name) for name in names)
    return [Named(int(match[1]), match[2], match[0]) for match in found if match]


def parse(name: Named, data: bytes, origin: Origin, url: str) -> Manifest:
    """Read a manifest.

    Raises:
        CheckpointDamaged: its bytes are not those its name says, or it is of a newer release.
        AnotherLog: it is of another log.
    """
    where = f"checkpoint manifest {name.name} at {url}"
    if hashlib.sha256(data).hexdigest()[:16] != name.digest:
        raise CheckpointDamaged(f"{where} is damaged: its bytes are not those written. {REMEDY}")
    try:
        given = json.loads(data)
        _refuse_another(where, replace(origin, **{name: given[name] for name in _IDENTITY}), origin)
        if given["format"] > FORMAT:
            raise CheckpointDamaged(
                f"{where} has format {given['format']}, of a newer release; this one reads up to "
                f"{FORMAT}. Upgrade Errata. Or: {REMEDY}"
            )
        return Manifest.model_validate(given)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise CheckpointDamaged(f"{where} is no manifest: {error}. {REMEDY}") from error


def _refuse_another(where: str, mine: Origin, origin: Origin) -> None:
    if mine != origin:
        raise AnotherLog(
            f"{where} is of another log: of dataset {mine.dataset!r}, topic {mine.topic_id} with "
            f"{mine.partitions} partitions, and this one is {origin.dataset!r}, "
            f"{origin.topic_id}, {origin.partitions}. Give another place with ERRATA_CHECKPOINTS, "
            "or move that one away"
        )
