"""What became of an event. Expected refusals are values, so that a log stays replayable for ever.

In which order an event's rules are checked is written in `fold` and `governance`.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The result of folding one event."""

    REGISTERED = "registered"
    FILLED = "filled"
    """A registration of an item that a correction had created filled what was empty."""
    PROPOSED = "proposed"
    VOTED = "voted"
    """A vote was recorded and settled nothing yet."""
    ESCALATED = "escalated"
    APPLIED = "applied"
    STALE = "stale"
    """Accepted, but what the correction corrects was no longer so: nothing changed."""
    KEPT = "kept"
    WITHDRAWN = "withdrawn"
    CHANGED = "changed"
    TAGGED = "tagged"
    ROLLED_BACK = "rolled_back"
    DECIDED = "decided"
    GRANTED = "granted"

    VOID = "void"
    """A rollback took it back; earlier positions still read it."""

    UNDECODABLE = "undecodable"
    MISPLACED = "misplaced"
    UNKNOWN_CONTRACT = "unknown_contract"
    VERSION_CONFLICT = "version_conflict"
    UNKNOWN_CORRECTION = "unknown_correction"
    ALREADY_DECIDED = "already_decided"
    SELF_REVIEW = "self_review"
    NOT_PERMITTED = "not_permitted"
    DUPLICATE = "duplicate"
    ID_CONFLICT = "id_conflict"
    UNKNOWN_ITEM = "unknown_item"
    CLASS_NOT_IN_CONTRACT = "class_not_in_contract"
    BAD_POSITION = "bad_position"
    BAD_ROLLBACK = "bad_rollback"
    UNKNOWN_PATCH = "unknown_patch"
    UNKNOWN_VERSION = "unknown_version"

    @property
    def refused(self) -> bool:
        """Whether the event changed nothing because it broke a rule."""
        return self in REFUSALS

    @property
    def reason(self) -> str:
        """Why this outcome refuses, for people; empty where it does not."""
        return _REASONS.get(self, "")


_REASONS = {
    Outcome.UNDECODABLE: "the bytes are no event of ours",
    Outcome.MISPLACED: "the key is not the record's, or the partition not the key's",
    Outcome.NOT_PERMITTED: "the contract gives the actor no role for it (governing takes an "
    "admin and another admin who approves), or the actor approves their own act",
    Outcome.VERSION_CONFLICT: "it is not the next one on what is in force: somebody changed the "
    "contract or rolled back meanwhile; look at the status and try again",
    Outcome.DUPLICATE: "the same was said before",
    Outcome.ID_CONFLICT: "the id or name is taken by something else",
    Outcome.BAD_POSITION: "the position is not closed, neither before nor after every named one, "
    "or in the midst of a patch that was applied as one thing",
    Outcome.BAD_ROLLBACK: "`to` and `at` must be closed, in this order, each before or after "
    "every named position, and neither in the midst of a patch that was applied as one thing",
    Outcome.UNKNOWN_CONTRACT: "its contract version is not in force",
    Outcome.SELF_REVIEW: "a second person decides",
    Outcome.ALREADY_DECIDED: "the correction is closed",
    Outcome.UNKNOWN_ITEM: "there is no such item",
    Outcome.UNKNOWN_CORRECTION: "there is no such correction",
    Outcome.UNKNOWN_PATCH: "there is no such patch",
    Outcome.UNKNOWN_VERSION: "there is no such version",
    Outcome.CLASS_NOT_IN_CONTRACT: "the contract has no such class, or it is deprecated",
}
REFUSALS = frozenset(_REASONS)
