"""Events as bytes: Avro in Confluent wire format (0, schema id as four bytes, body).

Which bytes can be decoded does not depend on the day: the accepted schemas are the files in
`schemas/`, known by fingerprint. The registry only translates ids. What it answers decides:

- a schema of ours, in any version: decode it, and read it under the newest one;
- a schema in our namespace that this release does not have: halt, the release is too old;
- no answer: halt;
- anything else, and bytes that do not fit their schema exactly: `Undecodable`, for good.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources.abc import Traversable
from typing import Any, Protocol, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
from pydantic import TypeAdapter, ValidationError

from ledger.core.events import EVENT_TYPES, Event
from ledger.core.validity import field_names, problem
from ledger.errors import ConfigurationError, InvalidRequest

NAMESPACE = "errata"
MAGIC = b"\x00"
HEADER_BYTES = 5
VALUE_BYTES_MAX = 950_000
"""What every Kafka broker takes with its own settings, so that a log can move to any."""
_FILE = re.compile(r"(?P<event>[A-Za-z]+)\.v(?P<version>\d+)\.avsc")


class Registry(Protocol):
    """Translates between schemas and the ids that stand in front of each value."""

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema, registering it under the subject if it is new."""
        ...

    def schema_of(self, schema_id: int) -> str | None:
        """The schema (JSON text) with this id; None if the registry has none.

        Raises LogUnavailable when the registry does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One version of one event's schema, as its file holds it."""

    event: str
    version: int
    text: str
    parsed: Any
    fingerprint: str
    """SHA-256 of Avro's parsing canonical form."""

    @property
    def subject(self) -> str:
        """The registry subject: the record's full name, one line of evolution for all datasets."""
        return f"{NAMESPACE}.{self.event}"


def fingerprint_of(schema: Any) -> str:
    """SHA-256 of the schema's parsing canonical form, whatever its spelling."""
    return fingerprint(to_parsing_canonical_form(schema), "SHA-256")


class SchemaSet:
    """Every version of every event's schema.

    Args:
        folder: holds one `<Event>.v<version>.avsc` per version.
    """

    def __init__(self, folder: Traversable) -> None:
        self.all: list[EventSchema] = []
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            name = _FILE.fullmatch(file.name)
            if name is not None:
                text = file.read_text(encoding="utf-8")
                schema = fastavro.parse_schema(json.loads(text))
                found = (name["event"], int(name["version"]), text, schema, fingerprint_of(schema))
                self.all.append(EventSchema(*found))
        self.all.sort(key=lambda schema: (schema.event, schema.version))
        self.latest = {schema.event: schema for schema in self.all}
        self.by_fingerprint = {schema.fingerprint: schema for schema in self.all}


