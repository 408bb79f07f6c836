"""A release's files depend on what the log says, and on nothing else."""

from __future__ import annotations

import json
import uuid
from hashlib import sha256
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.copying import copy
from ledger.releases import Releases, candidate, corrections
from tests.releases.conftest import Open
from tests.services import Broker


def written(book: Ledger, out: Path) -> dict[str, bytes]:
    """Every file of every release, by its path."""
    releases = Releases(book)
    for name in book.governance.tags:
        releases.write(name, out)
    (out / "changelog.md").write_text(releases.changelog())
    (out / "versions.csv").write_text(releases.versions_csv())
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_any_number_of_partitions_gives_the_same_bytes(
    life: Ledger, made: Open, tmp_path: Path
) -> None:
    """Copied into 4 and 7 partitions, and written twice, every file is the same to the byte."""
    first = written(life, tmp_path / "1")
    assert len(first) > 40
    assert written(life, tmp_path / "1") == first
    for partitions in (4, 7):
        other = made(f"wide{partitions}", partitions)
        copy(life.dataset, other.dataset)
        assert written(other, tmp_path / str(partitions)) == first


def test_the_other_log_gives_the_same_bytes(life: Ledger, broker: Broker, tmp_path: Path) -> None:
    """Copied to Kafka, in four partitions."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with Ledger.create(f"kafka://{broker.bootstrap}", name, partitions=4) as other:
        copy(life.dataset, other.dataset)
        assert written(other, tmp_path / "kafka") == written(life, tmp_path / "sqlite")


def test_columns_tell_the_same_as_the_reference(
    life: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file is the same where logs are folded, mapped and counted by columns."""
    one_by_one = written(life, tmp_path / "rows")
    import ledger.reading
    import ledger.replay

    for module in (ledger.replay, ledger.reading, corrections):
        monkeypatch.setattr(module, "COLUMNS_FROM", 1)
    monkeypatch.setattr("ledger.contracts.unresolved.COLUMNS_FROM", 1)
    assert candidate.columns_of(life.snapshot("labels-v2.0")) is not None
    assert written(life, tmp_path / "columns") == one_by_one


def test_the_folder(life: Ledger, tmp_path: Path) -> None:
    """What stands in it, and that the labels hash to the version's content hash."""
    folder = Releases(life).write("labels-v2.0", tmp_path)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == [
        *("changelog.md", "evaluation_remap.json", "labels.jsonl"),
        "mappings/contract-0002-rename-split.json",
        *("notes.md", "qa.html", "splits/test.txt", "splits/train.txt", "splits/val.txt"),
    ]
    tag = life.version("labels-v2.0")
    assert sha256((folder / "labels.jsonl").read_bytes()).hexdigest() == tag.content_hash
    assert (folder / "splits/test.txt").read_text().splitlines() == [
        f"img_{number:04}.jpg" for number in range(9, 600, 10)
    ]
    mapping = json.loads((folder / "mappings/contract-0002-rename-split.json").read_text())
    rules = {"dog_small": "area < 800", "dog_large": "area >= 800"}
    assert mapping == {"rename": {"automobile": "car"}, "split": {"dog": rules}}
    remap = json.loads((folder / "evaluation_remap.json").read_text())
    assert remap["aggregate_for_old"]["dog"] == ["dog_small", "dog_large"]
