"""The gate itself: what it looks at, and what it does about a version that fails."""

from __future__ import annotations

from dataclasses import replace

from ledger.core.epochs import alike
from ledger.core.events import VersionTagged
from ledger.core.position import Position
from ledger.errors import InvalidRequest
from ledger.gating.checks import Asked, content_hash, measured, waived
from ledger.gating.verdict import TakenBack, Verdict
from ledger.ledger import Ledger
from ledger.lineage.models import Lineage
from ledger.reading import HEAD, Where
from ledger.releases.candidate import version_before
from ledger.releases.facts import candidate_of
from ledger.service_levels import moment
from ledger.thresholds import threshold


class Gate:
    """Holds positions against the contract.

    Args:
        book: the ledger.
    """

    def __init__(self, book: Ledger) -> None:
        self.book = book

    def judge(
        self,
        at: Where = HEAD,
        *,
        base: str | None = None,
        model: str | None = None,
        prove: bool = False,
    ) -> Verdict:
        """Hold a position against the contract.

        Args:
            at: a version, or any other position.
            base: the version to compare with; by default the base of the version, or the version
                before the position.
            model: whose metrics are held against those of the model that it follows.
            prove: whether a version's labels are rebuilt from the log alone, and their hash held
                against its tag.

        Raises:
            InvalidRequest: there is no such version, position or model; the base lies beyond the
                position; or no version is to be proved.
        """
        at = at.strip() if isinstance(at, str) else at
        asked = self._asked(at, base, model)
        if prove and asked.tag is None:
            raise InvalidRequest(f"only a version has a hash to prove, and {at} is none")
        checks = [waived(asked, check) for check in measured(asked)]
        checks += [content_hash(asked)] if prove else []
        return Verdict(
            at=str(at),
            base=asked.base.name if asked.base else None,
            model=model,
            position=asked.position,
            contract_version=asked.contract.version,
            as_of=moment(asked.evidence.latest_ms),
            checks=tuple(checks),
        )

    def take_back(self, verdict: Verdict, *, actor: str, approved_by: str) -> Verdict:
        """Roll a version that failed back to its base, if the contract says so.

        Returns:
            The verdict, with what was done.

        Raises:
            InvalidRequest: it is no verdict on a version.
        """
        tag, end = self.book.version(verdict.at), self.book.resolve()
        why = self._why_not(verdict, tag)
        if why is None:
            found = "; ".join(f"{check.name}: {check.why}" for check in verdict.failed)
            reason = f"{tag.name} failed its check after the release: {found}"
            try:
                assert tag.base is not None
                self.book.rollback(tag.base, actor=actor, approved_by=approved_by, reason=reason)
            except InvalidRequest as error:
                why = str(error)
        said = TakenBack(why is None, tag.base, why or _what_it_did(tag, end))
        return replace(verdict, rollback=said)

    def _why_not(self, verdict: Verdict, tag: VersionTagged) -> str | None:
        """Why a version stays; None if it is to be rolled back."""
        if verdict.passed:
            return "no check failed"
        if threshold(self.book.governance.contract, "auto_rollback") != 1:
            return "the contract does not set auto_rollback to 1"
        if tag.base is None:
            return f"{tag.name} has no base to go back to"
        if self.book.version(tag.base).position.same_prefix(tag.position):
            return f"{tag.name} and its base {tag.base} are the same position"
        if not self._stands(tag):
            return f"{tag.name} was rolled back already"
        own = tag.position.prefix()
        later = [
            each.event.name
            for each in self.book.governance.tags.values()
            if own.within(each.event.position.prefix())
            and not own.same_prefix(each.event.position.prefix())
            and self._stands(each.event)
        ]
        if later:
            return f"{later[-1]} was released on top of it: `errata rollback` says what that undoes"
        return None

    def _stands(self, tag: VersionTagged) -> bool:
        """Whether nothing of a version was rolled back since."""
        now = self.book.governance
        then = now.prefix(tag.position.governance)
        return alike(now, then, tag.position.labels) and all(
            now.contracts.live(version) for version in then.contracts.versions
        )

    def _asked(self, at: Where, base: str | None, model: str | None) -> Asked:
        book = self.book
        governance, position = book.governance, book.resolve(at)
        tag = governance.tags.get(at) if isinstance(at, str) else None
        if base is not None:
            compared = book.version(base)
            if not compared.position.prefix().within(position):
                raise InvalidRequest(f"base {base!r} lies beyond {at}; name a version before it")
        elif tag is not None:
            compared = candidate_of(book, tag.event).base
        else:
            compared = version_before(governance, position)
        known = Lineage(book).model(model) if model is not None else None
        return Asked(book, position, tag.event if tag else None, compared, known)


def _what_it_did(tag: VersionTagged, end: Position) -> str:
    after = sum(end.labels) - sum(tag.position.labels)
    events = "1 label event" if after == 1 else f"{after} label events"
    also = f", with {events} that came after it" if after else ""
    return f"{tag.name} was rolled back to {tag.base}{also}"