@cache
def shipped_schemas() -> SchemaSet:
    """The schemas that this release knows."""
    return SchemaSet(importlib.resources.files("schemas"))


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Bytes on a topic that are no event of ours, and why."""

    reason: str


class Codec:
    """Encodes events under the newest schema and decodes every accepted one.

    Args:
        registry: where schema ids come from.
        schemas: the accepted schemas.
    """

    def __init__(self, registry: Registry, schemas: SchemaSet | None = None) -> None:
        self.registry = registry
        self.schemas = schemas or shipped_schemas()
        self._headers: dict[str, bytes] = {}
        self._known: dict[int, EventSchema | Undecodable] = {}

    def register_all(self) -> tuple[int, str]:
        """Make every accepted schema known to the registry, oldest first; the id and fingerprint
        of one of them, by which `knows` recognises the registry.
        """
        ids = [self.registry.id_of(schema.subject, schema.text) for schema in self.schemas.all]
        return ids[-1], self.schemas.all[-1].fingerprint

    def knows(self, schema_id: int, fingerprint: str) -> bool:
        """Whether the registry has the schema of this fingerprint under this id."""
        schema = self.schema(schema_id)
        return isinstance(schema, EventSchema) and schema.fingerprint == fingerprint

    def encode(self, event: Event, *, admitted: bool = False) -> bytes:
        """The event's bytes. Nothing is dropped and nothing filled in: every field of the event
        must be in the schema and every field of the schema in the event.

        Args:
            event: what to encode.
            admitted: the event came through the door, which asked for its rules already.

        Raises:
            InvalidRequest: names the event and the rule that it breaks.
        """
        broken = None if admitted else problem(event)
        if broken is not None:
            raise InvalidRequest(f"{type(event).__name__}: {broken}")
        schema = self.schemas.latest[type(event).__name__]
        body = io.BytesIO()
        try:
            fastavro.schemaless_writer(body, schema.parsed, plain(event), strict=True)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidRequest(f"{type(event).__name__}: {error}") from error
        value = self._header(schema) + body.getvalue()
        if len(value) > VALUE_BYTES_MAX:
            raise InvalidRequest(
                f"the {type(event).__name__} has {len(value):,} bytes, and may have "
                f"at most {VALUE_BYTES_MAX:,}. Let `content` hold a reference instead of the text"
            )
        return value

    def decode(self, value: bytes | None) -> Event | Undecodable:
        """The event that the bytes hold, or why they hold none.

        Raises:
            ConfigurationError: the bytes are of a newer release.
            LogUnavailable: the registry does not answer.
        """
        if value is None:
            return Undecodable("no value (a tombstone)")
        if len(value) < HEADER_BYTES or value[:1] != MAGIC:
            return Undecodable("no Confluent frame: it begins with a zero byte and a schema id")
        schema = self.schema(int.from_bytes(value[1:HEADER_BYTES], "big"))
        if isinstance(schema, Undecodable):
            return schema
        body = io.BytesIO(value)
        body.seek(HEADER_BYTES)
        reader = self.schemas.latest[schema.event].parsed
        try:
            fields = fastavro.schemaless_reader(body, schema.parsed, reader)
        except Exception as error:  # whatever foreign bytes make the decoder say
            return Undecodable(f"truncated or malformed {schema.event}: {error or repr(error)}")
        if body.tell() != len(value):
            return Undecodable(f"{len(value) - body.tell()} bytes trail behind the {schema.event}")
        event = build(EVENT_TYPES[schema.event], cast("dict[str, Any]", fields))
        if isinstance(event, Undecodable):
            return event
        broken = problem(event)
        return event if broken is None else Undecodable(f"{schema.event}: {broken}")

    def name_of(self, value: bytes | None) -> str | None:
        """The type of event that the bytes say they hold, from their first `HEADER_BYTES` alone;
        None where they name no schema of ours.
        """
        if value is None or len(value) < HEADER_BYTES or value[:1] != MAGIC:
            return None
        schema = self.schema(int.from_bytes(value[1:HEADER_BYTES], "big"))
        return schema.event if isinstance(schema, EventSchema) else None

    def _header(self, schema: EventSchema) -> bytes:
        header = self._headers.get(schema.event)
        if header is None:
            schema_id = self.registry.id_of(schema.subject, schema.text)
            header = self._headers[schema.event] = MAGIC + schema_id.to_bytes(4, "big")
        return header

    def schema(self, schema_id: int) -> EventSchema | Undecodable:
        """The accepted schema behind an id, or why there is none."""
        known = self._known.get(schema_id)
        if known is None:
            known = self._known[schema_id] = self._look_up(schema_id)
        return known

    def _look_up(self, schema_id: int) -> EventSchema | Undecodable:
        text = self.registry.schema_of(schema_id)
        if text is None:
            return Undecodable(f"schema id {schema_id} is unknown to the registry")
        try:
            schema: Any = fastavro.parse_schema(json.loads(text))
        except Exception:  # a registry may hold JSON Schema, Protobuf, anything
            return Undecodable(f"schema id {schema_id} is no Avro schema")
        ours = self.schemas.by_fingerprint.get(fingerprint_of(schema))
        if ours is not None:
            return ours
        name = str(cast("dict[str, Any]", schema).get("name")) if isinstance(schema, dict) else ""
        if name.startswith(NAMESPACE + "."):
            raise ConfigurationError(
                f"schema id {schema_id} is a version of {name} that this release of Errata does "
                "not know: a newer release wrote it. Upgrade, then read on; nothing is lost"
            )
        return Undecodable(f"schema id {schema_id} is {name or 'a schema'} that is not ours")


_BUILDERS: dict[type[Event], TypeAdapter[Any]] = {
    event_type: TypeAdapter(event_type) for event_type in EVENT_TYPES.values()
}


def build(event_type: type[Event], fields: Mapping[str, Any]) -> Event | Undecodable:
    """The event with these Avro fields."""
    try:
        return _BUILDERS[event_type].validate_python(fields, strict=False)
    except ValidationError as error:
        return Undecodable(f"{event_type.__name__}: {error.errors()[0]['msg']}")


_SCALARS = frozenset((str, bytes, int, float, bool, type(None), datetime))


def plain(value: Any) -> Any:
    """An event, or a part of one, as dictionaries, lists and scalars (datetimes stay)."""
    if type(value) in _SCALARS:  # twice as fast as isinstance, and most values are
        return value
    if isinstance(value, tuple):
        return [plain(each) for each in cast("tuple[Any, ...]", value)]
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, str | int | float | datetime):  # a subclass of one
        return value
    names = field_names(type(cast("object", value)))
    return {name: plain(getattr(value, name)) for name in names}
