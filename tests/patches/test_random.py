"""Random histories of patches, reviews, contract changes, versions and rollbacks."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from ledger import InvalidRequest, Ledger
from ledger.copying import copy
from ledger.core.events import Decision, Settlement
from ledger.patches import Edit, Patches
from tests.events import schema
from tests.patches.material import NAMES, animals, here, labels, policy
from tests.patches.test_either_log import told

PEOPLE = ("ann", "bob", "eve", "max")
STEPS = 25


class World:
    """One history on its way; every step holds what must hold after it."""

    def __init__(self, book: Ledger, seed: int) -> None:
        self.book = book
        self.patches = Patches(book)
        self.chance = random.Random(seed)
        self.done: dict[str, int] = {}

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (6, self.propose),
            (8, self.settle),
            (4, self.review),
            (2, self.withdraw),
            (1, self.approvals),
            (1, self.rename),
            (2, self.tag),
            (1, self.rollback),
        ]
        weights = [weight for weight, _ in steps]
        act = self.chance.choices([each for _, each in steps], weights)[0]
        end, before = self.book.resolve(), labels(self.book)
        try:
            act()
        except InvalidRequest:
            assert (self.book.resolve(), labels(self.book)) == (end, before)
        else:
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
        for tag in self.book.governance.tags.values():
            assert not self.book.governance.cuts(tag.event.position)

    def propose(self) -> None:
        now, end = labels(self.book), self.book.resolve()
        names = self.chance.sample([*NAMES, "bare", "new"], self.chance.randint(1, 4))
        classes = [*self.book.governance.contract.classes, None]
        edits = [
            Edit(
                name, now.get(name), self.chance.choice([c for c in classes if c != now.get(name)])
            )
            for name in names
        ]
        patch_id = self.patches.propose(edits, actor=self.chance.choice(PEOPLE))
        if self.book.resolve() != end:
            standing = self.patches.standing(patch_id)
            assert standing.counts() == {"open": len(edits)}

    def settle(self) -> None:
        patch = self.chance.choice(self.patches.all() or [None])
        if patch is None:
            return
        patch_id, person = patch.event.patch_id, self.chance.choice(PEOPLE)
        decision: Settlement = self.chance.choice(["accept", "accept", "keep"])
        skip, before = self.chance.random() < 0.2, labels(self.book)
        settled = self.patches.settle(patch_id, decision, actor=person, skip_stale=skip)
        frame = self.patches.get(patch_id)
        assert settled.decided == (frame.settlement is not None) == (not settled.missing)
        assert settled.counts == self.patches.standing(patch_id).counts()
        if frame.settlement == patch.settlement:
            return
        assert person != frame.event.actor
        assert not self.patches.standing(patch_id).open
        if decision == "keep":
            assert labels(self.book) == before
        elif not skip:
            assert settled.counts == {"applied": frame.event.count}

    def review(self) -> None:
        decision: Decision = self.chance.choice(get_args(Decision))
        correction = self.chance.choice(list(self.book.state().corrections()) or [None])
        if correction is not None:
            person = self.chance.choice(PEOPLE)
            self.book.review(
                correction.proposal.correction_id,
                decision,
                actor=person,
                record_id=correction.proposal.record_id,
            )

    def withdraw(self) -> None:
        correction = self.chance.choice(list(self.book.state().corrections()) or [None])
        if correction is not None:
            proposal = correction.proposal
            self.book.withdraw(
                proposal.correction_id, actor=proposal.actor, record_id=proposal.record_id
            )

    def approvals(self) -> None:
        policy(self.book, approvals_required=self.chance.randint(1, 2))

    def rename(self) -> None:
        version = self.book.governance.highest_version + 1
        old = self.chance.choice(list(self.book.governance.contract.classes))
        self.book.append([schema(version, rename={old: f"{old}{version}"})])

    def tag(self) -> None:
        name = f"v{len(self.book.governance.tags)}"
        head = self.book.resolve()
        if not self.patches.in_progress(head):
            sha256 = self.book.snapshot().sha256
            fields = {"name": name, "position": head.as_dict(), "content_hash": sha256}
            self.book.govern({"type": "VersionTagged", "actor": "ann", **fields})

    def rollback(self) -> None:
        tag = self.chance.choice(list(self.book.governance.tags.values()) or [None])
        if tag is not None and not tag.event.position.same_prefix(self.book.resolve()):
            self.book.rollback(tag.event.name, actor="ann", approved_by="bob")
            assert self.book.snapshot().sha256 == tag.event.content_hash


@pytest.mark.parametrize("seed", range(12))
def test_random_histories(tmp_path: Path, seed: int) -> None:
    """What is refused changes nothing; what is settled is settled whole; what is tagged is never
    cut, can be rolled back to, and is the same in a copy of another layout.
    """
    with (
        animals(here(tmp_path, "one"), 3) as book,
        Ledger.create(**here(tmp_path, "two"), partitions=2) as other,
    ):
        world = World(book, seed)
        for _ in range(STEPS):
            world.step()
        assert world.done["propose"], world.done
        assert world.done["settle"], world.done
        copy(book.dataset, other.dataset)
        assert told(other) == told(book)
        assert labels(other) == labels(book)
