"""`errata bisect`: which version, or which correction, made a command fail."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast, get_args

import click

from ledger.cli import (
    as_json,
    note,
    open_ledger,
    position_fields,
    print_json,
    print_line,
    print_table,
    shared,
)
from ledger.core.events import ItemRegistered, ReviewDecided, RolledBack, SchemaChanged
from ledger.door import as_fields
from ledger.errors import InvalidRequest
from ledger.history import label_text
from ledger.past import Past
from ledger.past.bisecting import Found, Test, Verdict
from ledger.past.steps import By, Cause, Step
from ledger.settings import environment
from ledger.snapshot import Format, Row, Snapshot

_GOOD, _SKIP, _BAD_MAX = 0, 125, 124
_SHOWN_MAX = 20
_PLACE = "{}"


@click.command()
@shared
@click.argument("good")
@click.argument("bad")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.option("--by", type=click.Choice(get_args(By)), help="What the steps are.")
@click.option("--check", is_flag=True, help="Run at every step; refuse if not monotone.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(("jsonl", "parquet", "csv")),
    default="jsonl",
    show_default=True,
    help="The snapshot's.",
)
@click.option("--content", is_flag=True, help="With text and attributes.")
@as_json
def bisect(
    *,
    good: str,
    bad: str,
    command: tuple[str, ...],
    by: By | None,
    check: bool,
    format_: str,
    content: bool,
    as_json: bool,
) -> None:
    """Find the version or the correction that broke something.

    CMD is run on the snapshot of one step after another between the positions GOOD and BAD. {} in
    its arguments stands for the snapshot's file, which ERRATA_SNAPSHOT names too. It exits with 0
    where the labels are good, 125 where it can't tell, and 1 to 124 where they are bad; anything
    else ends the search. What it prints goes to standard error.

    Steps are the versions between, where there are two or more, else each change of the labels.
    """
    with _terminable(), tempfile.TemporaryDirectory(prefix="errata-bisect-") as folder:
        file = Path(folder) / f"labels.{format_}"
        test = _test(command, file, cast("Format", format_), content=content)
        found = Past(open_ledger()).bisect(good, bad, test, by=by, check=check)
    if as_json:
        print_json(_fields(found))
    else:
        _tell(found)


@contextmanager
def _terminable() -> Generator[None]:
    """Told to end, the process still takes its files away."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _test(command: Sequence[str], file: Path, format: Format, *, content: bool) -> Test:
    arguments = [each.replace(_PLACE, str(file)) for each in command]

    def test(snapshot: Snapshot) -> Verdict:
        snapshot.save(file, format, content=content)
        try:
            done = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=2,
                env=environment(ERRATA_SNAPSHOT=str(file)),
                check=False,
                timeout=threading.TIMEOUT_MAX,  # looked at, not slept through: no signal is missed
            )
        except OSError as error:
            raise InvalidRequest(
                f"{command[0]}: {error.strerror or error}; the command could not be run"
            ) from error
        verdict = _verdict(done.returncode)
        if verdict is None:
            ended = (
                f"was ended by signal {-done.returncode}"
                if done.returncode < 0
                else f"exited with {done.returncode}"
            )
            raise InvalidRequest(
                f"{command[0]} {ended} at {snapshot.position}, which says neither good (0), bad "
                f"(1 to {_BAD_MAX}) nor skip ({_SKIP}): the search is given up"
            )
        note(f"{verdict}: {len(snapshot)} items at {snapshot.position}")
        return verdict

    return test


def _verdict(code: int) -> Verdict | None:
    if code == _GOOD:
        return "good"
    if code == _SKIP:
        return "skip"
    return "bad" if 0 < code <= _BAD_MAX else None


def _fields(found: Found) -> dict[str, Any]:
    return {
        "by": found.by,
        "steps": found.steps,
        "runs": found.runs,
        "last_good": position_fields(found.last_good),
        "first_bad": _step(found.first_bad),
        "candidates": [_step(each) for each in found.candidates],
        "changes": [
            {
                "id": change.item_id,
                "change": change.kind,
                "before": change.before.fields() if change.before else None,
                "after": change.after.fields() if change.after else None,
            }
            for change in found.difference
        ],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        **position_fields(step.position),
        "versions": list(step.names),
        "events": step.count,
        "causes": [
            {
                **as_fields(cause.event),
                "proposal": as_fields(cause.proposal) if cause.proposal else None,
            }
            for cause in step.causes
        ],
    }


def _tell(found: Found) -> None:
    first = found.first_bad
    if len(found.candidates) > 1:
        note(f"{len(found.candidates)} steps can't be told apart, for the command skipped")
    if found.by == "versions":
        print_line(f"the first bad version is {', '.join(first.names) or 'BAD itself, untagged'}")
    else:
        causes = [cause for step in found.candidates for cause in step.causes]
        print_table([_row(cause) for cause in causes[:_SHOWN_MAX]], _HEADERS)
        count = sum(step.count for step in found.candidates)
        if count > min(len(causes), _SHOWN_MAX):
            note(f"and {count - min(len(causes), _SHOWN_MAX)} more events")
    rows = [
        (change.item_id, _label(change.before), _label(change.after))
        for change in found.difference[:_SHOWN_MAX]
    ]
    if found.by == "versions" and rows:
        print_table(rows, ["item", "before", "after"])
    more = len(found.difference) - len(rows)
    if found.by == "versions" and more > 0:
        note(f"and {more} more items")
    bound = math.ceil(math.log2(found.steps)) + 1
    note(f"found in {found.runs} runs over {found.steps} steps (at most {bound} without a skip)")
    if found.by == "versions":
        note(f"what did it: errata bisect --by corrections '{found.last_good}' '{first.position}'")


_HEADERS = ["item", "change", "by", "accepted by", "when", "why"]


def _label(row: Row | None) -> str:
    return "-" if row is None else row.label


def _row(cause: Cause) -> tuple[str, ...]:
    event, proposal = cause
    when = f"{event.occurred_at:%Y-%m-%d %H:%M:%S}"
    if isinstance(event, ReviewDecided) and proposal is not None:
        change = f"{label_text(proposal.from_label)} -> {label_text(proposal.to_label)}"
        if proposal.to_geometry is not None:
            change += ", geometry"
        why = f"{proposal.reason or ''}"
        patch = f"patch {proposal.patch_id}" if proposal.patch_id else ""
        because = ": ".join(each for each in (patch, why) if each)
        return (event.item_id, change, proposal.actor, event.actor, when, because)
    if isinstance(event, ItemRegistered):
        change = f"registered as {label_text(event.label)}"
        return (event.item_id, change, event.actor, "", when, event.source or "")
    if isinstance(event, SchemaChanged):
        change = f"contract {event.version}"
        return ("", change, event.actor, event.approved_by or "", when, "")
    assert isinstance(event, RolledBack)
    return ("", "rollback", event.actor, event.approved_by or "", when, event.reason or "")
