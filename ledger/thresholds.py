"""The thresholds that a contract may set (`PolicyChanged.thresholds`), and what holds without them.

A release is checked against them before its tag, and `errata gate` before a training or a
deployment. Shares are between 0 and 1. A threshold without a default asks nothing until it is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ledger.core.contract import Contract


class Threshold(NamedTuple):
    """One threshold: what it bounds, and its value where the contract sets none."""

    meaning: str
    default: float | None = None


THRESHOLDS: Mapping[str, Threshold] = {
    "class_shift_max": Threshold(
        "the share of items that would have to change class to turn a release's class distribution "
        "into its base's (total variation distance)",
        0.25,
    ),
    "agreement_min": Threshold("Cohen's kappa of the double-annotated sample"),
    "percent_agreement_min": Threshold("the share of the double-annotated sample that agrees"),
    "unresolved_max": Threshold("the share of items whose split left them without a class", 0.0),
    "labelled_min": Threshold("the share of items that have a label"),
    "open_corrections_max": Threshold("the share of items with a correction that is still open"),
    "overdue_max": Threshold("how many corrections wait for longer than their service level", 0.0),
    "correction_rate_max": Threshold("the share of items corrected since the version before"),
    "metric_drop_max": Threshold("how much a metric of a model may fall below its base's", 0.02),
    "retrain_after": Threshold("how many labels have changed since a model was trained", 500.0),
    "auto_rollback": Threshold("1: a release that fails its check afterwards is rolled back", 0.0),
}


def threshold(contract: Contract, name: str) -> float | None:
    """What the contract says, else the default; None asks nothing."""
    return contract.thresholds.get(name, THRESHOLDS[name].default)
