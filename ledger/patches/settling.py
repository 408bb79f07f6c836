"""When a patch may be settled as one thing, what it waits for, and how its frame is closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ledger.core.canonical import derived_id
from ledger.core.events import PatchDecided, Settlement
from ledger.core.fold import Correction
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.register import Patch
from ledger.errors import InvalidRequest
from ledger.ledger import Ledger
from ledger.logs.base import Topic
from ledger.patches.edit import digest, edit_of
from ledger.patches.standing import CONFLICT, OPEN, Standing, frame_void

_NAMED_MAX = 20


def refuse_unsound(standing: Standing, decision: Settlement, *, skip_stale: bool) -> None:
    """Refuse to settle what is not the whole patch, or what can't be settled as one thing.

    Raises:
        InvalidRequest: names what is in the way, and what to do.
    """
    frame = standing.patch.event
    found = len(standing.corrections)
    if found < frame.count and decision == "accept":
        raise InvalidRequest(
            f"patch {frame.patch_id!r} has {found} of its {frame.count} corrections on the log: "
            f"{frame.actor!r} completes it by proposing it again"
        )
    edits = (edit_of(each.proposal) for each in standing.corrections)
    other = frame.kind == "patch" and found == frame.count and digest(edits) != frame.sha256
    if found > frame.count or other:
        raise InvalidRequest(
            f"the {found} corrections that name patch {frame.patch_id!r} are not the "
            f"{frame.count} that it was opened with: review them one by one"
        )
    applied = [each for each in standing.corrections if each.status is Outcome.APPLIED]
    if decision == "keep":
        if applied and len(applied) == found:
            raise InvalidRequest(f"every correction of patch {frame.patch_id!r} is applied already")
        return
    allowed = {Outcome.APPLIED.value, OPEN, Outcome.ESCALATED.value}
    bad = [each for each in standing.corrections if standing.status(each) not in allowed]
    if bad and not skip_stale:
        raise InvalidRequest(
            f"{len(bad)} of the {found} corrections of patch {frame.patch_id!r} can't be applied "
            f"any more: {_named(standing, bad)}. Nothing was decided; apply the others with "
            "--skip-stale (skip_stale=True), or reject the patch and propose it anew"
        )


def refuse_void(governance: Governance, patch: Patch) -> None:
    """Refuse to settle what a rollback took back, its proposals included.

    Raises:
        InvalidRequest: it did.
    """
    if frame_void(governance, patch):
        raise InvalidRequest(
            f"patch {patch.event.patch_id!r} was rolled back: propose it again, under its next id"
        )


def refuse_overtaken(standing: Standing, decision: Settlement) -> None:
    """Refuse to close a frame as the opposite of what became of it: others voted faster.

    Args:
        standing: the patch after the votes.
        decision: what they were.

    Raises:
        InvalidRequest: nothing is left of the decision.
    """
    opposite = Outcome.KEPT if decision == "accept" else Outcome.APPLIED
    if {each.status for each in standing.corrections} == {opposite}:
        raise InvalidRequest(
            f"somebody else was faster: every correction of patch "
            f"{standing.patch.event.patch_id!r} is {opposite.value} by now, and {decision} "
            "changes nothing of it"
        )


def missing(standing: Standing, decision: Settlement, held: int) -> tuple[str, ...]:
    """What the open corrections wait for, in words; so many votes on them were held back."""
    waits: Counter[str] = Counter()
    for each in standing.open:
        waits[_waits_for(standing, each, decision)] += 1
    told = [f"{count} wait for {what}" for what, count in sorted(waits.items())]
    if held:
        told.append(f"until then {held} votes that would settle the others are held back")
    return tuple(told)


def _waits_for(standing: Standing, correction: Correction, decision: Settlement) -> str:
    record = standing.state.record(correction.proposal.record_id)
    assert record is not None
    contract = standing.state.governance.contracts.at(record.contract_version)
    if correction.status is Outcome.ESCALATED:
        return "an expert" if contract.names_roles else "somebody who has not voted on them"
    lacking = contract.approvals_required - list(correction.votes.values()).count(decision)
    return f"{lacking} more vote{'s' if lacking > 1 else ''}"


def _named(standing: Standing, corrections: list[Correction]) -> str:
    names = [
        f"{each.proposal.item_id!r} ({_why(standing, each)})" for each in corrections[:_NAMED_MAX]
    ]
    more = len(corrections) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _why(standing: Standing, correction: Correction) -> str:
    status = standing.status(correction)
    return "its item is something else by now" if status == CONFLICT else status


def undisturbed(book: Ledger, standing: Standing, appended: int) -> bool:
    """Whether since the standing's position nothing but what we appended is about its records,
    and governance is the same: then all is as it was foretold.
    """
    log, position = book.dataset.log, standing.state.position
    if log.ends(Topic.GOVERNANCE)[0] != position.governance:
        return False
    keys = {each.proposal.record_id.encode() for each in standing.corrections}
    found = 0
    for partition, stop in enumerate(log.ends(Topic.LABELS)):
        start = position.labels[partition]
        if start < stop:
            for batch in log.read(Topic.LABELS, partition, start, stop):
                found += sum(key in keys for key in batch.keys)
    return found == appended


def close(
    book: Ledger,
    standing: Standing,
    decision: Settlement,
    before: Sequence[int],
    *,
    actor: str,
    rationale: str | None,
) -> None:
    """Close the frame around everything that settled it: from its first settling vote, or the last
    position with a name, to now.

    Args:
        book: the ledger.
        standing: the patch, with nothing open; it knows the votes before this call.
        decision: how it was settled.
        before: the label heads before this call's votes.
        actor: who settled it.
        rationale: why.

    Raises:
        InvalidRequest: somebody else closed it otherwise in that moment.
    """
    patch_id = standing.patch.event.patch_id
    try:
        book.govern(
            {
                "type": PatchDecided.__name__,
                "event_id": derived_id(patch_id, "decided"),
                "patch_id": patch_id,
                "decision": decision,
                "start": _begins(book, standing, before),
                "actor": actor,
                "rationale": rationale,
            }
        )
    except InvalidRequest:
        faster = book.governance.register.patches[patch_id].settlement  # somebody else's
        if faster is None:
            raise
        if faster.decision != decision:
            counts = ", ".join(f"{name} {count}" for name, count in standing.counts().items())
            raise InvalidRequest(
                f"{faster.actor!r} was faster: patch {patch_id!r} is settled as {faster.decision} "
                f"({counts})"
            ) from None


def _begins(book: Ledger, standing: Standing, before: Sequence[int]) -> list[int]:
    """Where the frame begins, in each label partition."""
    positions = [each.labels for each in book.governance.named]
    named = max(positions, key=sum, default=(0,) * len(before))
    first = [
        min(offset, standing.first_settled.get(partition, offset))
        for partition, offset in enumerate(before)
    ]
    return list(map(max, first, named))
