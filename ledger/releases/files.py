"""The folder of a release: everything that explains it, made anew from the log at any time.

labels.jsonl             the labels; its sha256sum is the version's content hash
changelog.md             its entry of the changelog
notes.md                 release notes
qa.html                  the QA report
evaluation_remap.json    how to compare with the base (where there is one)
mappings/*.json          the changes of classes since the base, as mapping files
splits/*.txt             the ids of each split's items, a line each; one that would not stay on its
                         line, or begins with a quote, as JSON
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledger.clock import new_id
from ledger.contracts.relabel import columns_of
from ledger.core.events import SchemaChanged
from ledger.errors import InvalidRequest
from ledger.releases.changelog import section
from ledger.releases.facts import Facts
from ledger.releases.notes import notes
from ledger.releases.page import page
from ledger.snapshot import Snapshot

Write = Callable[[io.BufferedIOBase], Any]


def write_release(facts: Facts, snapshot: Snapshot, out: Path) -> Path:
    """Write a version's files below `out`, each whole or not at all, and return their folder.

    Args:
        facts: those of the version.
        snapshot: its labels.
        out: a folder, made if need be.

    Raises:
        InvalidRequest: the folder cannot be written.
    """
    texts = {
        "changelog.md": section(facts.tag, facts.patches),
        "notes.md": notes(facts),
        "qa.html": page(facts),
    }
    if facts.comparison is not None:
        texts["evaluation_remap.json"] = _json(facts.remap.as_dict())
    for change in facts.schema_changes:
        if mapping := mapping_of(change):
            texts[f"mappings/contract-{change.version:04}-{'-'.join(mapping)}.json"] = _json(
                mapping
            )
    for split, ids in split_ids(snapshot).items():
        texts[f"splits/{component(split)}.txt"] = "".join(f"{_line(each)}\n" for each in ids)
    folder = out / component(facts.name)
    try:
        for name in sorted(texts):
            _write(folder / name, texts[name].encode())
        snapshot.save(folder / "labels.jsonl")
    except OSError as error:
        raise InvalidRequest(
            f"{error.filename or folder}: {error.strerror or error}; {facts.name} is tagged, and "
            "not all of its files are written. `errata release` writes them again"
        ) from error
    return folder


def mapping_of(change: SchemaChanged) -> dict[str, Any]:
    """A contract change as a mapping file has it: what it renames, merges and splits."""
    parts: dict[str, Mapping[str, Any]] = {
        "rename": change.rename,
        "merge": change.merge,
        "split": {name: dict(rules) for name, rules in change.split.items()},
    }
    return {name: dict(part) for name, part in parts.items() if part}


def split_ids(snapshot: Snapshot) -> dict[str, list[str]]:
    """The ids of each split's items, sorted; items without a split are in none."""
    frame = columns_of(snapshot)
    if frame is None:
        pairs = [(row.split, row.item_id) for row in snapshot.rows]
    else:
        pairs = frame.select("split", "id").rows()
    found: dict[str, list[str]] = {}
    for split, item_id in pairs:
        if split:
            found.setdefault(split, []).append(item_id)
    return found


def _line(item_id: str) -> str:
    """An id as one line that is no other id's."""
    plain = item_id.splitlines() == [item_id] and not item_id.startswith('"')
    return item_id if plain else json.dumps(item_id)


def component(name: str) -> str:
    """A name as one component of a path, wherever it comes from."""
    safe = quote(name, safe=" +@,=")
    return safe.replace(".", "%2E") if not safe.strip(".") else safe


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _write(path: Path, content: bytes) -> None:
    """Write a file, which appears, or changes, only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{new_id()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
