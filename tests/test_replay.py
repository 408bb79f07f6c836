"""Governance as it is read on, where the log fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.dataset import Entry
from ledger.errors import LogUnavailable
from ledger.replay import GovernanceReader
from tests.events import schema


def test_what_was_folded_is_not_folded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that breaks off half-way leaves a reader that goes on from there."""
    with Ledger.create(log=f"sqlite:///{tmp_path}/log.db", dataset="birds") as book:
        book.append([schema(1, "cat")])
        book.append([schema(2, "dog")])
        read = book.dataset.entries

        def broken(*where: Any) -> Iterator[Entry]:
            yield next(iter(read(*where)))
            raise LogUnavailable("the broker does not answer")

        reader = GovernanceReader(book.dataset)
        with monkeypatch.context() as patched:
            patched.setattr(book.dataset, "entries", broken)
            with pytest.raises(LogUnavailable):
                reader.refresh()
        whole = GovernanceReader(book.dataset)
        assert reader.refresh().contract == whole.refresh().contract
        assert (reader.stop, reader.outcomes) == (whole.stop, whole.outcomes)
