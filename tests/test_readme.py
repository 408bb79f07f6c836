"""What the README says is so: its commands run and print what it shows."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MARK = "--- end of output ---"


def steps() -> Iterator[tuple[str, list[str]]]:
    """Every command of the tour with the lines that it is to print."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *expected = step.rstrip("\n").split("\n")
            yield command, expected


def run_tour(folder: Path) -> list[str]:
    """The standard output of each command of the tour, run in one shell."""
    script = "\n".join(f"{command}\necho '{MARK}'" for command, _ in steps())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{MARK}\n")[:-1]


def matches(expected: list[str], printed: str) -> bool:
    """Whether the lines are those shown; `...` stands for anything."""
    pattern = re.escape("\n".join(expected)).replace(r"\.\.\.", "(.|\n)*")
    return re.fullmatch(pattern, printed.rstrip("\n")) is not None


@pytest.fixture
def toured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in [name for name in os.environ if name.startswith("ERRATA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return run_tour(tmp_path)


def test_the_tour_and_the_python_example_print_what_they_show(toured: list[str]) -> None:
    """Every command of the tour, and then every line of Python, does what the README says."""
    for (command, expected), printed in zip(steps(), toured, strict=True):
        assert matches(expected, printed), f"$ {command}\n{printed}"
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {}, "README.md", "README.md", 0)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert results.attempted > 5
    assert results.failed == 0


def test_the_documented_topics_and_events_are_those_there_are() -> None:
    """Every topic and every event type stands in the README."""
    from ledger.core.events import EVENT_TYPES
    from ledger.logs.base import Topic

    for name in (*EVENT_TYPES, *Topic):
        assert f"`{name}`" in README, name


def test_every_setting_is_documented() -> None:
    """Every setting stands in the README's table with its environment variable."""
    from ledger.settings import Settings

    for name in Settings.model_fields:
        assert f"`ERRATA_{name.upper()}`" in README, name
