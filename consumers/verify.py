"""`errata verify`: rebuild every version from the log and hold it against its tag."""

from __future__ import annotations

import click

from ledger.cli import as_json, open_ledger, print_json, print_table, shared
from ledger.errors import CorruptLog


@click.command()
@shared
@click.argument("names", nargs=-1)
@as_json
def verify(*, names: tuple[str, ...], as_json: bool) -> None:
    """Rebuild versions from the log and hold them against their tags.

    NAMES are the versions to prove; without any, all are. Ends with 1 if one differs, or was tagged without a hash.
    """
    ledger = open_ledger()
    tags = ledger.governance.tags
    for name in names:
        ledger.version(name)
    rows: list[tuple[str, str, str, str]] = []
    for name in names or tags:
        tagged, rebuilt = tags[name].event.content_hash, ledger.snapshot(name).sha256
        verdict = "proved" if tagged == rebuilt else "no hash" if tagged is None else "DIFFERS"
        rows.append((name, tagged or "", rebuilt, verdict))
    if as_json:
        for name, tagged, rebuilt, verdict in rows:
            proved = verdict == "proved"
            fields = {"tagged_sha256": tagged or None, "rebuilt_sha256": rebuilt, "proved": proved}
            print_json({"version": name, **fields})
    else:
        print_table(rows, ["version", "tagged", "rebuilt", "verdict"])
    failed = [name for name, _, _, verdict in rows if verdict != "proved"]
    if failed:
        raise CorruptLog(f"not proved: {', '.join(failed)}")
