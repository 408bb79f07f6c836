"""`errata demo`: the main job, from registering to proving."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import Ledger

ERRATA = str(Path(sys.executable).parent / "errata")


def run(folder: Path, *flags: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ERRATA_")}
    done = subprocess.run(
        [ERRATA, "demo", *flags],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("flags", [(), ("--offline",)], ids=["reviews", "digits"])
def test_the_demo_proves_every_version_and_leaves_a_ledger(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Four versions and the head after the rollback are proved; the ledger can be opened."""
    printed = run(tmp_path, *flags)
    rows = re.findall(r"^(labels-v\S+|head) .* ([0-9a-f]{12}) +proved$", printed, re.MULTILINE)
    hashes = dict(rows)
    assert list(hashes) == ["labels-v1.0", "labels-v1.1", "labels-v2.0", "labels-v2.1", "head"]
    assert hashes["head"] == hashes["labels-v2.0"] != hashes["labels-v2.1"]
    with Ledger.open(f"sqlite:///{tmp_path}/.errata/demo/log.db", "demo") as book:
        assert book.snapshot("labels-v1.1").sha256.startswith(hashes["labels-v1.1"])
        assert book.diff("labels-v1.0", "labels-v1.1")
    if not flags:
        assert "10,605 movie-review snippets" in printed
    assert rows == re.findall(
        r"^(labels-v\S+|head) .* ([0-9a-f]{12}) +proved$", run(tmp_path, *flags), re.MULTILINE
    )
