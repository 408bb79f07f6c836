"""`errata tag` and `waive`: name a position whose checks pass, or may fail for once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ledger.cli import (
    acting,
    as_json,
    at_position,
    note,
    open_ledger,
    print_json,
    print_table,
    shared,
    who,
)
from ledger.core.events import VersionTagged
from ledger.door import as_fields
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger
from ledger.releases import Releases
from ledger.releases.tagging import refuse_name

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@shared
@click.argument("name", required=False)
@at_position
@click.option("--base", metavar="VERSION", help="What it follows [default: the one before it].")
@click.option("--reason", help="Why.")
@click.option("--guideline", help="The labeling guideline that holds.")
@click.option("--sample", type=_FILE, metavar="FILE", help='Lines {"id","annotator","label"}.')
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--check", "only_check", is_flag=True, help="Run the checks and tag nothing.")
@click.option("--approved-by", "--reviewer", "reviewer", metavar="WHO", help="The second person.")
@acting
@as_json
def tag(
    *,
    name: str | None,
    at: str,
    base: str | None,
    reason: str | None,
    guideline: str | None,
    sample: Path | None,
    out: Path | None,
    only_check: bool,
    reviewer: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Name a position once its checks pass, or list the versions.

    A version keeps the content hash of its snapshot and what changed since its base. A name is
    given once. A check that fails blocks the tag unless `errata waive` let it. With --out the
    release's files are written, as `errata release` does.
    """
    ledger = open_ledger()
    if only_check:
        _check(ledger, name, at, base, sample, as_json=as_json)
    elif name is None:
        _list([each.event for each in ledger.governance.tags.values()], as_json=as_json)
    else:
        made = ledger.tag(
            *(name, at),
            actor=who(actor),
            reviewer=reviewer,
            base=base,
            sample=sample,
            reason=reason,
            guideline=guideline,
        )
        _list([made], as_json=as_json)
        _tell(made.checks)
        if out is not None:
            note(f"written to {Releases(ledger).write(name, out)}")


def _list(tags: list[VersionTagged], *, as_json: bool) -> None:
    if as_json:
        for each in tags:
            print_json(as_fields(each))
        return
    rows = [
        (each.name, each.position.prefix().text(), each.content_hash or "", each.actor)
        for each in tags
    ]
    if not rows:
        note("no version is tagged")
        return
    print_table(rows, ["version", "position", "sha256", "by"])


def _tell(checks: Mapping[str, str]) -> None:
    """What a person should know of the checks: how many passed, and what they noticed."""
    passed = [name for name, said in checks.items() if said.startswith("passed")]
    note(f"{len(passed)} of {len(checks)} checks passed")
    for name, said in checks.items():
        if said != "passed":
            note(f"  {name}: {said}")


def _check(
    ledger: Ledger,
    name: str | None,
    at: str,
    base: str | None,
    sample: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print what every check says; refuse as the tag would be."""
    if name is not None:
        refuse_name(ledger, name)
    releases = Releases(ledger)
    found = releases.check(at, base=base, sample=sample)
    waived: Mapping[str, str] = releases.waived(name) if name else {}
    if as_json:
        fields = {
            check: {"failed": each.failed, "waived": check in waived, "said": each.said()}
            for check, each in found.items()
        }
        print_json(fields)
    else:
        rows = [(check, each.said() + _waiver(check, waived)) for check, each in found.items()]
        print_table(rows, ["check", "says"])
    failed = [check for check, each in found.items() if each.failed and check not in waived]
    if failed:
        raise InvalidRequest(f"{', '.join(failed)} failed: a tag would be refused")


def _waiver(check: str, waived: Mapping[str, str]) -> str:
    return f" (waived by {waived[check]})" if check in waived else ""


@click.command()
@shared
@click.argument("version")
@click.argument("check")
@click.option("--reason", required=True, help="Why it may fail.")
@click.option("--approved-by", required=True, metavar="WHO", help="The second person.")
@acting
def waive(*, version: str, check: str, reason: str, approved_by: str, actor: str | None) -> None:
    """Let CHECK of the release that is or will be VERSION fail.

    `errata tag --check` and `errata gate` name the checks. The waiver stands in the tag, with its
    reason.
    """
    releases = Releases(open_ledger())
    releases.waive(version, check, actor=who(actor), approved_by=approved_by, reason=reason)
    note(f"check {check!r} of {version} may fail")
