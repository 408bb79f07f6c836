"""`errata append`: events as JSON lines, in the file's order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ledger.cli import (
    Progress,
    as_json,
    note,
    open_ledger,
    position_fields,
    print_json,
    shared,
)
from ledger.door import read_line
from ledger.errors import InvalidRequest, LogUnavailable
from ledger.ledger import Ledger
from producers.sources import STANDARD_INPUT, Source, at_line, lines, open_source, size_of

Fields = dict[str, Any]


@click.command()
@shared
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@as_json
def append(*, file: Path, as_json: bool) -> None:
    """Append the events of FILE: JSON lines; - is standard input.

    A line names the event's `type` and fields. Left out, `event_id`, `occurred_at`,
    `contract_version` and the `at` of a contract change or a rollback are stamped. A file is
    checked whole before anything is appended; standard input is appended as it comes, up to the
    first bad line. The position reached is printed. What the fold refuses stands on the log all
    the same: see `errata log --outcomes`.
    """
    ledger = open_ledger()
    source = open_source(file)
    with source.file:
        twice = file != STANDARD_INPUT and source.file.seekable()
        with Progress(f"appending {file}", 2 * size_of(source) if twice else 0) as progress:
            appending = _Appending(ledger, source, progress)
            if twice:
                appending.check()
                source.file.seek(0)
            appending.run()
    position = ledger.resolve()
    if as_json:
        counts = {"appended": appending.stored, "refused": appending.refused}
        print_json({**counts, **position_fields(position)})
    else:
        click.echo(position.text())


@dataclass
class _Appending:
    """A source on its way into the log.

    Attributes:
        stored: how many of its events are known to be on the log.
        refused: how many governance events the fold refuses.
        line: the last line before which everything is.
        checked: whether every event is known to be good.
    """

    ledger: Ledger
    source: Source
    progress: Progress
    stored: int = 0
    line: int = 0
    refused: int = 0
    checked: bool = False

    def check(self) -> None:
        """Refuse the first event that could not be appended, appending nothing."""
        for _, _, error in self._groups():
            if error is not None:
                raise InvalidRequest(f"{error}. Nothing was appended") from error
        self.checked = True

    def run(self) -> None:
        """Append, and when that ends early say how far it came."""
        try:
            for last, events, error in self._groups():
                self._append(events)
                self.line = last
                if error is not None:
                    raise InvalidRequest(
                        f"{error}. The {self.stored} events before it are appended, up to "
                        f"position {self.ledger.resolve()}; mend the line and go on from it"
                    ) from error
        except LogUnavailable as error:
            stored = self.stored + error.acknowledged
            raise LogUnavailable(
                f"{error}. Of {self.source.name} {stored} events are stored, {self._reached()}",
                acknowledged=stored,
            ) from error
        except KeyboardInterrupt:
            note(f"interrupted; of {self.source.name} {self._reached()}")
            raise

    def _reached(self) -> str:
        return f"all up to line {self.line}; append it again from line {self.line + 1} on"

    def _append(self, events: list[Fields]) -> None:
        done = self.ledger.append_all(events)
        self.stored += len(done.places)
        self.refused += len(done.refused)
        for _, event, outcome in done.refused:
            name = type(event).__name__
            note(f"{self.source.name}: {name} {event.event_id} is {outcome}: {outcome.reason}")

    def _groups(self) -> Iterator[tuple[int, list[Fields], InvalidRequest | None]]:
        """Good events in a row, the number of the last one's line, and what ended the row."""
        last = 0
        groups = lines(self.source)
        while True:
            events: list[Fields] = []
            try:
                group = next(groups, None)
                for number, line in group or ():
                    events.append(self._event(number, line))
                    self.progress.advance(len(line) + 1)
                    last = number
            except InvalidRequest as error:
                yield last, events, error
                return
            if group is None:
                return
            yield last, events, None

    def _event(self, number: int, line: bytes) -> Fields:
        try:
            fields = read_line(line)
            if not self.checked:
                self.ledger.check([fields])
        except InvalidRequest as error:
            raise at_line(self.source, number, error) from error
        return fields
