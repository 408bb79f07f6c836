"""`errata patch`: many corrections from a file, reviewed and applied as one thing."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ledger.cli import (
    acting,
    as_json,
    note,
    open_ledger,
    print_fields,
    print_json,
    print_line,
    print_table,
    shared,
    who,
)
from ledger.core.events import Settlement
from ledger.core.governance import Governance
from ledger.core.register import Patch
from ledger.errors import InvalidRequest
from ledger.history import label_text
from ledger.patches import BadPatch, Delta, Patches, PatchFile, Settled, read_patch
from ledger.patches.standing import Standing, frame_void, settlement_void
from ledger.reading import HEAD
from producers.sources import STANDARD_INPUT, open_source

_file = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
_base = click.option(
    "--base",
    default=HEAD,
    show_default=True,
    metavar="POSITION",
    help="What the file was made for: a version, a timestamp, offsets, or head.",
)
_rationale = click.option("--rationale", help="Why.")


@click.group()
@shared
def patch() -> None:
    """Check, propose and apply many corrections from a file.

    A file has one JSON line {"id", "from", "to", "reason"} for each item; null in `from` adds the
    item, null in `to` takes its label away; `from_geometry` and `to_geometry` may follow. It is
    checked whole: one bad line, and nothing is appended.
    """


@patch.command()
@shared
@_file
@_base
@as_json
def check(*, file: Path, base: str, as_json: bool) -> None:
    """Hold FILE against the labels at a position, and tell what it would change."""
    _check(file, base, as_json=as_json)


@patch.command()
@shared
@_file
@_base
@click.option("--reason", help="Why, for the patch as a whole.")
@click.option("--approved-by", metavar="WHO", help="The second person, who applies it at once.")
@acting
@as_json
def propose(
    *,
    file: Path,
    base: str,
    reason: str | None,
    approved_by: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Propose the corrections of FILE as one patch, and print its id.

    FILE is checked against its base and against the head. A second person applies or rejects it,
    as a whole or item by item with `errata review`. What was interrupted is completed by calling
    it again.
    """
    patches, person = Patches(open_ledger()), who(actor)
    if approved_by is not None:
        patches.refuse_reviewer(person, approved_by)
    with _told(as_json=as_json):
        read = _read(file)
        patch_id = patches.propose(
            read.edits,
            actor=person,
            base=base,
            file=_name(file),
            reason=reason,
            problems=read.problems,
        )
    if approved_by is not None:
        settled = patches.settle(patch_id, "accept", actor=approved_by)
        _print_settled(settled, as_json=as_json)
    elif as_json:
        print_json({"patch_id": patch_id, **_frame(patches.get(patch_id))})
    else:
        click.echo(patch_id)
        settlement = patches.get(patch_id).settlement
        if settlement is not None:
            note(f"{settlement.actor!r} applied it, and what it says is so; nothing was appended")
            return
        note(f"a second person decides: `errata patch apply {patch_id}`, or `reject`")


@patch.command()
@shared
@click.argument("patch_id", metavar="PATCH")
@_rationale
@click.option("--skip-stale", is_flag=True, help="Apply the others, though some went stale.")
@click.option("--dry-run", is_flag=True, help="PATCH is a file: check it and change nothing.")
@_base
@acting
@as_json
def apply(
    *,
    patch_id: str,
    rationale: str | None,
    skip_stale: bool,
    dry_run: bool,
    base: str,
    actor: str | None,
    as_json: bool,
) -> None:
    """Accept every correction of PATCH, as a second person.

    If one of them went stale or was decided otherwise, nothing is applied. Where the contract asks
    for more approvals or for an expert, PATCH stays open until others have applied it too.
    """
    if dry_run:
        _check(Path(patch_id), base, as_json=as_json)
        return
    if base != HEAD:
        raise click.UsageError("--base goes with --dry-run: a patch knows its own")
    _settle(patch_id, "accept", rationale, actor, skip_stale=skip_stale, as_json=as_json)


@patch.command()
@shared
@click.argument("patch_id", metavar="PATCH")
@_rationale
@acting
@as_json
def reject(*, patch_id: str, rationale: str | None, actor: str | None, as_json: bool) -> None:
    """Keep every label that PATCH would change, as a second person."""
    _settle(patch_id, "keep", rationale, actor, skip_stale=False, as_json=as_json)


@patch.command("list")
@shared
@as_json
def list_(*, as_json: bool) -> None:
    """List the patches."""
    ledger = open_ledger()
    governance, patches = ledger.governance, Patches(ledger).all()
    if as_json:
        for each in patches:
            fields = {"patch_id": each.event.patch_id, "status": _status(governance, each)}
            print_json({**fields, **_frame(each)})
    elif not patches:
        note("there is no patch")
    else:
        rows = [
            (
                each.event.patch_id,
                each.event.kind,
                each.event.count,
                each.event.actor,
                _status(governance, each),
                each.event.file or "",
                each.event.reason or "",
            )
            for each in patches
        ]
        print_table(rows, ["patch", "kind", "items", "by", "status", "file", "reason"])


