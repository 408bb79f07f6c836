"""`errata release` and `changelog`: what a version is, told from the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ledger.cli import (
    as_json,
    open_ledger,
    output,
    print_fields,
    print_json,
    print_table,
    shared,
)
from ledger.releases import Releases
from ledger.releases.facts import Facts
from ledger.releases.words import checks, fairness, headline, split_name


@click.command()
@shared
@click.argument("name")
@click.option(
    *("--out", "-o"),
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the release's files to DIR/NAME.",
)
@as_json
def release(*, name: str, out: Path | None, as_json: bool) -> None:
    """Tell what a version is, or write its documents to a folder.

    The folder holds the labels, the changelog entry, release notes, the QA report (qa.html), the
    mapping files and the evaluation remap since the base, and the ids of each split. All of it is
    made from the log: the same log gives the same bytes.
    """
    releases = Releases(open_ledger())
    facts = releases.facts(name)
    written = None if out is None else releases.write(name, out, facts)
    if as_json:
        print_json(as_fields(facts) | ({} if written is None else {"written": str(written)}))
    elif written is not None:
        click.echo(str(written / "qa.html"))
    else:
        _print(facts)


def as_fields(facts: Facts) -> dict[str, Any]:
    """The facts as JSON-ready fields; none of them depends on the layout of the log."""
    tag, found = facts.tag, facts.corrections
    return {
        "version": facts.name,
        "base": facts.base.name if facts.base else None,
        "time": facts.when.isoformat(),
        "author": facts.author,
        "reviewer": tag.reviewer,
        "reason": tag.reason,
        "guideline": tag.guideline,
        "sha256": facts.content_hash,
        "contract_version": facts.contract.version,
        "base_contract_version": facts.base_contract_version,
        "items": facts.items,
        "counts": dict(facts.counts),
        "changed_items": facts.changes.changed,
        "changed_by_kind": dict(facts.changes.kinds),
        "changed_by_class": dict(facts.changes.by_class),
        "changed_by_split": dict(facts.changes.by_split),
        "class_deltas": dict(facts.changes.class_deltas),
        "unresolved": facts.unresolved,
        "corrections": dict(found.outcomes),
        "corrections_by_source": dict(found.sources),
        "corrections_by_segment": dict(found.segments),
        "rollbacks": [each._asdict() for each in facts.rollbacks],
        "patches": [
            {"patch_id": each.patch_id, "file": each.file, "sha256": each.sha256}
            for each in facts.patches
        ],
        "test_version": tag.test_version,
        "comparison": facts.comparison.verdict if facts.comparison else None,
        "fairness": {each.split: each.words for each in fairness(facts)},
        "evaluation_remap": facts.remap.as_dict(),
        "checks": dict(tag.checks),
        "waivers": list(tag.waivers),
        "tool_versions": dict(tag.tool_versions),
    }


def _print(facts: Facts) -> None:
    tag = facts.tag
    deltas = ", ".join(f"{name} {delta:+,}" for name, delta in facts.changes.class_deltas.items())
    print_fields(
        (
            ("version", facts.name),
            ("base", facts.base.name if facts.base else "none"),
            ("tagged", f"{facts.when.date().isoformat()} by {facts.author}"),
            ("approved by", tag.reviewer or "nobody"),
            ("reason", tag.reason or ""),
            ("items", f"{facts.items:,}"),
            ("beside the base", headline(facts)),
            ("class deltas", deltas or "none"),
            ("test labels", tag.test_version or "none"),
            ("sha256", facts.content_hash),
        )
    )
    if said := fairness(facts):
        click.echo()
        rows = [(split_name(each.split), f"{each.changed:,}", each.words) for each in said]
        print_table(rows, ["split", "changed", "past results"])
    if told := checks(facts):
        click.echo()
        print_table([(c.name, c.status, c.detail) for c in told], ["check", "", ""])


@click.command()
@shared
@click.option("--csv", "as_csv", is_flag=True, help="A table of versions, the oldest first.")
def changelog(*, as_csv: bool) -> None:
    """Print the changelog: every version, the newest first."""
    releases = Releases(open_ledger())
    text = releases.versions_csv() if as_csv else releases.changelog()
    output().write(text.encode())
