"""`errata model`, `blast`, `retrain` and `gate` from the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from tests.cli.command import Errata
from tests.events import item, proposal, vote


@pytest.fixture
def trained(errata: Errata) -> Errata:
    """Three cats in `v1`, of which `m1` was trained; `a` was corrected to dog in `v2`."""
    errata("init", "--partitions", "3", "--class", "cat", "--class", "dog")
    splits = {"a": "train", "b": "test", "c": "train"}
    errata(
        "append", errata.write("items.jsonl", [item(i, "cat", split=s) for i, s in splits.items()])
    )
    errata("tag", "v1")
    errata("model", "register", "m1", "--labels", "v1", "--metric", "f1=0.92")
    fix = [proposal("c1", "a", "cat", "dog", reason="it barks"), vote("c1", "a")]
    errata("append", errata.write("fix.jsonl", fix))
    errata("tag", "v2")
    return errata


def test_a_stamp_of_files_and_hashes(trained: Errata) -> None:
    """A file is hashed and a hash taken as it is; the stamp names the labels by hash and the test
    labels of their version, and shows what became of them.
    """
    data = trained.write("data.bin", b"x" * (3 << 20))
    told = hashlib.sha256(b"config").hexdigest()
    trained(
        *("model", "register", "m2", "--labels", "v2", "--base", "m1", "--data", data),
        *("--config", told.upper(), "--metric", "f1=0.94", "--metric", "loss=1e-3"),
        *("--notes", "on a friday"),
    )
    stamp = trained("model", "show", "m2", "--json").json
    assert stamp["raw_data_hash"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert stamp["training_config_hash"] == told
    assert stamp["label_hash"] == trained("snapshot", "--at", "v2", "--json").json["sha256"]
    assert (stamp["label_version"], stamp["split_version"]) == ("v2", "test-v1")
    assert stamp["metrics"] == {"f1": 0.94, "loss": 0.001}
    assert (stamp["base"], stamp["notes"], stamp["registered_by"]) == ("m1", "on a friday", "ann")
    assert stamp["label_quality"]["labels_changed"] == 0
    quality = trained("model", "show", "m1", "--json").json["label_quality"]
    assert quality == {
        "items": 3,
        "labels_changed": 1,
        "by_cause": {"correction": 1},
        "correction_rate": 1 / 3,
        "open_corrections": 0,
    }
    assert [each["model"] for each in trained("model", "list", "--json").lines] == ["m1", "m2"]
    assert "m2" in trained("model", "show").out
    assert "1 of its labels (1 by correction)" in trained("model", "show", "m1").out
    assert "f1=0.94, loss=0.001" in trained("model", "list").out


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--labels", "v9"), "there is no version 'v9'; there are: v1, v2"),
        (("--metric", "f1"), "metric 'f1' is not NAME=NUMBER, such as f1=0.92"),
        (("--metric", "f1=high"), "metric 'f1=high' is not NAME=NUMBER"),
        (("--metric", " =1"), "metric ' =1' is not NAME=NUMBER"),
        (("--metric", "f1=nan"), "metric 'f1' is nan: a metric is a finite number"),
        (("--metric", "f1=1e999"), "metric 'f1' is inf: a metric is a finite number"),
        (("--metric", "f1=1", "--metric", "f1=1"), "metric 'f1' is given twice"),
        (("--data", "ab12"), "data 'ab12' is neither a SHA-256 (64 hexadecimal digits) nor a file"),
        (("--config", "."), "config '.' is neither a SHA-256"),
        (("--data", "/dev/zero"), "data '/dev/zero' is a device, which has no end; name a file"),
        (("--base", "m9"), "there is no model 'm9'; there are: m1"),
        (("--split-version", "test-v9"), "there is no version 'test-v9' of the test labels"),
    ],
)
def test_what_is_refused(trained: Errata, more: tuple[str, ...], why: str) -> None:
    """Each refusal is a sentence, and nothing is registered."""
    before = trained.position()
    labels = () if "--labels" in more else ("--labels", "v1")
    assert trained.refused("model", "register", "m2", *labels, *more).startswith(why)
    assert trained.position() == before


def test_a_name_is_given_once(trained: Errata) -> None:
    """A model is what it is; there is none before the first."""
    said = trained.refused("model", "register", "m1", "--labels", "v2")
    assert said == "model 'm1' is registered already; choose another name"
    assert "there is no model 'm2'; there are: m1" in trained.refused("blast", "--model", "m2")


def test_without_models(book: Errata) -> None:
    """Nothing is listed, and nothing to train again."""
    assert book("model", "list").err == "no model is registered\n"
    assert book.refused("retrain").startswith("there is no model; there are: none yet")
    assert book.refused("model", "show").startswith("there is no model")


def test_blast_both_ways(trained: Errata) -> None:
    """From the correction and from the item to `v1` and its model, from the model to the item."""
    found = trained("blast", "--correction", "c1", "--json").json
    assert found["releases"] == [{"version": "v1", "label": "cat"}]
    assert found["models"] == [{"model": "m1", "label_version": "v1"}]
    assert found["evaluations"] == []  # it is a training item
    assert found["correction"]["status"] == "applied"
    again = trained("blast", "--item", "a", "--json").json
    assert again["releases"] == found["releases"]
    back = trained("blast", "--model", "m1", "--json").json
    assert (back["changed"], back["by_class"], back["by_split"]) == (1, {"dog": 1}, {"train": 1})
    assert back["items"][0]["reason"] == "it barks"
    table = trained("blast", "--correction", "c1").out
    assert table.splitlines()[0] == "a cat -> dog by bob (applied): it barks"
    assert "m1" in table
    assert "it barks" in trained("blast", "--model", "m1").out
    assert trained("blast", "--item", "b").err == "no version saw the old label\n"
    assert "give one of" in trained.refused("blast", code=2)
    assert "give one of" in trained.refused("blast", "--item", "a", "--model", "m1", code=2)
    assert "--record goes with" in trained.refused("blast", "--item", "a", "--record", "a", code=2)
    assert "item 'z' does not exist" in trained.refused("blast", "--item", "z")


def test_when_to_train_again(trained: Errata) -> None:
    """Due once as many labels changed as the contract says; another name is no change; the model is
    shown beside its base.
    """
    found = trained("retrain", "--json").json
    assert (found["model"], found["changed"], found["due"]) == ("m1", 1, False)
    assert (found["retrain_after"], found["compared_with_base"]) == (500.0, None)
    change = {"type": "PolicyChanged", "version": 2, "actor": "ann", "approved_by": "bob"}
    trained("append", trained.write("p.jsonl", [{**change, "thresholds": {"retrain_after": 1}}]))
    rename = {"type": "SchemaChanged", "version": 3, "rename": {"cat": "kitten"}, "actor": "ann"}
    trained("append", trained.write("r.jsonl", [rename]))
    found = trained("retrain", "--model", "m1", "--json").json
    assert (found["changed"], found["changed_by_class"], found["due"]) == (1, {"dog": 1}, True)
    assert "train again" in trained("retrain").out
    trained("model", "register", "m2", "--labels", "v2", "--base", "m1", "--metric", "f1=0.9")
    found = trained("retrain", "--json").json
    assert (found["model"], found["changed"], found["due"]) == ("m2", 0, False)
    beside = found["compared_with_base"]
    assert beside["metrics"] == {"f1": {"before": 0.92, "after": 0.9, "change": -0.02}}
    assert (beside["base"], beside["fair"]) == ("m1", "fair")
    assert "- the classes are the same" in trained("retrain").out


def test_a_gate_for_a_pipeline(trained: Errata) -> None:
    """0 where it passes, 1 with the verdict on standard output where it does not, 2 where it is
    called wrongly.
    """
    assert trained("gate", "--json").json["verdict"] == "pass"
    assert trained("gate").err == "the labels at head pass the gate of contract 1\n"
    assert trained("gate", "--at", "v2", "--prove", "--json").json["checks"][-1]["passed"]
    change = {"type": "PolicyChanged", "version": 2, "actor": "ann", "approved_by": "bob"}
    strict = {"correction_rate_max": 0.1, "auto_rollback": 1}
    trained("append", trained.write("p.jsonl", [{**change, "thresholds": strict}]))
    said = trained("gate", "--at", "v2", "--json", code=1)
    assert said.json["verdict"] == "fail"
    assert said.json["contract_version"] == 2
    assert said.err == "errata: the labels at v2 fail the gate: correction_rate\n"
    assert "FAILED" in trained("gate", "--at", "v2", code=1).out
    for flags in (
        *(("--prove",), ("--rollback", "--approved-by", "bob"), ("--at", "v2", "--rollback")),
        ("--at", "v2", "--approved-by", "bob"),
    ):
        trained("gate", *flags, code=2)
    said = trained("gate", "--at", "v2", "--rollback", "--approved-by", "bob", code=1)
    assert "v2 was rolled back to v1" in said.out
    assert trained.labels()["a"] == "cat"
    said = trained("gate", "--at", "v2", "--rollback", "--approved-by", "bob", "--json", code=1)
    expected = {"done": False, "to": "v1", "why": "v2 was rolled back already"}
    assert said.json["rollback"] == expected


def test_a_hostile_name_prints_as_text(trained: Errata) -> None:
    """What somebody wrote as a reason moves no cursor."""
    fix = [proposal("c2", "b", "cat", "dog", reason="\x1b[2Jgone"), vote("c2", "b")]
    trained("append", trained.write("fix2.jsonl", fix))
    for command in (("blast", "--correction", "c2"), ("blast", "--model", "m1")):
        assert "\x1b" not in trained(*command).out
        assert "\\x1b[2Jgone" in trained(*command).out


def test_a_missing_file_names_why(trained: Errata, tmp_path: Path) -> None:
    """A file that cannot be read is refused with the reason."""
    said = trained.refused("model", "register", "m", "--labels", "v1", "--data", tmp_path / "none")
    assert said.endswith("nor a file that can be read: No such file or directory")
