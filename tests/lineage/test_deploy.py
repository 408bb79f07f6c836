"""What `deploy` and the hooks say is run here as a runner would run it, step by step."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("polars")

from tests.cli.command import Errata
from tests.events import item, proposal, vote

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / "deploy/github/errata-gate.yml").read_text()
HOOKS = (ROOT / ".pre-commit-hooks.yaml").read_text()
INSTALL = "Install errata"
GOOD_PATCH = {"id": "b", "from": "cat", "to": "dog", "reason": "it barks"}
BAD_PATCH = {"id": "b", "from": "dog", "to": "cat", "reason": "it meows"}
GOOD_MAPPING, BAD_MAPPING = {"rename": {"dog": "hound"}}, {"merge": {"wolf": "dog"}}
Done = subprocess.CompletedProcess[str]


def steps() -> Iterator[tuple[str, str]]:
    """The workflow's steps that run a script, by name."""
    found = re.findall(
        r"^ {6}- name: ([^\n]+)\n(?: {8}[^\n]*\n)*? {8}run: \|\n((?: {10}[^\n]*\n|\n)+)",
        WORKFLOW,
        re.MULTILINE,
    )
    return ((name, textwrap.dedent(script)) for name, script in found)


class Repository:
    """A repository with patches and mapping files beside a ledger of its own."""

    def __init__(self, errata: Errata) -> None:
        self.folder = errata.folder
        self.git("init", "--quiet")
        self.git("commit", "--quiet", "--allow-empty", "--message", "first")
        self.first = self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        me = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
        return subprocess.run(
            ["git", *me, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        ).stdout

    def commit(self, name: str, content: object) -> str:
        """Commit a file of one JSON line; its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) + "\n")
        self.git("add", name)
        self.git("commit", "--quiet", "--message", name)
        return name

    def run(self, *command: str, **env: str) -> Done:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PATH": path, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def workflow(self, **env: str) -> dict[str, Done]:
        """Every step but the installation, up to the first that fails."""
        done: dict[str, Done] = {}
        for name, script in steps():
            if name != INSTALL:
                shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
                done[name] = self.run(*shell, BASE=self.first, AT="head", MODEL="", **env)
                if done[name].returncode:
                    break
        return done

    def verdict(self) -> str:
        return json.loads((self.folder / "verdict.json").read_text())["verdict"]


@pytest.fixture
def repository(errata: Errata) -> Repository:
    """Three cats, of which one was corrected since `v1`."""
    errata("init", "--class", "cat", "--class", "dog")
    errata("append", errata.write("items.jsonl", [item(name, "cat") for name in "abc"]))
    errata("tag", "v1")
    fix = [proposal("c1", "a", "cat", "dog"), vote("c1", "a")]
    errata("append", errata.write("fix.jsonl", fix))
    return Repository(errata)


def test_the_workflow_passes_what_fits(repository: Repository) -> None:
    """Patches and mapping files that fit pass every step, whatever their names are, and the verdict
    is kept.
    """
    repository.commit("patches/good one.jsonl", GOOD_PATCH)
    repository.commit("schema/mappings/rename.json", GOOD_MAPPING)
    repository.commit("patches/-v.jsonl", GOOD_PATCH)
    done = repository.workflow()
    assert [each.returncode for each in done.values()] == [0, 0, 0, 0]
    assert "good one.jsonl fits head" in done["Check the patches"].stdout
    assert "hound (new)" in done["Try the contract changes"].stdout
    assert repository.verdict() == "pass"


@pytest.mark.parametrize(
    ("name", "content", "step"),
    [
        ("patches/2026/bad.jsonl", BAD_PATCH, "Check the patches"),
        ("mappings/bad.json", BAD_MAPPING, "Try the contract changes"),
    ],
)
def test_the_workflow_stops_at_what_does_not(
    repository: Repository, name: str, content: object, step: str
) -> None:
    """A file that does not fit fails its step, although the one after it fits; a file that did not
    change since is not looked at.
    """
    repository.commit(name, content)
    good = name.replace("bad", "worse")
    repository.commit(good, GOOD_PATCH if "patches" in name else GOOD_MAPPING)
    assert list(repository.workflow())[-1] == step
    repository.first = repository.git("rev-parse", "HEAD").strip()
    assert all(each.returncode == 0 for each in repository.workflow().values())


def test_the_workflow_stops_before_a_deployment(repository: Repository, errata: Errata) -> None:
    """Without any file to look at the labels are held against the contract; where they fail the
    step fails, and the verdict says why.
    """
    change = {"type": "PolicyChanged", "version": 2, "actor": "ann", "approved_by": "bob"}
    limits = {"thresholds": {"correction_rate_max": 0.1}}
    errata("append", errata.write("policy.jsonl", [{**change, **limits}]))
    repository.first = ""
    last = list(repository.workflow().values())[-1]
    assert last.returncode == 1
    assert last.stderr == "errata: the labels at head fail the gate: correction_rate\n"
    assert repository.verdict() == "fail"


def test_what_the_workflow_installs_there_is() -> None:
    """The extras that it names are extras of ours."""
    (extras,) = re.findall(r"'errata\[([\w,]+)\]'", WORKFLOW)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= known.keys()
    assert next(steps())[0] == INSTALL


@pytest.mark.parametrize(
    ("hook", "good", "bad", "files"),
    [
        (
            "errata-patch-check",
            GOOD_PATCH,
            BAD_PATCH,
            ("patches/a good one.jsonl", "patches/bad.jsonl", "patches/-v.jsonl"),
        ),
        (
            "errata-contract-dry-run",
            GOOD_MAPPING,
            BAD_MAPPING,
            ("mappings/a good one.json", "schema/mappings/bad.json", "mappings/-v.json"),
        ),
    ],
)
def test_each_hook(
    repository: Repository, hook: str, good: object, bad: object, files: tuple[str, ...]
) -> None:
    """A hook takes files that fit, several at once, and fails where one does not."""
    _, _, mine = HOOKS.partition(f"- id: {hook}\n")
    (entry, *_), (pattern, *_) = (re.findall(rf"  {key}: (.*)", mine) for key in ("entry", "files"))
    assert all(re.search(pattern, name) for name in files)
    assert not re.search(pattern, "README.md")
    for name in files:
        repository.commit(name, bad if "bad" in name else good)
    fits = [name for name in files if "bad" not in name]
    assert repository.run(*shlex.split(entry), *fits).returncode == 0
    failed = repository.run(*shlex.split(entry), *files)
    assert failed.returncode == 1
    assert "bad.json" in failed.stderr
