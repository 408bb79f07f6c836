"""The command line: finds the commands, gives each its ledger, and turns errors into sentences.

The commands stand in `producers` (what writes) and `consumers` (what reads); the package's entry
points `errata.commands` are their table of contents, so that nothing here imports them and each
is loaded only when it is called. Exit codes: 0 done, 1 refused or check failed, 2 wrong usage,
130 interrupted.

Data goes to standard output, remarks and errors to standard error. JSON is UTF-8 whatever the
terminal's encoding is. What people read has its control characters escaped, because labels, ids
and reasons come from anybody: none of them may move a cursor or look like a line of ours.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any, BinaryIO, Self, TypeVar, cast

import click
import structlog
from tabulate import tabulate

from ledger.core.position import Position
from ledger.errors import InvalidRequest, InvalidSetting, LedgerError
from ledger.ledger import Ledger
from ledger.printable import printable
from ledger.settings import Settings, load

COMMANDS = "errata.commands"
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells report it
_F = TypeVar("_F", bound=Callable[..., Any])
_MOMENT_S = 1.0
_SHARED = ("log", "dataset", "registry")


class Commands(click.Group):
    """A group whose commands are entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        return sorted(entry_points(group=COMMANDS).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name, loaded now."""
        found = entry_points(group=COMMANDS, name=cmd_name)
        return next(iter(found)).load() if found else None

    def main(self, *args: Any, **options: Any) -> Any:
        """Run as a program; output that fails outside of a command (`--help`) is a sentence too."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # None where it is closed
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **options)
        except OSError as error:
            sys.exit(_told(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and say what went wrong in a sentence."""
        try:
            try:
                return super().invoke(ctx)
            finally:  # what a full disk cannot take fails here, not when the interpreter ends
                if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    sys.stdout.flush()
        except (LedgerError, OSError, KeyboardInterrupt) as error:
            ctx.exit(_told(error))


def _told(error: BaseException) -> int:
    """Say what went wrong, and return the exit code."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case OSError():
            _forget_output()
            if isinstance(error, BrokenPipeError):  # the reader of our output has had enough
                return 0
            note(f"errata: {error.filename or 'standard output'}: {error.strerror or error}")
            return 1
        case _:
            note(f"errata: {error}")
            return 2 if isinstance(error, InvalidSetting) else 1


def _forget_output() -> None:
    """Send what is still buffered nowhere, so that it does not fail again at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def shared(command: _F) -> _F:
    """Adds the flags that say which ledger; they may stand before or after the command."""
    for flag, help_text in (
        ("--registry", "A Confluent-compatible schema registry's address."),
        ("--dataset", "The dataset's name."),
        ("--log", "sqlite:///path/to/log.db or kafka://host:port[,host:port]."),
    ):
        command = click.option(flag, help=help_text, expose_value=False, callback=_remember)(
            command
        )
    return command


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        ctx.ensure_object(dict)[param.name] = value
    return value


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
at_position = click.option(
    "--at",
    default="head",
    show_default=True,
    metavar="POSITION",
    help="Offsets (labels=12,40,7,9;governance=3), a version, a timestamp, or head.",
)
acting = click.option("--as", "actor", metavar="WHO", help="Who acts [default: ERRATA_ACTOR].")


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="errata", prog_name="errata")
@click.option("-v", "--verbose", is_flag=True, help="Say on standard error what the clients do.")
@shared
def main(*, verbose: bool) -> None:
    """An event-sourced ledger of label corrections.

    Every correction, review and contract change is an event on a log; every past version of the
    labels is rebuilt from it exactly, and every bad one rolled back.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.WARNING
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def settings(**more: Any) -> Settings:
    """The settings of this call: flags before environment before file."""
    given = cast("dict[str, Any]", click.get_current_context().ensure_object(dict))
    return load(**{name: given[name] for name in _SHARED if name in given}, **more)


def open_ledger() -> Ledger:
    """The ledger of this call, closed when the command ends."""
    ledger = Ledger.from_settings(settings())
    click.get_current_context().call_on_close(ledger.close)
    return ledger


def who(actor: str | None) -> str:
    """Who acts: the flag, else the setting. An empty flag is a mistake (`--as "$UNSET"`) and
    never somebody else.
    """
    actor = settings().actor if actor is None else actor
    if not actor:
        raise click.UsageError("say who acts with --as WHO (or set ERRATA_ACTOR)")
    return actor


def output() -> BinaryIO:
    """Standard output for bytes."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise InvalidRequest("standard output is closed: there is nowhere to write")
    return sys.stdout.buffer


def print_json(value: Any) -> None:
    """One JSON line on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def print_table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> None:
    """A table for people; text stays text (a label `1e5` is no number)."""
    safe = [[printable(str(cell)) for cell in row] for row in rows]
    click.echo(tabulate(safe, headers=headers, disable_numparse=True))


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values for people, one under the other; further lines of a value are indented."""
    for name, value in fields:
        lines = [printable(line) for line in value.split("\n")]
        click.echo(f"{name:<18} " + f"\n{'':<19}".join(lines))


def print_line(text: str) -> None:
    """One line for people on standard output."""
    click.echo(printable(text))


def note(text: str) -> None:
    """A remark for people, on standard error, so that standard output stays data."""
    click.echo(printable(text), err=True)


class Progress:
    """A bar on standard error, where that is a terminal and the work takes more than a moment.

    Args:
        label: what is being done.
        total: how much there is to do, in any unit.
    """

    def __init__(self, label: str, total: int) -> None:
        bare = sys.stderr is None or not sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]
        self._bar = click.progressbar(
            length=max(total, 1), label=label, file=sys.stderr, hidden=bare
        )
        self._total = total
        self._done = 0
        self._since_s = time.monotonic()
        self._shown = False

    def advance(self, count: int) -> None:
        """So much more is done."""
        self._done += count
        if self._shown:
            self._bar.update(count)
        elif time.monotonic() - self._since_s > _MOMENT_S:
            self._shown = True
            self._bar.render_progress()
            self._bar.update(min(self._done, self._total))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.render_finish()


def position_fields(position: Position) -> dict[str, Any]:
    """A position in every JSON answer: as offsets, and as the text that `--at` takes."""
    return {"position": position.as_dict(), "position_text": position.text()}
