"""What became of an event. Expected refusals are values, so that a log stays replayable for ever.

The refusals stand in order of precedence, as far as one event can meet several of them.
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

    @property
    def refused(self) -> bool:
        """Whether the event changed nothing because it broke a rule."""
        return self in REFUSALS


REFUSALS = frozenset(
    outcome
    for outcome in Outcome
    if list(Outcome).index(outcome) > list(Outcome).index(Outcome.VOID)
)
