"""The history that the bench of versions asks about, and the rows that the fold makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from ledger.columnar.delta import CHANGES, CORRECTIONS, REFUSALS, REVIEWS, Delta
from ledger.columnar.strings import PADDING, partitions_of
from ledger.core.events import ClassAdded, SchemaChanged, VersionTagged
from ledger.core.governance import Governance
from ledger.core.position import Position

PARTITIONS = 4
CLASSES = np.array([f"class{i:02}" for i in range(20)])
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_MS = 1_767_225_600_000
DAY_MS = 86_400_000


class World:
    """The history: which items each version corrects, and to what.

    Args:
        items: how many.
        versions: how many follow the first one.
    """

    def __init__(self, items: int, versions: int) -> None:
        random = np.random.default_rng(7)
        self.items, self.versions = items, versions
        self.ids = np.array([f"item-{i:09}" for i in range(items)])
        data = np.frombuffer("".join(self.ids.tolist()).encode() + bytes(PADDING), np.uint8)
        starts = np.arange(items) * 14
        self.home = partitions_of(data, starts, np.full(items, 14), PARTITIONS)
        self.labels = [np.arange(items) % 20]
        self.corrected: list[Any] = []
        for _ in range(versions):
            chosen = random.choice(items, items // 100, replace=False)
            after = self.labels[-1].copy()
            after[chosen] = (after[chosen] + random.integers(1, 20, len(chosen))) % 20
            self.corrected.append(chosen)
            self.labels.append(after)
        counts = np.bincount(self.home, minlength=PARTITIONS)
        self.ends = [counts]
        for chosen in self.corrected:
            self.ends.append(
                self.ends[-1] + 2 * np.bincount(self.home[chosen], minlength=PARTITIONS)
            )

    def position(self, version: int) -> Position:
        """Where a version was tagged."""
        return Position(tuple(self.ends[version].tolist()), 1 + version)

    def governance(self) -> Governance:
        """One contract of 20 classes; a tag for each version."""
        made = Governance(PARTITIONS, _never_used)
        common: dict[str, Any] = {"actor": "admin", "occurred_at": EPOCH}
        add = tuple(ClassAdded(name) for name in CLASSES.tolist())
        at = (0,) * PARTITIONS
        schema = SchemaChanged(
            event_id="s", contract_version=0, version=1, at=at, add=add, **common
        )
        made.apply(0, schema)
        for version in range(self.versions + 1):
            tag = VersionTagged(
                event_id=f"t{version}",
                contract_version=1,
                name=f"labels-v{version}",
                position=self.position(version),
                **common,
            )
            made.apply(1 + version, tag)
        return made

    def deltas(self, partition: int) -> Iterator[tuple[int, Delta]]:
        """What each version changed in a partition, and where it ends."""
        random = np.random.default_rng(partition)
        mine = np.nonzero(self.home == partition)[0]
        made_at = np.zeros(self.items, np.int64)
        made_at[mine] = np.arange(len(mine))
        place = {"partition": partition, "epoch": 0, "said_under": 1}
        registered = {
            **place,
            "offset": made_at[mine],
            "timestamp_ms": EPOCH_MS + made_at[mine] // 50,
            "outcome": "registered",
            "actor": "importer",
            "item_offset": made_at[mine],
            "item_id": self.ids[mine],
            "record_id": self.ids[mine],
            "label": CLASSES[self.labels[0][mine]],
            "contract": 1,
            "split": "train",
        }
        yield int(self.ends[0][partition]), _delta(changes=registered)
        for version, chosen in enumerate(self.corrected):
            items = chosen[self.home[chosen] == partition]
            count = len(items)
            offset = int(self.ends[version][partition]) + 2 * np.arange(count)
            clock = EPOCH_MS + (version + 1) * DAY_MS + np.cumsum(random.integers(0, 8000, count))
            about = {**place, "item_id": self.ids[items], "record_id": self.ids[items]}
            old, new = (CLASSES[self.labels[version + i][items]] for i in (0, 1))
            names = [random.bytes(16).hex() for _ in range(count)]
            proposed = {
                **about,
                "offset": offset,
                "timestamp_ms": clock,
                "actor": np.char.add("annotator-", random.integers(0, 50, count).astype(str)),
                "correction_id": names,
                "from_label": old,
                "to_label": new,
                "source": "feedback",
            }
            voted = {
                **about,
                "offset": offset + 1,
                "timestamp_ms": clock + random.integers(1000, 60_000, count),
                "actor": np.char.add("reviewer-", random.integers(0, 20, count).astype(str)),
                "correction_offset": offset,
                "outcome": "applied",
            }
            review = {**voted, "correction_id": names, "decision": "accept"}
            change = {**voted, "item_offset": made_at[items], "label": new, "contract": 1}
            yield (
                int(self.ends[version + 1][partition]),
                _delta(changes=change, corrections=proposed, reviews=review),
            )


def _never_used(partition: int, version: int, start: int, stop: int) -> None:
    """Every position is within the heads that the contract change read."""
    del partition, version, start, stop


def _delta(**given: dict[str, Any]) -> Delta:
    schemas = {
        "changes": CHANGES,
        "corrections": CORRECTIONS,
        "reviews": REVIEWS,
        "refusals": REFUSALS,
    }
    frames: list[pl.DataFrame] = []
    for table, schema in schemas.items():
        columns = given.get(table)
        if columns is None:
            frames.append(pl.DataFrame(schema=schema))
            continue
        frame = pl.DataFrame({"offset": columns["offset"]})
        cells = [
            (
                pl.lit(columns[name])
                if not isinstance(columns.get(name), list | np.ndarray)
                else pl.Series(columns[name])
            )
            if name in columns
            else pl.lit(None)
            for name in schema
        ]
        frames.append(
            frame.select(
                cell.cast(kind).alias(name)
                for cell, (name, kind) in zip(cells, schema.items(), strict=True)
            )
        )
    return Delta(*frames)
