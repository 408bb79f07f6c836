"""What the gate says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.core.position import Position


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: of the check; a waiver names it.
        value: what was measured; None where there was nothing to measure.
        threshold: what it was held against; None where the contract asks nothing.
        passed: None where it was not held against anything.
        why: the same in words.
    """

    name: str
    value: float | str | None
    threshold: float | str | None
    passed: bool | None
    why: str


@dataclass(frozen=True)
class TakenBack:
    """What became of a version that failed: rolled back to its base, or why not."""

    done: bool
    to: str | None
    why: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a position.

    Attributes:
        at: the position as it was asked for.
        base: the version that it was compared with.
        model: the model that was asked about.
        position: where it is.
        contract_version: the contract whose thresholds hold.
        as_of: the position's highest timestamp.
        checks: what was found.
        rollback: what was done about a failure; None where nobody asked.
    """

    at: str
    base: str | None
    model: str | None
    position: Position
    contract_version: int
    as_of: datetime
    checks: tuple[Check, ...]
    rollback: TakenBack | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.passed is False]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "verdict": "pass" if self.passed else "fail",
            "at": self.at,
            "base": self.base,
            "model": self.model,
            "position": self.position.as_dict(),
            "position_text": self.position.text(),
            "contract_version": self.contract_version,
            "as_of": self.as_of.isoformat().replace("+00:00", "Z"),
            "checks": [vars(check) for check in self.checks],
            **({"rollback": vars(self.rollback)} if self.rollback else {}),
        }
