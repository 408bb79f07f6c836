"""The tour on Kafka gives what it gives on SQLite with another number of partitions."""

from __future__ import annotations

import hashlib
import json
import uuid

from tests.cli.command import Errata, Fields
from tests.events import schema
from tests.services import Broker

CLASSES = ("--class", "cat", "--class", "dog")


def tour(errata: Errata, partitions: int) -> dict[str, str]:
    """Set up, import, correct, review, tag, rename, roll back: the labels after each step."""
    labels: dict[str, str] = {}

    def take(name: str, at: str = "head") -> None:
        labels[name] = errata("snapshot", "--at", at).out

    errata("init", "--partitions", str(partitions), *CLASSES)
    rows: list[Fields] = [{"id": f"r{i}", "label": "cat", "split": "train"} for i in range(20)]
    box = {"type": "bbox", "coordinates": [1, 2, 3, 4.5]}
    rows.append({"id": "r0#1", "label": "dog", "geometry": box})
    errata("import", errata.write("items.jsonl", rows))
    take("imported")
    errata("tag", "v1")
    for number in (1, 5):
        name = errata("correct", f"r{number}", "--to", "dog", "--as", "bob").out.strip()
        errata("review", name, "accept")
    take("corrected")
    errata("append", "-", stdin=json.dumps(schema(2, rename={"dog": "hound"})))
    take("renamed")
    labels["hash of v2"] = errata("tag", "v2", "--json").json["content_hash"]
    labels["diff"] = errata("diff", "v1", "v2", "--json").out
    errata("rollback", "--to", "v1", "--reason", "bad", "--approved-by", "bob")
    take("rolled back")
    take("v2", "v2")
    return labels


def log_of(errata: Errata) -> list[Fields]:
    """What the log's lines say, without places, times and ids, in an order that both share."""
    names = ("type", "item_id", "label", "from_label", "to_label", "decision", "name", "outcome")
    lines = errata("log", "--outcomes", "--json").lines
    facts = [{name: line.get(name) for name in names} for line in lines]
    return sorted(facts, key=json.dumps)


def test_the_same_on_both_logs(errata: Errata, broker: Broker) -> None:
    """Canonical bytes and hashes, differences, outcomes and counts do not depend on the log."""
    name = f"tour-{uuid.uuid4().hex[:8]}"
    kafka = errata.on("--log", f"kafka://{broker.bootstrap}", "--dataset", name)
    sqlite = errata.on("--dataset", name)
    there, here = tour(kafka, 2), tour(sqlite, 5)
    assert there == here
    assert there["rolled back"] == there["imported"]
    assert there["v2"] == there["renamed"]
    assert len({there[step] for step in ("imported", "corrected", "renamed")}) == 3
    assert hashlib.sha256(there["v2"].encode()).hexdigest() == there["hash of v2"]
    assert log_of(kafka) == log_of(sqlite)
    left, right = (each("status", "--json").json for each in (kafka, sqlite))
    assert left["log"] == f"kafka://{broker.bootstrap}"
    assert [len(each["position"]["labels"]) for each in (left, right)] == [2, 5]
    for key in ("classes", "items", "labelled", "labels", "corrections", "outcomes", "rollbacks"):
        assert left[key] == right[key]


def test_errors_on_kafka(errata: Errata, broker: Broker) -> None:
    """The same sentences as on SQLite: no dataset, another number of partitions, a taken name."""
    name = f"errors-{uuid.uuid4().hex[:8]}"
    kafka = errata.on("--log", f"kafka://{broker.bootstrap}", "--dataset", name)
    assert f"there is no dataset '{name}'" in kafka.refused("status")
    kafka("init", "--partitions", "2", *CLASSES)
    told = kafka.refused("init", "--partitions", "3")
    assert "2 partitions" in told
    kafka("tag", "v1")
    assert "'v1' is taken" in kafka.refused("tag", "v1")
    assert "names 3 label partitions" in kafka.refused(
        "snapshot", "--at", "labels=0,0,0;governance=0"
    )


def test_a_broker_that_is_away(errata: Errata) -> None:
    """One sentence after the time-out, naming the address."""
    away = errata.on("--log", "kafka://127.0.0.1:1")
    said = away("status", code=1, env={"ERRATA_TIMEOUT_S": "1"})
    assert "Kafka at 127.0.0.1:1" in said.err.splitlines()[-1]
