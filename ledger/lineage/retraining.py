"""When to train again, and what the last time brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ledger.core.events import ModelRegistered
from ledger.lineage.blast import measured_on
from ledger.remap import Comparison, compare
from ledger.thresholds import threshold

if TYPE_CHECKING:
    from ledger.lineage.models import Lineage


@dataclass(frozen=True)
class Progress:
    """A model beside the one that it follows.

    Attributes:
        base: that one.
        metrics: each metric that both measured: the base's value, and the model's.
        comparison: whether the two compare.
    """

    base: ModelRegistered
    metrics: Mapping[str, tuple[float, float]]
    comparison: Comparison

    def change(self, metric: str) -> float:
        """By how much a metric rose, of the numbers as they are written: 0.92 to 0.9 is -0.02."""
        before, after = (Decimal(repr(value)) for value in self.metrics[metric])
        return float(after - before)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "base": self.base.name,
            "base_label_version": self.base.label_version,
            "metrics": {
                name: {"before": before, "after": after, "change": self.change(name)}
                for name, (before, after) in self.metrics.items()
            },
            "fair": self.comparison.verdict,
            "why": list(self.comparison.reasons),
        }


@dataclass(frozen=True)
class Cadence:
    """How much has gathered since a model was trained.

    Attributes:
        model: which one.
        changed: how many labels changed since by more than the contract's names.
        by_class: the same by class.
        by_split: the same by split, `""` for none.
        after: how many it takes (`retrain_after` of the contract in force).
        progress: the model beside its base; None without one.
    """

    model: ModelRegistered
    changed: int
    by_class: Mapping[str, int]
    by_split: Mapping[str, int]
    after: float | None
    progress: Progress | None

    @property
    def due(self) -> bool:
        """Whether enough has gathered."""
        return self.after is not None and self.changed >= self.after

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "model": self.model.name,
            "label_version": self.model.label_version,
            "changed": self.changed,
            "changed_by_class": dict(self.by_class),
            "changed_by_split": dict(self.by_split),
            "retrain_after": self.after,
            "due": self.due,
            "compared_with_base": self.progress.as_dict() if self.progress else None,
        }


def cadence(lineage: Lineage, model: ModelRegistered) -> Cadence:
    """How much has gathered since a model was trained."""
    changes = lineage.changes(model.name)
    return Cadence(
        model,
        len(changes.substantial),
        changes.by_class(),
        changes.by_split(),
        threshold(lineage.book.governance.contract, "retrain_after"),
        progress(lineage, model),
    )


def progress(lineage: Lineage, model: ModelRegistered) -> Progress | None:
    """A model beside the one that it follows, if it follows one."""
    if model.base is None:
        return None
    base = lineage.model(model.base)
    both = sorted(base.metrics.keys() & model.metrics.keys())
    metrics = {name: (base.metrics[name], model.metrics[name]) for name in both}
    tags = {name: tag.event for name, tag in lineage.book.governance.tags.items()}
    found = compare(lineage.book, measured_on(base, tags), measured_on(model, tags))
    return Progress(base, metrics, found)
