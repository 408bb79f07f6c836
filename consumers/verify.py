"""`errata verify`: every version rebuilt from the log and held against its tag, and what is kept
beside the log held against a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ledger import Ledger
from ledger.cli import (
    Progress,
    as_json,
    note,
    open_ledger,
    print_json,
    print_table,
    settings,
    shared,
)
from ledger.errors import CorruptLog, EventsLost, VerificationFailed
from ledger.reading import Proof
from ledger.snapshot import Row
from ledger.verifying import BACKUP, Kept, now, stood_in, unchecked, undisturbed, verify_kept
from ledger.wiring import views_path

_SHOWN_MAX = 20


@click.command()
@shared
@click.argument("names", nargs=-1)
@as_json
def verify(*, names: tuple[str, ...], as_json: bool) -> None:
    """Hold versions, views and checkpoints against the log.

    Each version is rebuilt from the log alone and held against its tag; then views and checkpoints
    are held against a replay, as far as they have come. Where the log's head is gone, what stands
    in for it is believed, and said so.

    NAMES are the versions to prove; without any, all are, and views and checkpoints with them,
    but for what a worker is still about to bring up to a rollback. The exit code is 1 if anything
    differs, or was tagged without a hash; not if something cannot be checked, which is said.
    """
    book = open_ledger()
    proofs: list[Proof] = []
    with Progress("Rebuilding versions", len(names or book.governance.tags)) as bar:
        for proof in book.verify(names or None):
            proofs.append(proof)
            bar.advance(1)
    _say_versions(proofs, as_json=as_json)
    path = views_path(settings())
    kept = [] if names else [_looked_into(each, path, book) for each in verify_kept(book, path)]
    _say_kept(kept, as_json=as_json)
    for sentence in stood_in(book):
        note(sentence)
    failed = [proof.name for proof in proofs if not proof.proved]
    if failed:
        raise CorruptLog(f"not proved: {', '.join(failed)}")
    wrong = [each.name for each in kept if each.wrong]
    if wrong:
        remedy = _remedy(wrong, alone=book.dataset.stand_in is None)
        raise VerificationFailed(f"not as the log says: {' and '.join(wrong)}. {remedy}")


def _remedy(wrong: Sequence[str], *, alone: bool) -> str:
    """What to do. Of a log that is not whole alone, checkpoints are not made again."""
    if alone:
        return "Make them again: `errata rebuild`"
    views = "`errata rebuild --no-checkpoints` makes views again"
    said = {"checkpoints": BACKUP, "views": views}
    return ". ".join(said[name] for name in wrong)


def _looked_into(kept: Kept, path: Path, book: Ledger) -> Kept:
    """With what is wrong in any table, where the labels are right."""
    if not kept.proved:
        return kept
    try:
        return _every_table(kept, path, book)
    except EventsLost as error:
        return unchecked(kept.name, error)


def _every_table(kept: Kept, path: Path, book: Ledger) -> Kept:
    if kept.name == "views":
        from consumers.proving import wrong_with

        return kept._replace(problems=tuple(wrong_with(path, book.dataset)))
    from consumers.recounting import wrong_rows

    assert book.checkpoints is not None
    store = book.checkpoints.store

    def look() -> Kept:
        return kept._replace(problems=tuple(wrong_rows(book.dataset, store, now(book))))

    return undisturbed(book.dataset, store, look) or kept


def _say_versions(proofs: Sequence[Proof], *, as_json: bool) -> None:
    if as_json:
        for proof in proofs:
            print_json(
                {
                    "version": proof.name,
                    "tagged_sha256": proof.tagged_sha256,
                    "rebuilt_sha256": proof.snapshot.sha256,
                    "proved": proof.proved,
                    "stood_in": proof.stood_in,
                }
            )
        return
    rows = [
        (proof.name, proof.tagged_sha256 or "", proof.snapshot.sha256, _verdict(proof))
        for proof in proofs
    ]
    print_table(rows, ["version", "tagged", "rebuilt", "verdict"])


def _say_kept(kept: Sequence[Kept], *, as_json: bool) -> None:
    """What is wrong with views and checkpoints, by item: the first ones, and how many they are."""
    if as_json:
        for each in kept:
            print_json(
                {
                    "kept": each.name,
                    "position": each.position.as_dict() if each.position else None,
                    "proved": each.proved,
                    "differ": len(each.difference),
                    "items": [change.item_id for change in each.difference[:_SHOWN_MAX]],
                    "problems": each.problems,
                    "unchecked": each.unchecked or None,
                }
            )
        return
    if kept:
        rows = [(each.name, each.position or "", _found(each)) for each in kept]
        click.echo()
        print_table(rows, ["kept", "as of", "verdict"])
    for each in kept:
        if each.unchecked:
            note(f"{each.name}: {each.unchecked}")
        for problem in each.problems:
            note(f"{each.name}: {problem}")
        for change in each.difference[:_SHOWN_MAX]:
            said, held = _text(change.before), _text(change.after)
            note(f"{each.name}: item {change.item_id} is {said} in the log and {held} there")
        more = len(each.difference) - _SHOWN_MAX
        if more > 0:
            note(f"{each.name}: and {more} more")


def _verdict(proof: Proof) -> str:
    if proof.proved:
        return "proved, by checkpoint" if proof.stood_in else "proved"
    return "no hash" if proof.tagged_sha256 is None else "DIFFERS"


def _found(kept: Kept) -> str:
    if kept.problems:
        return "DAMAGED"
    if kept.unchecked:
        return "behind" if kept.position else "not checked"
    count = len(kept.difference)
    return "proved" if not count else f"DIFFERS in {count} {'item' if count == 1 else 'items'}"


def _text(row: Row | None) -> str:
    return "absent" if row is None else row.line().decode().strip()
