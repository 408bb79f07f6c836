"""`errata verify`: rebuild every version from the log and hold it against its tag."""

from __future__ import annotations

import click

from ledger.cli import as_json, open_ledger, print_json, print_table, shared
from ledger.errors import CorruptLog
from ledger.reading import Proof


@click.command()
@shared
@click.argument("names", nargs=-1)
@as_json
def verify(*, names: tuple[str, ...], as_json: bool) -> None:
    """Rebuild versions from the log and hold them against their tags.

    NAMES are the versions to prove; without any, all are. The exit code is 1 if one differs, or
    was tagged without a hash.
    """
    proofs = list(open_ledger().verify(names or None))
    if as_json:
        for proof in proofs:
            print_json(
                {
                    "version": proof.name,
                    "tagged_sha256": proof.tagged_sha256,
                    "rebuilt_sha256": proof.snapshot.sha256,
                    "proved": proof.proved,
                }
            )
    else:
        rows = [
            (proof.name, proof.tagged_sha256 or "", proof.snapshot.sha256, _verdict(proof))
            for proof in proofs
        ]
        print_table(rows, ["version", "tagged", "rebuilt", "verdict"])
    failed = [proof.name for proof in proofs if not proof.proved]
    if failed:
        raise CorruptLog(f"not proved: {', '.join(failed)}")


def _verdict(proof: Proof) -> str:
    if proof.proved:
        return "proved"
    return "no hash" if proof.tagged_sha256 is None else "DIFFERS"
