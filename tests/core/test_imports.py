"""The core is pure, and its tables are complete."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledger.core
from ledger.core import events, fold, governance, validity
from ledger.core.events import ContractChange, Event, LabelEvent

FOLDER = Path(ledger.core.__path__[0])
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]))
IMPURE = {
    "asyncio", "ctypes", "gc", "getpass", "glob", "http", "importlib", "io", "locale", "logging",
    "multiprocessing", "os", "pathlib", "platform", "random", "secrets", "shutil", "signal",
    "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
    "warnings", "weakref",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "hash", "id"}


def tree(module: str) -> ast.Module:
    return ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield str(node.module)


@pytest.mark.parametrize("module", MODULES)
def test_the_core_imports_the_standard_library_and_itself(module: str):
    """No clock, randomness, input, output or logging; nothing of the ledger around it."""
    for name in imported(module):
        root = name.partition(".")[0]
        assert (
            root in sys.stdlib_module_names
            or name == "ledger.core"
            or (name.startswith("ledger.core."))
        )
        assert root not in IMPURE


@pytest.mark.parametrize("module", MODULES)
def test_the_core_asks_nobody(module: str):
    """It calls no built-in that reads, writes, evaluates or depends on the process, nor a clock."""
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    methods = {func.attr for func in calls if isinstance(func, ast.Attribute)}
    assert not names & IMPURE_CALLS
    assert not methods & {"now", "utcnow", "today"}


def of_module(base: type[Event]) -> set[type[Event]]:
    """The event classes of `events` that can be on the wire."""
    found = (each for _, each in inspect.getmembers(events, inspect.isclass))
    return {each for each in found if issubclass(each, base)} - {Event, LabelEvent, ContractChange}


def test_every_event_has_its_topic():
    """The lists of events by topic together name every event, once, under its wire name."""
    named = [*events.LABEL_EVENTS, *events.GOVERNANCE_EVENTS, *events.QUARANTINE_EVENTS]
    assert len(named) == len(set(named))
    assert set(named) == of_module(Event)
    assert set(events.LABEL_EVENTS) == of_module(LabelEvent)
    assert {name: each.__name__ for name, each in events.EVENT_TYPES.items()} == {
        each.__name__: each.__name__ for each in named
    }


def test_every_event_is_handled():
    """The tables of the folds and of the events' own rules have an entry for every event type."""
    assert set(fold.HANDLERS) == set(events.LABEL_EVENTS)
    assert set(governance.HANDLERS) == set(events.GOVERNANCE_EVENTS)
    assert set(validity.OWN_RULES) == set(events.EVENT_TYPES.values())


def test_every_module_says_what_it_is():
    """Each module opens with its theory, and the package names each module."""
    for name in MODULES:
        assert importlib.import_module(f"ledger.core.{name}").__doc__
        assert f"`{name}`" in str(ledger.core.__doc__)
