"""Processes of `errata` by the hundred: one imports everything once, and each is a fork of it.

So a process is at work some milliseconds after it was started, and can be killed at any moment of
its life two hundred times in a minute. The nursery itself opens no file of a ledger and runs
nothing of the libraries, so that a fork finds no lock held and no thread missing.

Run as a program it is the nursery; `Nursery` starts that, and asks it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 60


class Child:
    """A process that the nursery made."""

    def __init__(self, nursery: Nursery, pid: int, out: Path, err: Path) -> None:
        self._nursery = nursery
        self._out, self._err = out, err
        self.pid = pid
        self._code: int | None = None

    @property
    def out(self) -> str:
        """What it has written to its standard output."""
        return self._out.read_text()

    @property
    def said(self) -> str:
        """What it has written to its standard error."""
        return self._err.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def code(self, patience_s: float = PATIENCE_S) -> int | None:
        """Its exit code once it has ended, negative for a signal; None if it goes on."""
        if self._code is None:
            self._code = self._nursery.ask({"wait": self.pid, "patience_s": patience_s})
        return self._code

    def kill(self) -> None:
        """End it as a power cut would; it must have been alive."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        code = self.code()
        assert code == -signal.SIGKILL, f"it had ended with {code}: {self.said}"

    def stop(self) -> None:
        """Ask it to end, and wait for a good end."""
        self.send(signal.SIGTERM)
        self.succeed()

    def succeed(self, patience_s: float = PATIENCE_S) -> None:
        """Wait for a good end."""
        assert self.code(patience_s) == 0, self.said


class Nursery:
    """Starts processes of `errata` in a folder.

    Args:
        folder: where they run, and where what they say is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        self.ask({})  # it is there

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None, **more: Any):
        """Run `errata` with these arguments.

        Args:
            *arguments: as on the command line.
            env: more settings.
            **more: `dies_before`, `below`: it kills itself before its `dies_before`th operation
                (from 1) on the names of files below the folder `below`.
        """
        self._count += 1
        out, err = (self._folder / f"{self._count}.{name}" for name in ("out", "err"))
        for file in (out, err):
            file.touch()
        wanted = {
            "arguments": [str(each) for each in arguments],
            "env": dict(env or {}),
            "folder": str(self._folder),
            "out": str(out),
            "err": str(err),
            **more,
        }
        return Child(self, self.ask(wanted), out, err)

    def run(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run `errata`, and wait for a good end; its standard output."""
        child = self.start(*arguments, env=env)
        child.succeed()
        return child.out

    def refused(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run `errata`, which is to end with 1 and a sentence: that sentence."""
        child = self.start(*arguments, env=env)
        code, said = child.code(), child.said
        assert code == 1, (code, said)
        assert "Traceback" not in said, said
        assert said.splitlines()[-1].startswith("errata: "), said
        return said.splitlines()[-1]

    def ask(self, wanted: Mapping[str, Any]) -> Any:
        """One line to the nursery, and its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(wanted).encode() + b"\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def close(self) -> None:
        """End it and all that it made."""
        self._process.communicate(timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """Be the nursery, until the end of the input."""
    for command in entry_points(group="errata.commands"):
        if command.name != "demo":
            command.load()
    for name in (
        *("ledger.logs.kafka", "ledger.logs.sqlite", "ledger.checkpoints.reader"),
        *("consumers.worker", "consumers.rebuild", "consumers.proving", "pyarrow.parquet"),
    ):
        importlib.import_module(name)
    children: set[int] = set()
    for line in sys.stdin:
        wanted = json.loads(line)
        if "arguments" in wanted:
            answer = os.fork()
            if answer == 0:
                _live(wanted)
            children.add(answer)
        elif "wait" in wanted:
            answer = _wait(wanted["wait"], wanted["patience_s"])
            if answer is not None:
                children.discard(wanted["wait"])
        else:
            answer = None
        print(json.dumps(answer), flush=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait(pid: int, patience_s: float) -> int | None:
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], patience_s)[0]:
            return None
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _live(wanted: Mapping[str, Any]) -> None:
    """Be a process of `errata`; it does not return."""
    code: Any = 70
    try:
        os.chdir(wanted["folder"])
        os.environ.update(wanted["env"])
        for number, name in enumerate((os.devnull, wanted["out"], wanted["err"])):
            os.dup2(os.open(name, os.O_WRONLY if number else os.O_RDONLY), number)
        if "dies_before" in wanted:
            _die_before(wanted["dies_before"], wanted["below"])
        code = _run(wanted["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: Sequence[str]) -> Any:
    from ledger.cli import main

    try:
        main(list(arguments), prog_name="errata")
    except SystemExit as end:
        return end.code or 0
    return 0


def _die_before(number: int, below: str) -> None:
    """Kill this process before the operation on files of this number."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(
            below
        ):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(PATIENCE_S)

    sys.addaudithook(hook)


if __name__ == "__main__":
    serve()
