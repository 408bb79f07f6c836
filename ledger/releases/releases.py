"""Releases from Python: check a position, name it, explain it.

from pathlib import Path

from ledger import Ledger
from ledger.releases import Releases

releases = Releases(Ledger.open("sqlite:///animals.db", "animals"))
releases.check("head")["class_shift"].failed
releases.waive("labels-v1.3", "class_shift", actor="ann", approved_by="bob", reason="new data")
releases.book.tag("labels-v1.3", actor="ann", reviewer="bob")
releases.facts("labels-v1.3").changes.by_split
releases.write("labels-v1.3", Path("releases"))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.core.events import VersionTagged
from ledger.reading import HEAD, Where
from ledger.releases import tagging
from ledger.releases.candidate import Candidate
from ledger.releases.changelog import changelog, versions_csv
from ledger.releases.checks import Finding, run_checks
from ledger.releases.facts import Facts, candidate_of, completed, facts_of
from ledger.releases.files import write_release
from ledger.releases.remembered import Remembered
from ledger.releases.sample import read_sample

if TYPE_CHECKING:
    from ledger.ledger import Ledger


class Releases:
    """The releases of a ledger; `Ledger.tag` makes one.

    Args:
        book: the ledger.
    """

    def __init__(self, book: Ledger) -> None:
        self.book = book
        self._reading = Remembered(book)

    def check(
        self, at: Where = HEAD, *, base: str | None = None, sample: Path | None = None
    ) -> Mapping[str, Finding]:
        """What every check says of a position, by name; nothing is tagged.

        Args:
            at: the position.
            base: the version that it would follow; by default the one before it.
            sample: a file of doubly annotated items, `{"id", "annotator", "label"}` a line.
        """
        read = None if sample is None else read_sample(sample)
        candidate = Candidate.at(self.book, self.book.resolve(at), base)
        tagging.refuse_cut(candidate)
        return run_checks(candidate, read)

    def waive(self, version: str, check: str, *, actor: str, approved_by: str, reason: str) -> None:
        """Let a check of a release fail.

        Args:
            version: the name that the release has or will have.
            check: the check's name: one before the tag, or one of the gate.
            actor: who waives.
            approved_by: the second person, an admin once roles are named.
            reason: why.

        Raises:
            InvalidRequest: no such check, it is waived already or was one before a tag that is
                there, or the fold refuses it.
        """
        tagging.waive(
            self.book, version, check, actor=actor, approved_by=approved_by, reason=reason
        )

    def facts(self, name: str) -> Facts:
        """Everything that is to be known of a version."""
        return facts_of(self.book, name, self._reading)

    def waived(self, version: str) -> Mapping[str, str]:
        """The checks of a release that somebody waived, with who did."""
        return {
            check: waiver.event.actor
            for check, waiver in tagging.waivers_of(self.book, version).items()
        }

    def write(self, name: str, out: Path, facts: Facts | None = None) -> Path:
        """Write a version's files into a folder of its name below `out`, and return that.

        Args:
            name: the version's.
            out: a folder, made if need be.
            facts: those of the version, if they are known already.
        """
        return write_release(facts or self.facts(name), self._reading.snapshot(name), out)

    def changelog(self) -> str:
        """Every version's entry, the newest first, as Markdown."""
        return changelog(self.book.governance, self._tags())

    def versions_csv(self) -> str:
        """Every version as a line of CSV, the oldest first."""
        return versions_csv(self.book.governance, self._tags())

    def _tags(self) -> list[VersionTagged]:
        """Every tag; what those of other programs leave out is counted."""
        tags = [each.event for each in self.book.governance.tags.values()]
        return [tag if tag.checks else completed(tag, candidate_of(self.book, tag)) for tag in tags]
