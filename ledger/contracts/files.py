"""Files that say how a contract is to change, as one change.

A mapping file is a JSON object with any of these keys; several files make one change together:

    {"rename": {"automobile": "car"}}
    {"merge": {"sedan": "car", "hatchback": "car"}}
    {"split": {"dog": {"dog_small": "area < 8000", "dog_large": "area >= 8000"}}}
    {"add": ["bird", {"name": "fish", "meaning": "lives in water", "anchor": "wd:Q152"}]}
    {"deprecate": ["cow"]}

Rename comes before merge, merge before split, then add and deprecate, whatever the order of keys
and files. A policy file has any of `approvals_required`, `roles`, `expert_classes`, `thresholds`,
`service_levels` instead; each replaces what there was of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ledger.core import rules
from ledger.door import read_line
from ledger.errors import InvalidRequest

BYTES_MAX = 16 * 1024 * 1024
"""No contract is near as long."""
SCHEMA = ("rename", "merge", "split", "add", "deprecate")
POLICY = ("approvals_required", "roles", "expert_classes", "thresholds", "service_levels")
_BOM = b"\xef\xbb\xbf"
_YAML = (".yaml", ".yml")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One change of the contract, of classes or of policy, as it was asked for.

    Attributes:
        fields: those of `SCHEMA` or of `POLICY` that are given; `add` as objects with a name.
        names: what the change was read from, to name it in errors.
    """

    fields: Mapping[str, Any]
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def of_policy(self) -> bool:
        """Whether it is the policy that changes."""
        return bool(self.fields) and set(self.fields) <= set(POLICY)


def read(paths: Iterable[Path], add: Iterable[str] = ()) -> Change:
    """The one change that files make together.

    Args:
        paths: the files.
        add: classes that are added beside.

    Raises:
        InvalidRequest: names the file, the key and the rule.
    """
    said = [(str(path), _object(path)) for path in paths]
    more = list(dict.fromkeys(add))
    return change_of([*said, *([("--add", {"add": more})] if more else [])])


def change_of(said: Iterable[tuple[str, Mapping[str, Any]]]) -> Change:
    """The one change that some objects make together, each given with its name.

    Raises:
        InvalidRequest: names the object, the key and the rule.
    """
    said = list(said)
    found: Fields = {}
    whose: dict[str, str] = {}
    for name, fields in said:
        for key, value in fields.items():
            if key not in _CHECKS:
                known = f"{', '.join(SCHEMA)}; for policy {', '.join(POLICY)}"
                raise InvalidRequest(f"{name}: {key!r} is no key of a contract change ({known})")
            try:
                made = _CHECKS[key](value)
                found[key] = _joined(key, found[key], made) if key in found else made
            except _WrongError as error:
                other = f" (also in {whose[key]})" if key in whose else ""
                raise InvalidRequest(f"{name}: {key}{error}{other}") from error
            whose[key] = name
    names = tuple(name for name, _ in said)
    found = {key: value for key, value in found.items() if value or key in POLICY}
    if not found:
        raise InvalidRequest(f"{', '.join(names) or 'no file'}: nothing is to change")
    schema = [key for key in found if key in SCHEMA]
    policy = [key for key in found if key in POLICY]
    if schema and policy:
        raise InvalidRequest(
            f"{schema[0]} changes classes and {policy[0]} policy: these are two changes, each with "
            "a version of its own; apply one and then the other"
        )
    return Change({key: found[key] for key in (*SCHEMA, *POLICY) if key in found}, names)


class _WrongError(Exception):
    """What is wrong with the value of a key, to be said after the key."""


def _object(path: Path) -> Fields:
    try:
        with path.open("rb") as file:
            text = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error
    if len(text) > BYTES_MAX:
        raise InvalidRequest(f"{path}: longer than {BYTES_MAX:,} bytes, and no contract is")
    try:
        return read_line(text.removeprefix(_BOM))
    except InvalidRequest as error:
        why, problem = str(error), error.__cause__
        if isinstance(problem, json.JSONDecodeError):
            why = f"not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}"
        if path.suffix.lower() in _YAML:
            why += "; mapping files are JSON, not YAML"
        raise InvalidRequest(f"{path}: {why}") from error


