"""`errata append`: events as JSON lines, in the file's order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ledger.cli import as_json, note, open_ledger, print_json, shared
from ledger.door import read_line
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger


@click.command()
@shared
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@as_json
def append(*, file: Path, as_json: bool) -> None:
    """Append the events of FILE (JSON lines; - is standard input) and print the position reached.

    A line names the event's `type` and fields. Left out, `event_id`, `occurred_at`,
    `contract_version` and the `at` of a contract change are stamped. A file is checked whole
    before anything is appended; standard input is appended as it comes, up to the first bad line.
    """
    ledger = open_ledger()
    if str(file) == "-":
        count = _append(ledger, Lines("standard input", sys.stdin.buffer))
    else:
        try:
            with file.open("rb") as source:
                if source.seekable():
                    _check(ledger, Lines(str(file), source))
                    source.seek(0)
                count = _append(ledger, Lines(str(file), source))
        except OSError as error:
            raise InvalidRequest(f"{file}: {error.strerror}") from error
    position = ledger.resolve()
    if as_json:
        print_json({"appended": count, "position": position.as_dict(), "text": position.text()})
    else:
        click.echo(position.text())


class Lines:
    """The events of a source of JSON lines; knows the line that it gave last.

    Empty lines are passed over.
    """

    def __init__(self, name: str, source: Iterable[bytes]) -> None:
        self.name = name
        self.number = 0
        self._source = source

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._source:
            self.number += 1
            if line.strip():
                yield read_line(line)

    def refusal(self, error: InvalidRequest) -> str:
        """The error with the place it is about."""
        _, _, rule = str(error).rpartition(f"event {self.number}: ")
        return f"{self.name}, line {self.number}: {rule}"


def _check(ledger: Ledger, lines: Lines) -> None:
    try:
        ledger.check(lines)
    except InvalidRequest as error:
        raise InvalidRequest(f"{lines.refusal(error)}. Nothing was appended") from error


def _append(ledger: Ledger, lines: Lines) -> int:
    try:
        done = ledger.append_all(lines)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"{lines.refusal(error)}. The lines before it are appended, up to position "
            f"{ledger.resolve()}; mend the line and go on from it"
        ) from error
    for _, event, outcome in done.refused:
        name = type(event).__name__
        note(f"{lines.name}: {name} {event.event_id} is {outcome.value}: {outcome.reason}")
    return len(done.places)
