from __future__ import annotations

from ledger.core.outcome import Outcome

NO_REFUSALS = {
    "registered", "filled", "proposed", "voted", "escalated", "applied", "stale", "kept",
    "withdrawn", "changed", "tagged", "rolled_back", "decided", "granted", "void",
}  # fmt: skip


def test_what_is_a_refusal():
    """Stale and void are outcomes like others; a refusal is an event that broke a rule."""
    assert {outcome.value for outcome in Outcome if not outcome.refused} == NO_REFUSALS


def test_every_refusal_has_a_reason():
    """For people, in words; what is no refusal needs none."""
    assert all(bool(outcome.reason) is outcome.refused for outcome in Outcome)


def test_the_refusals_of_the_design_have_their_names():
    """The names that other programs may rely on."""
    assert {
        "undecodable", "misplaced", "unknown_contract", "version_conflict", "unknown_correction",
        "already_decided", "self_review", "not_permitted", "duplicate", "id_conflict",
        "unknown_item", "class_not_in_contract", "bad_rollback",
        "unknown_patch", "unknown_version",
    } <= {outcome.value for outcome in Outcome if outcome.refused}  # fmt: skip
