"""The schemas in `schemas/`, and what keeps old events readable for ever."""

from __future__ import annotations

import dataclasses
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import avro.compatibility
import avro.schema
import pytest

from ledger.codec import Codec, EventSchema, SchemaSet, Undecodable, fingerprint_of, shipped_schemas
from ledger.core.events import EVENT_TYPES, ItemRegistered
from ledger.door import admit
from ledger.errors import ConfigurationError
from tests.events import item
from tests.registries import MemoryRegistry, stamps

FOLDER = Path(__file__).parent.parent / "schemas"
SHIPPED = shipped_schemas()


def backward_compatible(reader: str, writer: str) -> bool:
    """Whether what `writer` wrote can be read with `reader`, by Apache Avro's own judgement."""
    judged = avro.compatibility.ReaderWriterCompatibilityChecker().get_compatibility(
        avro.schema.parse(reader), avro.schema.parse(writer)
    )
    return judged.compatibility is avro.compatibility.SchemaCompatibilityType.compatible


def versions(schemas: SchemaSet, event: str) -> list[EventSchema]:
    return [schema for schema in schemas.all if schema.event == event]


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_every_version_reads_every_earlier_one(event: str) -> None:
    """Each schema can read what every earlier version of it wrote (BACKWARD_TRANSITIVE)."""
    found = versions(SHIPPED, event)
    assert [schema.version for schema in found] == list(range(1, len(found) + 1))
    for earlier, later in combinations(found, 2):
        assert backward_compatible(later.text, earlier.text), (earlier.version, later.version)


def test_the_compatibility_test_can_fail() -> None:
    """A field without a default, or one of another type, is found incompatible."""
    text = versions(SHIPPED, "ReviewDecided")[-1].text
    schema = json.loads(text)
    schema["fields"].append({"name": "weight", "type": "double"})
    assert not backward_compatible(json.dumps(schema), text)
    schema["fields"][-1]["default"] = 1.0
    assert backward_compatible(json.dumps(schema), text)
    schema["fields"][0]["type"] = "long"
    assert not backward_compatible(json.dumps(schema), text)


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_the_newest_schema_and_the_event_have_the_same_fields(event: str) -> None:
    """Nothing is dropped or filled in on the way: field by field, the two agree."""
    parsed: Any = SHIPPED.latest[event].parsed
    assert parsed["name"] == f"errata.{event}"
    ours = {field.name for field in dataclasses.fields(EVENT_TYPES[event])}
    assert {field["name"] for field in parsed["fields"]} == ours


def test_every_file_is_a_schema_of_a_known_event() -> None:
    """`schemas/` holds one file per event version and nothing else."""
    names = {f"{schema.event}.v{schema.version}.avsc" for schema in SHIPPED.all}
    assert {file.name for file in FOLDER.iterdir()} == names
    assert {schema.event for schema in SHIPPED.all} == set(EVENT_TYPES)


def next_version(folder: Path) -> SchemaSet:
    """The shipped schemas and a second version of ReviewDecided with a field more."""
    for file in FOLDER.iterdir():
        (folder / file.name).write_text(file.read_text())
    schema = json.loads((FOLDER / "ReviewDecided.v1.avsc").read_text())
    schema["fields"].append({"name": "minutes", "type": "double", "default": 0.0})
    (folder / "ReviewDecided.v2.avsc").write_text(json.dumps(schema))
    return SchemaSet(folder)


def test_an_older_schema_is_read_for_ever(tmp_path: Path) -> None:
    """An event that a schema with one field less wrote is read under the newest schema."""
    older = json.loads((FOLDER / "ItemRegistered.v1.avsc").read_text())
    older["fields"] = [field for field in older["fields"] if field["name"] != "source"]
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "ItemRegistered.v2.avsc").write_text(
        (FOLDER / "ItemRegistered.v1.avsc").read_text()
    )
    (tmp_path / "ItemRegistered.v1.avsc").write_text(json.dumps(older))
    registry = MemoryRegistry()
    written = Codec(registry, SchemaSet(tmp_path))
    event = admit(item("a", "cat"), stamps())
    assert isinstance(event, ItemRegistered)
    old = written.schemas.all[
        [each.fingerprint for each in written.schemas.all].index(fingerprint_of(older))
    ]
    value = _write_as(old, registry, event)
    assert written.decode(value) == event


def _write_as(schema: EventSchema, registry: MemoryRegistry, event: ItemRegistered) -> bytes:
    import io

    import fastavro

    from ledger.codec import plain

    body = io.BytesIO()
    fields = {key: each for key, each in plain(event).items() if key != "source"}
    fastavro.schemaless_writer(body, schema.parsed, fields, strict=True)
    return b"\0" + registry.id_of(schema.subject, schema.text).to_bytes(4, "big") + body.getvalue()


def test_a_newer_schema_halts_with_upgrade(tmp_path: Path) -> None:
    """An event that a newer release wrote stops an older one, which must not guess."""
    newer = next_version(tmp_path)
    registry = MemoryRegistry()
    latest = newer.latest["ReviewDecided"]
    schema_id = registry.id_of(latest.subject, latest.text)
    value = b"\0" + schema_id.to_bytes(4, "big") + b"anything"
    with pytest.raises(ConfigurationError, match="Upgrade"):
        Codec(registry).decode(value)
    assert isinstance(Codec(registry, newer).decode(value), Undecodable)
