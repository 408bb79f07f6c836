"""A book of pictures: boxes with areas, splits, and two people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from tests.events import item, proposal, schema, vote


class Book:
    """A ledger whose contract and labels a test changes in a line."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._corrections = 0

    def change(self, *classes: str, **more: Any) -> None:
        """Append a schema change as it is."""
        version = self.ledger.governance.highest_version + 1
        self.ledger.append([schema(version, *classes, **more)])

    def items(self, labels: Mapping[str, str | None], **more: Any) -> None:
        """Register items that have these labels."""
        self.ledger.append([item(name, label, **more) for name, label in labels.items()])

    def boxes(self, label: str, areas: Mapping[str, float], **more: Any) -> None:
        """Register boxes one high, of these areas."""
        for name, area in areas.items():
            shape = {"type": "bbox", "coordinates": [0.0, 0.0, float(area), 1.0]}
            self.ledger.append([item(name, label, geometry=shape, **more)])

    def correct(self, item_id: str, before: str | None, after: str | None) -> None:
        """A correction that ann accepts."""
        self._corrections += 1
        name = f"c{self._corrections}"
        self.ledger.append([proposal(name, item_id, before, after), vote(name, item_id)])

    def tag(self, name: str) -> str:
        """Tag what is there."""
        return self.ledger.tag(name, actor="ann").name

    def labels(self) -> dict[str, str]:
        """The label of every item that has one."""
        return {row.item_id: row.label for row in self.ledger.snapshot().rows}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """Two partitions and no class."""
    with Ledger.create(f"sqlite:///{tmp_path}/log.db", "pictures", partitions=2) as ledger:
        yield Book(ledger)
