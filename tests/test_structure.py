"""The rules of the house, each of which is a wish until something checks it."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "consumers", "producers")
LINES_MAX, FUNCTION_LINES_MAX = 400, 50
TOP = {
    *("pyproject.toml", "README.md", "ledger", "consumers", "producers", "schemas", "tests"),
    *("deploy", "Makefile", "requirements.lock", ".ci", ".gitignore", ".pre-commit-hooks.yaml"),
}


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(module: Path) -> set[str]:
    """The full names of everything that the module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def importers(name: str) -> set[str]:
    """The modules of ours that import the package `name`."""
    return {
        str(module.relative_to(ROOT))
        for module in modules(*PACKAGES)
        if any(each == name or each.startswith(name + ".") for each in imports(module))
    }


def test_imports_point_inward() -> None:
    """`ledger` knows neither producers nor consumers, and these do not know each other."""
    assert not {name for name in importers("producers") if not name.startswith("producers")}
    assert not {name for name in importers("consumers") if not name.startswith("consumers")}


def test_the_core_is_pure() -> None:
    """`ledger/core` imports the standard library and itself, and nothing that acts or asks."""
    acting = {"time", "random", "os", "io", "logging", "uuid", "secrets", "socket", "subprocess"}
    for module in modules("ledger/core"):
        for name in imports(module):
            top = name.partition(".")[0]
            assert name.startswith("ledger.core") or top in sys.stdlib_module_names, (module, name)
            assert top not in acting, (module, name)


def test_one_place_for_each_outside_thing() -> None:
    """The broker's client, SQLite, the environment and the clock are each asked in one place."""
    assert all(
        name.startswith("ledger/logs/kafka") or name == "ledger/registry.py"
        for name in importers("confluent_kafka")
    )
    assert all(name.startswith("ledger/logs/sqlite") for name in importers("apsw"))
    assert importers("uuid") == {"ledger/clock.py"}
    environment = [m for m in modules(*PACKAGES) if "os.environ" in m.read_text()]
    assert [str(module.relative_to(ROOT)) for module in environment] == ["ledger/settings.py"]
    clocks = [m for m in modules(*PACKAGES) if ".now(" in m.read_text()]
    assert [str(module.relative_to(ROOT)) for module in clocks] == ["ledger/clock.py"]


@pytest.mark.parametrize(
    "module", list(modules(*PACKAGES)), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_module_is_a_sitting_and_a_function_a_screen(module: Path) -> None:
    """No module has more than 400 lines and no function more than 50."""
    text = module.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


def test_the_top_level_is_the_design() -> None:
    """The folder shows the architecture: what is committed at its top is known by name."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.partition("/")[0] for name in listed} <= TOP


def test_the_core_works_without_the_extras(tmp_path: Path) -> None:
    """Without the extras the embedded log works, and what needs one says which."""
    script = """
import sys
for name in ("confluent_kafka", "polars", "pyarrow", "sklearn", "testcontainers"):
    sys.modules[name] = None
from ledger import ConfigurationError, Ledger
import ledger.cli
book = Ledger.create("sqlite:///" + sys.argv[1], "light")
book.append([{"type": "ItemRegistered", "item_id": "a", "record_id": "a", "actor": "ann"}])
for act in (book.snapshot().to_arrow, book.snapshot().to_polars,
            lambda: Ledger.open("kafka://127.0.0.1:1"),
            lambda: Ledger.create("sqlite:///" + sys.argv[1], "x", registry="http://127.0.0.1:1")):
    try:
        act()
        raise SystemExit("an extra was not missed")
    except ConfigurationError as error:
        assert "pip install 'errata[" in str(error), error
"""
    done = subprocess.run(
        [sys.executable, "-c", script, f"{tmp_path}/log.db"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_schemas(tmp_path: Path) -> None:
    """What is installed has its schemas and its commands with it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"schemas/{file.name}" for file in (ROOT / "schemas").iterdir()} <= names
    assert not any(name.startswith("tests") for name in names)