def _joined(key: str, before: Any, more: Any) -> Any:
    """Two files' values of one key."""
    if key == "add":
        return _classes_once([*before, *more])
    if key == "deprecate":
        return _names([*before, *more])
    if not isinstance(before, dict):
        raise _WrongError(" is given twice")
    known = cast("Fields", before)
    for name, value in more.items():
        if name in known and known[name] != value:
            raise _WrongError(f" names {name!r} twice: as {known[name]!r} and as {value!r}")
    return {**known, **more}


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError(f"{what} is {json.dumps(value)[:80]}: give a name in quotes")
    if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        raise _WrongError(f"{what} is {json.dumps(value)[:80]}: a lone surrogate is no text")
    return value


def _map(value: Any, example: str) -> Fields:
    if not isinstance(value, dict):
        raise _WrongError(f" is {json.dumps(value)[:80]}: give an object such as {example}")
    return cast("Fields", value)


def _list(value: Any, example: str) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongError(f" is {json.dumps(value)[:80]}: give a list such as {example}")
    return cast("list[Any]", value)


def _moves(value: Any) -> dict[str, str]:
    moves = _map(value, '{"old": "new"}')
    return {_text(old, " of a class"): _text(new, f" of {old!r}") for old, new in moves.items()}


def _split(value: Any) -> dict[str, dict[str, str]]:
    made: dict[str, dict[str, str]] = {}
    example = '{"dog": {"dog_small": "area < 8000", "dog_large": "area >= 8000"}}'
    for label, parts in _map(value, example).items():
        if not isinstance(parts, dict) or not parts:
            raise _WrongError(f" of {label!r} names no part: give {example}")
        made[_text(label, " of a class")] = rules_of = {}
        for part, rule in cast("Fields", parts).items():
            of = f" of {label!r} into {part!r}"
            rules_of[_text(part, f" of {label!r}")] = _text(rule, of)
            try:
                rules.parse(rule)
            except rules.RuleError as error:
                raise _WrongError(f"{of}: {error}") from error
    return made


def _add(value: Any) -> list[Fields]:
    made: list[Fields] = []
    for each in _list(value, '["bird", {"name": "fish", "meaning": "..."}]'):
        fields = cast("Fields", each) if isinstance(each, dict) else {"name": each}
        unknown = [key for key in fields if key not in ("name", "meaning", "anchor")]
        if unknown:
            raise _WrongError(f" has {unknown[0]!r}: a class has name, meaning and anchor")
        _text(fields.get("name"), " of a class")
        made.append({key: _text(text, f" {key}") for key, text in fields.items() if text})
    return _classes_once(made)


def _classes_once(classes: list[Fields]) -> list[Fields]:
    _names([each["name"] for each in classes])
    return classes


def _names(value: Any) -> list[str]:
    names = [_text(each, "") for each in _list(value, '["cow"]')]
    seen = set[str]()
    for name in names:
        if name in seen:
            raise _WrongError(f" names {name!r} twice")
        seen.add(name)
    return names


def _numbers(value: Any) -> dict[str, float]:
    made: dict[str, float] = {}
    for name, number in _map(value, '{"name": 0.25}').items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise _WrongError(f" of {name!r} is {json.dumps(number)[:80]}: give a number")
        try:
            made[_text(name, "")] = float(number)
        except OverflowError:
            raise _WrongError(f" of {name!r} is larger than any number may be") from None
    return made


def _roles(value: Any) -> dict[str, list[str]]:
    roles = _map(value, '{"admin": ["ann", "bob"], "reviewer": ["*"]}')
    return {
        role: [_text(actor, f" of {role!r}") for actor in _list(actors, '["ann"]')]
        for role, actors in roles.items()
    }


def _approvals(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _WrongError(f" is {json.dumps(value)[:80]}: give a whole number, 1 or more")
    return value


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "rename": _moves,
    "merge": _moves,
    "split": _split,
    "add": _add,
    "deprecate": _names,
    "approvals_required": _approvals,
    "roles": _roles,
    "expert_classes": _names,
    "thresholds": _numbers,
    "service_levels": _numbers,
}
