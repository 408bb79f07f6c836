"""The command line in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.cli.command import Errata
from tests.events import item, proposal, vote


@pytest.fixture
def errata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Errata]:
    """No dataset yet; `ann` acts."""
    for name in [name for name in os.environ if name.startswith("ERRATA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ERRATA_ACTOR", "ann")
    monkeypatch.chdir(tmp_path)
    yield Errata(tmp_path)
    structlog.reset_defaults()  # it writes to the standard error of a call that is over


@pytest.fixture
def book(errata: Errata) -> Errata:
    """Three partitions; classes cat and dog; a, b, c are cats, and a was corrected to dog."""
    errata("init", "--partitions", "3", "--class", "cat", "--class", "dog")
    events = [*(item(name, "cat") for name in "abc"), proposal("c1", "a", "cat", "dog")]
    errata("append", errata.write("book.jsonl", [*events, vote("c1", "a")]))
    return errata
