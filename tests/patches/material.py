"""A ledger to patch, and patches of it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ledger import Ledger
from ledger.patches import Edit, PatchFile, read_patch
from tests.events import item, schema

Address = Mapping[str, str]
BOX = {"type": "bbox", "coordinates": [1.0, 2.0, 30.0, 40.0]}
NAMES = tuple("abcdef")


def animals(address: Address, partitions: int = 3) -> Ledger:
    """Six cats, half of them to train on and half to test, one without a label, and a box."""
    book = Ledger.create(**address, partitions=partitions)
    items = [item(name, "cat", split="test" if name > "c" else "train") for name in NAMES]
    more = [item("bare", None), item("a#1", "dog", geometry=BOX)]
    book.append([schema(1, "cat", "dog", "cow"), *items, *more])
    return book


def here(tmp_path: Path, dataset: str = "animals") -> dict[str, str]:
    """An embedded log in the test's folder."""
    return {"log": f"sqlite:///{tmp_path}/log.db", "dataset": dataset}


def flips(*names: str, to: str = "dog") -> list[Edit]:
    """Each of these cats is something else."""
    return [Edit(name, "cat", to, reason="ears") for name in names]


def read(*lines: Mapping[str, Any] | bytes) -> PatchFile:
    """A file of these lines, called `edits.jsonl`."""
    whole = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
    return read_patch(io.BytesIO(b"\n".join(whole)), "edits.jsonl")


def labels(book: Ledger) -> dict[str, str]:
    """The label of every labelled item."""
    return {row.item_id: row.label for row in book.snapshot().rows}


def policy(book: Ledger, **fields: Any) -> None:
    """Change the policy."""
    version = book.governance.highest_version + 1
    book.append([{"type": "PolicyChanged", "version": version, "actor": "ann", **fields}])
