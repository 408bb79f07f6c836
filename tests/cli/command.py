"""The command `errata` in a folder of its own: called in this process, or run as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from click.testing import CliRunner

from ledger.cli import main

Fields = dict[str, Any]
PROGRAM = Path(sys.executable).with_name("errata")


class Said(NamedTuple):
    """What a command printed."""

    out: str
    err: str

    @property
    def json(self) -> Fields:
        """The one JSON line."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Fields]:
        """The JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Errata:
    """Calls commands in `folder`, as `ann` unless a test says otherwise.

    A call asserts its exit code, and that what went wrong was said without a traceback.
    """

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self.folder = folder
        self.flags = tuple(flags)

    def on(self, *flags: str) -> Errata:
        """The same with these flags in front of each command."""
        return Errata(self.folder, (*self.flags, *flags))

    def __call__(
        self,
        *arguments: str | Path,
        code: int = 0,
        stdin: bytes | str = b"",
        env: Mapping[str, str] | None = None,
    ) -> Said:
        """Call in this process, whose working directory is the folder."""
        done = CliRunner().invoke(
            main,
            [*self.flags, *map(str, arguments)],
            input=stdin,
            env=dict(env or {}),
            prog_name="errata",
        )
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        assert done.exit_code == code, f"{arguments}: {done.exit_code}\n{done.output}"
        said = Said(done.stdout_bytes.decode(), done.stderr)  # with the carriage returns
        if code == 1:
            assert said.err.splitlines()[-1].startswith("errata: "), said.err
        return said

    def refused(self, *arguments: str | Path, stdin: bytes | str = b"", code: int = 1) -> str:
        """The sentence with which the command is refused."""
        last = self(*arguments, stdin=stdin, code=code).err.splitlines()[-1]
        return last.removeprefix("errata: ").removeprefix("Error: ")

    def start(
        self,
        *arguments: str | Path,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Run as a process of its own."""
        return subprocess.Popen(
            [PROGRAM, *self.flags, *map(str, arguments)],
            cwd=self.folder,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=dict(os.environ),
        )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of commands in one shell."""
        path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {script}"],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def write(self, name: str, content: bytes | str | Sequence[Fields]) -> Path:
        """Write a file of bytes, of text, or of JSON lines, and return its path."""
        if not isinstance(content, bytes | str):
            content = "".join(json.dumps(each) + "\n" for each in content)
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def position(self) -> str:
        """The text of the position at the end."""
        return self("status", "--json").json["position_text"]

    def labels(self, at: str = "head") -> dict[str, str]:
        """The label of every labelled item."""
        return {each["id"]: each["label"] for each in self("snapshot", "--at", at).lines}
