"""People who say everything there is to say, right and wrong, for as long as they are let.

As a program it appends to a dataset until it is told to stop (SIGTERM), and writes the id of each
acknowledged event as a line into a file:

    python -m tests.faults.crowd LOG DATASET SEED FILE

A log that is away is waited for: what was not acknowledged is appended again, under the same ids.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ledger import Ledger, LogUnavailable
from ledger.clock import milliseconds, now
from ledger.core.events import ItemRegistered
from ledger.core.position import Position
from ledger.logs.base import Message, Topic
from tests.events import Fields, item, proposal, vote

PEOPLE = ("ann", "bob", "eve", "joe")
CLASSES = ("cat", "dog", "owl", "hen")
_PAUSE_S_MAX = 0.08
_AGAIN_S = 0.2


class Correction(NamedTuple):
    """A correction that somebody may decide on."""

    name: str
    item: str
    actor: str


class Crowd:
    """Appends to a ledger, at random but the same for the same seed.

    Args:
        book: the ledger.
        seed: what it says is a function of it, but for positions and contract versions.
        told: called with the ids of events when they are acknowledged.
    """

    def __init__(
        self, book: Ledger, seed: int, told: Callable[[Sequence[str]], None] = lambda _: None
    ) -> None:
        self._book, self._told = book, told
        self._random = random.Random(seed)
        self._labels: dict[str, str | None] = {}
        self._corrections: list[Correction] = []
        self._last: list[Fields] = []
        self._tagged: list[Position] = []
        self._count = 0

    def begin(self) -> None:
        """Make the classes."""
        add = [{"name": name} for name in CLASSES]
        self._append([{"type": "SchemaChanged", "version": 1, "add": add, "actor": "ann"}])

    def turn(self) -> None:
        """Say something, or a few things at once."""
        chance = self._random.random()
        if chance < 0.02:
            self._govern()
        elif chance < 0.03:
            self.tag()
        elif chance < 0.035:
            self.roll_back()
        elif chance < 0.05:
            self._foreign_bytes()
        elif chance < 0.07:
            self._append(self._last[:3])  # once more
        else:
            self._append([self._say() for _ in range(self._random.randint(1, 20))])

    def _say(self) -> Fields:
        chance = self._random.random()
        if chance < 0.3 or len(self._labels) < 20:
            said = self._register()
        elif chance < 0.6 or not self._corrections:
            said = self._propose()
        elif chance < 0.65:
            said = self._withdraw()
        else:
            said = self._decide()
        if self._random.random() < 0.01:  # under a contract that is not, or is not yet
            said["contract_version"] = self._book.governance.contract.version + 1
        return said

    def _register(self) -> Fields:
        name = f"r{len(self._labels)}"
        more: Fields = {"content": f"the text of {name}"}
        if self._random.random() < 0.2:
            name = self._random.choice(["r1", "r3", name]) + f"#{len(self._labels)}"
            size = self._random.randint(1, 9)
            more = {"geometry": {"type": "bbox", "coordinates": [0.5, 1, size, size]}}
        if self._random.random() < 0.3:
            more["split"] = self._random.choice(["train", "test"])
        label = self._random.choice([*CLASSES, *CLASSES, None, "unicorn"])
        self._labels[name] = label
        return item(name, label, actor=self._person(), **more)

    def _propose(self) -> Fields:
        name = self._random.choice([*list(self._labels)[-50:], f"new{len(self._labels)}", "nobody"])
        before = self._labels.get(name)
        if self._random.random() < 0.1:
            before = self._random.choice(CLASSES)
        after = self._random.choice([*CLASSES, *CLASSES, None])
        made = Correction(f"c{self._next()}", name, self._person())
        self._corrections.append(made)
        more: Fields = {"reason": "look", "source": "feedback", "segment": made.actor}
        if after is not None and self._random.random() < 0.1:
            more["to_geometry"] = {"type": "bbox", "coordinates": [0, 0, 2, 2.5]}
        return proposal(made.name, name, before, after, made.actor, **more)

    def _decide(self) -> Fields:
        of = self._random.choice(self._corrections[-30:])
        decision = self._random.choice(["accept"] * 6 + ["keep", "escalate"])
        return vote(of.name, of.item, decision, self._person(), rationale="so it is")

    def _withdraw(self) -> Fields:
        of = self._random.choice(self._corrections[-10:])
        said = vote(of.name, of.item, actor=of.actor) | {"type": "CorrectionWithdrawn"}
        del said["decision"]
        return said

    def _govern(self) -> None:
        common = {"version": self._book.governance.highest_version + 1, "actor": "ann"}
        one, other = self._random.sample(CLASSES, 2)
        small = {one: "area < 9", other: "area >= 9"}
        change = self._random.choice(
            [
                {"rename": {one: other, other: one}},
                {"merge": {one: other}, "add": [{"name": one}]},
                {"split": {one: small}, "add": [{"name": each} for each in CLASSES]},
                {"deprecate": [one]},
                {"add": [{"name": one}]},
                {"approvals_required": self._random.choice([1, 1, 2])},
            ]
        )
        kind = "PolicyChanged" if "approvals_required" in change else "SchemaChanged"
        self._append([{"type": kind, **common, **change}])

    def tag(self) -> None:
        """Name where the log ends."""
        head = self._book.resolve()
        self._tagged.append(head)
        tag = {"name": f"v{self._next()}", "position": head.as_dict(), "actor": "ann"}
        tag["content_hash"] = self._book.snapshot(head).sha256
        self._append([{"type": "VersionTagged", **tag}])

    def roll_back(self) -> None:
        """Go back to one of the last versions."""
        if self._tagged:
            to = self._random.choice(self._tagged[-3:]).as_dict()
            self._append([{"type": "RolledBack", "to": to, "actor": "ann"}])

    def _foreign_bytes(self) -> None:
        """What is no event of ours, and one of ours where it does not belong."""
        dataset = self._book.dataset
        partition = self._random.randrange(dataset.partitions)
        moment = now()
        event = ItemRegistered(
            event_id=f"m{self._next()}",
            actor="eve",
            occurred_at=moment,
            contract_version=0,
            item_id="lost",
            record_id="lost",
            label=None,
        )
        values = [b"not ours", b"\0\0\0\x7f\x7f", b"", dataset.codec.encode(event)]
        at = milliseconds(moment)
        messages = [Message(partition, b"elsewhere", value, at) for value in values]
        self._until_it_works(lambda: dataset.log.append(Topic.LABELS, messages))

    def _append(self, events: Sequence[Fields]) -> None:
        given = [{"event_id": f"e{self._next()}", **event} for event in events]
        self._last = given

        # What an append that failed has stored need not be its first events: all are sent again.
        self._until_it_works(lambda: self._book.append_all(given))
        self._told([event["event_id"] for event in given])

    def _until_it_works(self, act: Callable[[], Any]) -> None:
        while True:
            try:
                act()
            except LogUnavailable:
                time.sleep(_AGAIN_S)
            else:
                return

    def _person(self) -> str:
        return self._random.choice(PEOPLE)

    def _next(self) -> int:
        self._count += 1
        return self._count


def main(log: str, dataset: str, seed: str, acknowledged: str) -> None:
    """Append until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    pause = random.Random(seed)
    with (
        Ledger.open(log, dataset, timeout_s=3) as book,
        Path(acknowledged).open("w", buffering=1) as file,
    ):
        crowd = Crowd(book, int(seed), lambda ids: print(*ids, sep="\n", file=file))
        crowd.begin()
        while not stopped:
            with contextlib.suppress(LogUnavailable):  # it was asked where it stands
                crowd.turn()
            time.sleep(pause.uniform(0, _PAUSE_S_MAX))


if __name__ == "__main__":
    main(*sys.argv[1:])
