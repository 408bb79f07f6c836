"""How long a release takes: a contract change, tags, and the documents of a million items.

    python -m tests.bench.releases --items 1000000

The log is that of `tests.bench.replay`, copied: a registration, a correction and a decision of
each item, which with `--boxes` is a box. Tagged are the registrations alone, everything, a rename
of every class, and a thousand more corrections; then what explains the last is written. Every
version is replayed from the log, which is the worst there is, unless `--checkpoints` makes them
after the rename.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ledger import Ledger
from ledger.core.position import Position
from ledger.releases import Releases
from tests.bench.replay import CACHE, CLASSES, PARTITIONS, about, partition_of, path_of, prepare
from tests.events import proposal, vote

_Answer = TypeVar("_Answer")
_WHO: dict[str, Any] = {"actor": "sam", "reviewer": "alex"}


def timed(what: str, act: Callable[[], _Answer]) -> _Answer:
    """Act, and print how long it took."""
    began = time.perf_counter()
    found = act()
    print(f"{time.perf_counter() - began:7.2f} s  {what}", flush=True)
    return found


def registrations(items: int, *, boxes: bool) -> Position:
    """Where everything is registered and nothing is corrected."""
    records = (about(i, boxes=boxes)["record_id"] for i in range(items))
    homes = Counter(partition_of(record.encode(), PARTITIONS) for record in records)
    return Position(tuple(homes[each] for each in range(PARTITIONS)), 1)


def corrected(book: Ledger, count: int) -> None:
    """Correct the first items that have one label to another."""
    rows = book.snapshot().to_polars().head(count)
    pairs = zip(rows["id"].to_list(), rows["label"].cast(str).to_list(), strict=True)
    for item_id, label in pairs:
        other = f"kind{(int(str(label)[-2:]) + 1) % 20:02}"
        name = f"late-{item_id}"
        book.append_all([proposal(name, item_id, label, other), vote(name, item_id)])


def rebuilt(book: Ledger) -> None:
    """Make view and checkpoints, as a person would."""
    errata = Path(sys.executable).with_name("errata")
    where = ["--log", book.settings.log, "--dataset", "bench"]
    subprocess.run([errata, *where, "rebuild"], check=True, capture_output=True)


def run(book: Ledger, items: int, out: Path, *, checkpoints: bool, boxes: bool) -> None:
    """Every step once, each timed."""
    start = registrations(items, boxes=boxes)
    timed("tag the registrations: the first version", lambda: book.tag("v1", start, **_WHO))
    timed("tag everything: most items differ", lambda: book.tag("v2", **_WHO))
    rename = {name: name.replace("class", "kind") for name in CLASSES}
    change = {"type": "SchemaChanged", "version": 2, "rename": rename, "actor": "sam"}
    timed("rename every class", lambda: book.govern(change))
    timed("tag the rename", lambda: book.tag("v3", **_WHO))
    if checkpoints:
        timed("rebuild view and checkpoints", lambda: rebuilt(book))
    timed("correct a thousand items", lambda: corrected(book, 1_000))
    timed("run the checks", lambda: Releases(book).check())
    tag = timed("tag the thousand corrections", lambda: book.tag("v4", **_WHO))
    assert sum(tag.changed_by_split.values()) == 1_000
    releases = Releases(book)
    facts = timed("everything that is to be known of it", lambda: releases.facts("v4"))
    timed("write its documents", lambda: releases.write("v4", out, facts))


def main() -> None:
    """The bench as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--boxes", action="store_true")
    asked = parser.parse_args()
    items: int = asked.items
    prepare("sqlite", items, "", boxes=asked.boxes)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        path = Path(folder) / "log.db"
        shutil.copyfile(path_of(items, boxes=asked.boxes), path)
        with Ledger.open(f"sqlite:///{path}", "bench") as book:
            out = Path(folder) / "out"
            run(book, items, out, checkpoints=asked.checkpoints, boxes=asked.boxes)


if __name__ == "__main__":
    main()
