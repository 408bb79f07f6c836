"""The command line: finds the commands, gives each its ledger, and turns errors into sentences.

The commands stand in `producers` (what writes) and `consumers` (what reads); the package's entry
points `errata.commands` are their table of contents, so that nothing here imports them and each
is loaded only when it is called. Exit codes: 0 done, 1 refused or check failed, 2 wrong usage.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast

import click
import structlog
from tabulate import tabulate

from ledger.errors import InvalidSetting, LedgerError
from ledger.ledger import Ledger
from ledger.settings import Settings, load

COMMANDS = "errata.commands"
_F = TypeVar("_F", bound=Callable[..., Any])
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and say what went wrong in a sentence."""
        try:
            return super().invoke(ctx)
        except InvalidSetting as error:
            click.echo(f"errata: {error}", err=True)
            ctx.exit(2)
        except LedgerError as error:
            click.echo(f"errata: {error}", err=True)
            ctx.exit(1)
        except BrokenPipeError:  # the reader of our output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


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
    """Who acts: the flag, else the setting."""
    actor = actor or settings().actor
    if not actor:
        raise click.UsageError("say who acts with --as WHO (or set ERRATA_ACTOR)")
    return actor


def print_json(value: Any) -> None:
    """One JSON line on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def print_table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> None:
    """A table for people; text stays text (a label `1e5` is no number)."""
    click.echo(tabulate(list(rows), headers=headers, disable_numparse=True))


def note(text: str) -> None:
    """A remark for people, on standard error, so that standard output stays data."""
    click.echo(text, err=True)
