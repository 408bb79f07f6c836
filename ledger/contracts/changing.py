"""The contract of a ledger, to be asked and changed."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.clock import now
from ledger.contracts import checks
from ledger.contracts.common import between, remap_of
from ledger.contracts.files import Change
from ledger.contracts.preview import Preview
from ledger.contracts.unresolved import Waiting, unresolved
from ledger.contracts.versions import (
    ContractDifference,
    Made,
    contract_diff,
    governance_at,
    history,
)
from ledger.core.contract import Contract, Contracts, Step, apply_policy, apply_schema
from ledger.core.events import PolicyChanged, SchemaChanged
from ledger.core.governance import Governance
from ledger.door import Stamps, admit
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger
from ledger.reading import HEAD, Where


class Contracting:
    """The contract of a ledger: what it is, was and would be, and its change by two people.

        from ledger.contracts import Contracting, change_of

        desk = Contracting(book)
        sizes = {"small": "area < 8000", "large": "area >= 8000"}
        change = change_of([("sizes", {"split": {"dog": sizes}})])
        desk.preview(change).counts_after            # {('large', 'train'): 12, ...}
        desk.apply(change, actor="ann", approved_by="bob")
        desk.unresolved()                            # the dogs that no rule matched, or several

    Args:
        book: the ledger.

    Every method raises the errors of `ledger.errors`, each a clear sentence.
    """

    def __init__(self, book: Ledger) -> None:
        self._book = book

    def at(self, where: Where | int = HEAD) -> Contract:
        """The contract at a position, or of a version (a void one too)."""
        return governance_at(self._book, where).contract

    def history(self) -> list[Made]:
        """Every version that was ever made, the oldest first."""
        return history(self._book.governance)

    def diff(self, before: Where | int, after: Where | int = HEAD) -> ContractDifference:
        """How two contracts differ, each given as a version or a position."""
        return contract_diff(self._book, before, after)

    def unresolved(self, at: Where = HEAD) -> list[Waiting]:
        """The items that a split left without a label, sorted by id."""
        return unresolved(self._book, at)

    def preview(self, change: Change) -> Preview:
        """What a change would make of contract and labels as they are now; nothing is written.

        Raises:
            InvalidRequest: the change would be refused, whoever asks for it.
        """
        position = self._book.resolve()
        governance = self._book.governance.prefix(position.governance)
        contract = governance.contract
        checks.check(change, contract)
        stamps = Stamps("preview", now(), contract.version, position)
        event = admit({**_fields(change, governance), "actor": "preview"}, stamps)
        step = Step(contract.version, {}, {}, {})
        if isinstance(event, SchemaChanged):
            after, step = apply_schema(contract, event)
        else:
            assert isinstance(event, PolicyChanged)
            after = apply_policy(contract, event)
        live = [each.event for each in governance.changes]
        live = [each for each in live if governance.contracts.live(each.version)]
        common = between(contract.version, governance.contracts, Contracts([*live, event]))
        said = checks.remarks(change, contract, after)
        said += _taken_up_again(governance.contracts, after)
        return Preview(self._book, position, contract, after, step, remap_of(common), said)

    def apply(
        self, change: Change, *, actor: str, approved_by: str, since: int | None = None
    ) -> Contract:
        """Make a change, with one event; the contract that it makes.

        Args:
            change: what is to change.
            actor: who changes it; an admin, once roles are named.
            approved_by: the second person, another admin then.
            since: the contract version that it was seen to change, if it was previewed.

        Raises:
            InvalidRequest: it is refused, and nothing was written; or somebody was faster, and
                the event on the log changes nothing.
        """
        if not approved_by or approved_by == actor:
            raise InvalidRequest(
                f"a contract change takes two people: {approved_by or 'nobody'!r} can't approve "
                f"what {actor!r} does"
            )
        governance = self._book.governance
        in_force = governance.contract.version
        if since not in (None, in_force):
            raise InvalidRequest(
                f"contract version {in_force} is in force by now, and the change was meant for "
                f"version {since}: look at it again"
            )
        checks.check(change, governance.contract)
        fields = _fields(change, governance)
        self._book.govern({**fields, "actor": actor, "approved_by": approved_by})
        return self._book.governance.contract


def _taken_up_again(contracts: Contracts, after: Contract) -> Iterator[str]:
    """Names that a change gives, and that were a class before it was renamed, merged or split."""
    last: dict[str, int] = {}
    for version in contracts.versions:
        last |= dict.fromkeys(contracts.at(version).classes, version)
    for name in after.classes:
        if last.get(name, contracts.in_force.version) != contracts.in_force.version:
            yield (
                f"{name!r} was a class until contract {last[name]}: who reads what was written "
                "then takes it for this one"
            )


def _fields(change: Change, governance: Governance) -> dict[str, object]:
    """The event's fields. It names the contract that it was checked against, so that the fold
    refuses it where that is in force no more.
    """
    return {
        "type": (PolicyChanged if change.of_policy else SchemaChanged).__name__,
        "version": governance.highest_version + 1,
        "contract_version": governance.contract.version,
        **change.fields,
    }
