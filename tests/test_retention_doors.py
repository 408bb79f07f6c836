"""What is done with a log that lost its head: patches, tags and receipts go on, as far as
checkpoints tell of what is gone; and what no fold could be made of is refused at the door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger import Ledger
from ledger.core.outcome import Outcome
from ledger.errors import CorruptLog, InvalidRequest
from ledger.patches import Patches
from ledger.patches.edit import Edit
from ledger.receipts import receipt
from tests.events import proposal, vote
from tests.test_retention import PARTITIONS, Lose, book, lose, open_book, store

__all__ = ["book", "lose", "open_book"]
Reopen = Callable[[], Ledger]


def _standings(book: Ledger) -> list[dict[str, Any]]:
    found = (Patches(book).standing(each.event.patch_id) for each in Patches(book).all())
    return [
        {
            "status": {c.proposal.item_id: each.status(c) for c in each.corrections},
            "votes": [c.votes for c in each.corrections],
            "first_settled": each.first_settled,
        }
        for each in found
    ]


@pytest.mark.parametrize("lost", ["all", "some"])
def test_patches_go_on(book: Ledger, open_book: Reopen, lose: Lose, lost: str):
    """Of patches whose frames, proposals and votes are gone, all of them or those of some
    partitions, the same is told as before; they are settled, and the log is tagged.
    """
    patches = Patches(book)
    closed = patches.propose([Edit(f"s{i}", "dog", "cat") for i in range(4)], actor="bob")
    assert patches.settle(closed, "accept", actor="ann").decided
    waits = patches.propose([Edit(f"s{i}", "dog", "cat") for i in range(4, 8)], actor="bob")
    first = patches.standing(waits).corrections[0].proposal
    assert book.review(first.correction_id, "accept", actor="ann") is Outcome.APPLIED
    heads = list(book.resolve().labels)
    book.append([proposal(f"x{i}", f"t{i}", "cat", "dog") for i in range(8)])
    store(book.dataset, book)
    before = _standings(book)
    assert [len(each["first_settled"]) for each in before] != [0, 0]
    lose(book, heads if lost == "all" else [heads[0], 0])
    book = open_book()
    assert _standings(book) == before
    patches = Patches(book)
    assert patches.in_progress(book.resolve()) == [waits]
    assert patches.settle(waits, "accept", actor="ann").decided
    book.tag("v3", actor="ann")
    book.close()


def test_receipts(book: Ledger, open_book: Reopen, lose: Lose):
    """Of what came after the loss everything is told; of what is gone nothing is, least of all that
    it was not received: of a refused correction no checkpoint has the id.
    """
    book.append(
        [proposal("refused", "nothing", "cat", "dog"), proposal("lost", "t0", "cat", "dog")]
    )
    store(book.dataset, book)
    assert receipt(book, "refused").status == "refused"
    heads = list(book.resolve().labels)
    book.append([proposal(f"x{i}", f"t{i}", "cat", "dog") for i in range(8)])
    book.append([vote("x1", "t1")])
    store(book.dataset, book)
    before = receipt(book, "x1")
    lose(book, heads)
    book = open_book()
    assert receipt(book, "x1") == before
    for name, record in (("refused", None), ("refused", "nothing"), ("lost", None), ("no", None)):
        with pytest.raises(CorruptLog, match=r"cannot be told: .* begins at offset"):
            receipt(book, name, record)
    book.close()


def test_what_is_gone_stays_as_it_was(book: Ledger, open_book: Reopen, lose: Lose):
    """A rollback into what is gone, and a contract for it, are refused before they are appended."""
    store(book.dataset, book)
    v2 = book.resolve("v2")
    lose(book, [stop + 1 for stop in v2.labels])
    book = open_book()
    end, label = book.resolve(), book.snapshot().sha256
    version = book.governance.contract.version + 1
    rollback = {"type": "RolledBack", "to": v2.as_dict(), "actor": "ann", "approved_by": "bob"}
    early = {"type": "SchemaChanged", "version": version, "add": [{"name": "ox"}], "actor": "ann"}
    for given in (rollback, {**early, "at": [0] * PARTITIONS}):
        with pytest.raises(InvalidRequest, match=r"of partition 0, and what .* begins at"):
            book.append([given])
    assert book.resolve() == end
    book.append([early])
    assert book.snapshot().sha256 == label
    book.close()
