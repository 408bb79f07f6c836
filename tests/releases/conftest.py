"""Ledgers with releases, in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from tests.releases.stories import whole_life

Open = Callable[[str, int], Ledger]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Open]:
    """Makes a dataset of a name and a number of partitions."""
    books: list[Ledger] = []

    def make(name: str, partitions: int) -> Ledger:
        books.append(Ledger.create(f"sqlite:///{tmp_path}/log.db", name, partitions=partitions))
        return books[-1]

    yield make
    for book in books:
        book.close()


@pytest.fixture
def book(made: Open) -> Ledger:
    """An empty dataset of three partitions."""
    return made("labels", 3)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """`stories.whole_life`, to read only."""
    folder = tmp_path_factory.mktemp("life")
    with Ledger.create(f"sqlite:///{folder}/log.db", "life", partitions=1) as made:
        whole_life(made)
        yield made
