"""The door: what comes from outside as JSON becomes an event, or is refused in words.

Strict: no unknown field, no wrong type, no key twice, no NaN. What an author may leave out and is
stamped here: `event_id`, `occurred_at`, `contract_version`, and the `at` of a contract change, a
patch or a rollback. The coordinates that `errata log --json` prints with each event are known and
left out, so that its lines can be appended again.
"""

from __future__ import annotations

import json
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from ledger.codec import plain
from ledger.core.contract import ROLES
from ledger.core.events import (
    EVENT_TYPES,
    ClassAdded,
    ContractChange,
    Event,
    EventQuarantined,
    Geometry,
    ItemRegistered,
    PatchDecided,
    PatchProposed,
    PolicyChanged,
    RolledBack,
)
from ledger.core.position import Position
from ledger.core.validity import problem
from ledger.errors import InvalidRequest

COORDINATES = frozenset({"topic", "partition", "offset", "timestamp", "outcome"})

_SHOWN_MAX = 80
_PEOPLE = ("actor", "approved_by", "reviewer")
_STRICT = ConfigDict(extra="forbid", strict=True)
for _type in (*EVENT_TYPES.values(), Geometry, Position, ClassAdded):
    with_config(_STRICT)(_type)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(event_type) for name, event_type in EVENT_TYPES.items()
}


@dataclass(frozen=True, slots=True)
class Stamps:
    """What the door fills in where the author left it out."""

    event_id: str
    occurred_at: datetime
    contract_version: int
    position: Position
    """The log's ends, read just before: the `at` of a contract change or a rollback."""


def read_line(line: bytes | str) -> dict[str, Any]:
    """One JSON line as a dictionary.

    Raises:
        InvalidRequest: not UTF-8, not JSON, not an object, a key twice, or NaN.
    """
    try:
        text = line.decode() if isinstance(line, bytes) else line
        fields = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        ) from error
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(str(error)) from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"not a JSON object: {text[:60]!r}")
    return cast("dict[str, Any]", fields)


def type_of(fields: Mapping[str, Any]) -> type[Event]:
    """The event class that the fields name.

    Raises:
        InvalidRequest: `type` is missing or unknown.
    """
    name = fields.get("type")
    if name == "undecodable":
        raise InvalidRequest(
            "these bytes were no event on the log that the line comes from, and cannot be "
            "appended; take the line out (offsets after it in its partition move down by one)"
        )
    if name == EventQuarantined.__name__:
        raise InvalidRequest(
            "EventQuarantined tells what stands on another topic of the same log, and is written "
            "by `errata worker --quarantine` alone; take the line out"
        )
    if not isinstance(name, str) or name not in EVENT_TYPES:
        known = ", ".join(each for each in EVENT_TYPES if each != EventQuarantined.__name__)
        problem_ = "has no type" if name is None else f"has the unknown type {name!r}"
        raise InvalidRequest(f"the event {problem_}; known are {known}")
    return EVENT_TYPES[name]


def admit(fields: Mapping[str, Any], stamps: Stamps) -> Event:
    """The event that the fields describe.

    Raises:
        InvalidRequest: names the event, the field, the rule and the value.
    """
    event_type = type_of(fields)
    given = {
        key: value for key, value in fields.items() if key != "type" and key not in COORDINATES
    }
    given.setdefault("event_id", stamps.event_id)
    given.setdefault("occurred_at", stamps.occurred_at.isoformat())
    given.setdefault("contract_version", stamps.contract_version)
    if issubclass(event_type, ContractChange | PatchProposed | PatchDecided):
        given.setdefault("at", list(stamps.position.labels))
    elif event_type is RolledBack:
        given.setdefault("at", stamps.position.as_dict())
    name = event_type.__name__
    try:
        event: Event = _ADAPTERS[name].validate_json(json.dumps(given))
    except ValidationError as error:
        raise InvalidRequest(f"{name}: {'; '.join(_words(error))}") from error
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{name}: {error}") from error
    if event.occurred_at.tzinfo is not None:
        event = replace(event, occurred_at=event.occurred_at.astimezone(UTC))
    broken = problem(event) or _unwise(event, given)
    if broken is not None:
        raise InvalidRequest(f"{name}: {broken}")
    return event


def _unwise(event: Event, given: Mapping[str, Any]) -> str | None:
    """What the log could hold and no author can mean."""
    for field in _PEOPLE:
        wrong = misspelt(getattr(event, field, None) or "")
        if wrong is not None:
            return f"{field} {wrong}"
    if isinstance(event, PolicyChanged):
        for role, actors in (event.roles or {}).items():
            wrong = next(filter(None, map(misspelt, actors)), None)
            if wrong is not None:
                return f"roles: {role} names one that {wrong}"
        unknown = sorted((event.roles or {}).keys() - set(ROLES))
        if unknown:
            return f"roles names {unknown[0]!r}; the roles are {', '.join(ROLES)}"
    if isinstance(event, ItemRegistered):
        for key, value in given.get("attributes", {}).items():
            if isinstance(value, int) and value != event.attributes[key]:
                return f"attributes[{key!r}] is {value}, which a 64-bit float cannot hold exactly"
    return None


def misspelt(name: str) -> str | None:
    """Why a person's name is no proper spelling. Names are compared as they are: `ann` with a space
    behind would be a second person, who approves what ann does.
    """
    ends = name[:1] + name[-1:]
    if name != name.strip() or not ends.isprintable():
        return f"is {name!r}, which begins or ends with what can't be seen"
    if not name.isascii() and unicodedata.normalize("NFC", name) != name:
        return f"is {name!r}, whose letters are put together of parts: write it in Unicode's NFC"
    return None


def admit_geometry(text: str) -> Geometry:
    """The geometry in a JSON text.

    Raises:
        InvalidRequest: names the rule and the value.
    """
    try:
        return TypeAdapter(Geometry).validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(f"geometry {text}: {'; '.join(_words(error))}") from error


def as_fields(event: Event) -> dict[str, Any]:
    """The event as JSON-ready fields, `type` first: what `admit` takes."""
    fields: dict[str, Any] = {"type": type(event).__name__, **plain(event)}
    fields["occurred_at"] = event.occurred_at.isoformat().replace("+00:00", "Z")
    for name in ("position", "to", "at", "based_on", "key", "value"):
        value = getattr(event, name, None)
        if isinstance(value, Position):
            fields[name] = value.as_dict()
        elif isinstance(value, bytes):
            fields[name] = b64encode(value).decode()
    return fields


def _words(error: ValidationError) -> Iterable[str]:
    for each in error.errors(include_url=False):
        field = ".".join(str(part) for part in each["loc"]) or "the event"
        match each["type"]:
            case "missing":
                yield f"{field} is missing"
            case "unexpected_keyword_argument" | "extra_forbidden":
                yield f"{field} is no field of it"
            case _:
                yield f"{field} is {_short(each['input'])}: {each['msg']}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