@patch.command()
@shared
@click.argument("patch_id", metavar="PATCH")
@as_json
def show(*, patch_id: str, as_json: bool) -> None:
    """Show what became of each correction of PATCH."""
    ledger = open_ledger()
    standing = Patches(ledger).standing(patch_id)
    status = _status(ledger.governance, standing.patch)
    fields = {"patch_id": patch_id, "status": status, **_frame(standing.patch)}
    if as_json:
        print_json({**fields, "counts": standing.counts(), "corrections": _corrections(standing)})
        return
    print_fields((name, str(value)) for name, value in fields.items() if value is not None)
    print_fields([("corrections", _counted(standing.counts()))])
    rows = [
        (
            each["item_id"],
            label_text(each["from"]),
            label_text(each["to"]),
            each["status"],
            ", ".join(f"{name} {decision}" for name, decision in each["votes"].items()),
            each["correction_id"],
            each["reason"] or "",
        )
        for each in _corrections(standing)
    ]
    print_table(rows, ["item", "from", "to", "status", "votes", "correction", "reason"])


def _read(path: Path) -> PatchFile:
    source = open_source(path)
    with source.file:
        return read_patch(source.file, source.name)


def _name(path: Path) -> str | None:
    """What a patch remembers of its file: as it was given, but no folder of this machine."""
    if path == STANDARD_INPUT:
        return None
    return path.name if path.is_absolute() else path.as_posix()


def _check(file: Path, base: str, *, as_json: bool) -> None:
    ledger = open_ledger()
    with _told(as_json=as_json):
        read = _read(file)
        found = Patches(ledger).check(read.edits, base, read.problems)
    sha256 = read.digest()
    if as_json:
        print_json({"file": _name(file), "sha256": sha256, "base": base, **found.as_dict()})
        return
    _print_delta(found)
    print_line(f"{read.name} fits {base}; sha256 {sha256}")


def _print_delta(found: Delta) -> None:
    moves = [
        (label_text(before), label_text(after), str(count))
        for (before, after), count in found.moves.items()
    ]
    print_table(moves, ["from", "to", "items"])
    click.echo()
    splits = {name or "(no split)": count for name, count in found.changed_by_split.items()}
    deltas = {name: f"{count:+d}" for name, count in found.class_deltas.items()}
    print_fields(
        [
            ("changed", str(found.changed)),
            ("by class", _counted(found.changed_by_class)),
            ("by split", _counted(splits)),
            ("class deltas", _counted(deltas)),
        ]
    )


def _counted(counts: Mapping[str, int | str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


@contextmanager
def _told(*, as_json: bool) -> Generator[None]:
    """Tell every bad line that is kept, one under the other, before the patch is refused."""
    try:
        yield
    except BadPatch as error:
        if as_json:
            bad = [
                {
                    "line": each.line or None,
                    "id": each.item_id.encode(errors="backslashreplace").decode() or None,
                    "problem": each.text,
                }
                for each in error.problems
            ]
            print_json({"bad_lines": error.count, "problems": bad})
        elif error.count > 1:
            for each in error.problems:
                note(each.told(error.name))
            if error.count > len(error.problems):
                note(f"... and {error.count - len(error.problems)} more")
        raise


def _settle(
    patch_id: str,
    decision: Settlement,
    rationale: str | None,
    actor: str | None,
    *,
    skip_stale: bool,
    as_json: bool,
) -> None:
    person = who(actor)
    patches = Patches(open_ledger())
    try:
        patches.get(patch_id)
    except InvalidRequest as error:
        if Path(patch_id).is_file():
            raise InvalidRequest(
                f"{patch_id} is a file: `errata patch propose {patch_id}` makes a patch of it, "
                "with --approved-by WHO applies it at once, and `apply --dry-run` checks it"
            ) from error
        raise
    settled = patches.settle(
        patch_id, decision, actor=person, rationale=rationale, skip_stale=skip_stale
    )
    _print_settled(settled, as_json=as_json)


def _print_settled(settled: Settled, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "patch_id": settled.patch_id,
                "decision": settled.decision,
                "decided": settled.decided,
                "counts": settled.counts,
                "missing": settled.missing,
            }
        )
        return
    click.echo(settled.patch_id)
    note(_counted(settled.counts))
    if not settled.decided:
        note(f"the patch stays open: {'; '.join(settled.missing)}")


def _frame(patch: Patch) -> dict[str, Any]:
    event, settlement = patch.event, patch.settlement
    return {
        "kind": event.kind,
        "count": event.count,
        "by": event.actor,
        "sha256": event.sha256,
        "base": event.base,
        "file": event.file,
        "reason": event.reason,
        "decided_by": settlement.actor if settlement else None,
        "rationale": settlement.rationale if settlement else None,
    }


def _status(governance: Governance, patch: Patch) -> str:
    if frame_void(governance, patch):
        return "rolled back"
    if patch.settlement is None:
        return "open"
    said = "applied" if patch.settlement.decision == "accept" else "rejected"
    return f"{said}, then rolled back" if settlement_void(governance, patch) else said


def _corrections(standing: Standing) -> list[dict[str, Any]]:
    return [
        {
            "item_id": each.proposal.item_id,
            "from": each.proposal.from_label,
            "to": each.proposal.to_label,
            "status": standing.status(each),
            "votes": dict(each.votes),
            "correction_id": each.proposal.correction_id,
            "reason": each.proposal.reason,
        }
        for each in standing.corrections
    ]
