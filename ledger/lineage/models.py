"""Models: registered with what they were trained on, and shown with what became of that since."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.core.events import ModelRegistered, VersionTagged
from ledger.core.position import Position
from ledger.errors import ConfigurationError, InvalidRequest
from ledger.ledger import Ledger
from ledger.lineage.blast import Blast, blast_of_correction, blast_of_item

if TYPE_CHECKING:
    from ledger.lineage.changes import Changes
    from ledger.lineage.retraining import Cadence

_SHA256 = re.compile("[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Quality:
    """What became of a version's labels since, as of a position.

    Attributes:
        position: as of where.
        items: how many items were labelled in the version.
        labels_changed: how many labels differ by now by more than the contract's names.
        by_cause: how many differ by each cause (see `changes`), the contract's included.
        correction_rate: the share of the version's items that were corrected since.
        open_corrections: how many corrections wait.
    """

    position: Position
    items: int
    labels_changed: int
    by_cause: Mapping[str, int]
    correction_rate: float
    open_corrections: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "items": self.items,
            "labels_changed": self.labels_changed,
            "by_cause": dict(self.by_cause),
            "correction_rate": self.correction_rate,
            "open_corrections": self.open_corrections,
        }


@dataclass(frozen=True)
class Stamp:
    """The lineage stamp of a model: all that it was made from."""

    model: ModelRegistered
    version: VersionTagged

    @property
    def content_hash(self) -> str | None:
        """The SHA-256 of the labels that it was trained on."""
        return self.version.content_hash

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        model = self.model
        return {
            "model": model.name,
            "label_version": model.label_version,
            "label_hash": self.content_hash,
            "split_version": model.split_version,
            "raw_data_hash": model.raw_data_hash,
            "training_config_hash": model.training_config_hash,
            "metrics": dict(sorted(model.metrics.items())),
            "base": model.base,
            "notes": model.notes,
            "registered_by": model.actor,
            "registered_at": model.occurred_at.isoformat().replace("+00:00", "Z"),
        }


class Lineage:
    """The models of a ledger and the labels behind them.

    Args:
        book: the ledger.
    """

    def __init__(self, book: Ledger) -> None:
        self.book = book

    def register(
        self,
        name: str,
        *,
        labels: str,
        actor: str,
        split_version: str | None = None,
        data: Path | str | None = None,
        config: Path | str | None = None,
        metrics: Mapping[str, float] | None = None,
        base: str | None = None,
        notes: str | None = None,
    ) -> Stamp:
        """Say what a model was trained on, and what it measured.

        Args:
            name: the model's; a name is given once.
            labels: the version of the labels.
            actor: who says so.
            split_version: the version of the test labels that it was measured on; by default that
                of `labels`.
            data: the raw data: a file, which is hashed, or its SHA-256.
            config: the training configuration, likewise.
            metrics: what was measured, by name; more is better.
            base: the model that it follows.
            notes: anything else.

        Raises:
            InvalidRequest: no such version, model or file, or a number that is none.
        """
        tag = self.book.version(labels)
        if name in self.models():
            raise InvalidRequest(f"model {name!r} is registered already; choose another name")
        if base is not None:
            self.model(base)
        self.book.govern(
            {
                "type": "ModelRegistered",
                "name": name,
                "label_version": labels,
                "split_version": self._split_version(split_version) or tag.test_version,
                "raw_data_hash": None if data is None else sha256_of(data, "data"),
                "training_config_hash": None if config is None else sha256_of(config, "config"),
                "metrics": {key: _number(key, value) for key, value in (metrics or {}).items()},
                "base": base,
                "notes": notes,
                "actor": actor,
            }
        )
        return self.stamp(name)

    def models(self) -> dict[str, ModelRegistered]:
        """Every model by name, in the order in which they were registered."""
        known = self.book.governance.register.models
        return {name: each.event for name, each in known.items()}

    def model(self, name: str | None = None) -> ModelRegistered:
        """The model with this name; by default the one that was registered last.

        Raises:
            InvalidRequest: there is none.
        """
        models = self.models()
        if name is None and models:
            return list(models.values())[-1]
        if name is None or name not in models:
            known = ", ".join(models) or "none yet"
            what = "there is no model" if name is None else f"there is no model {name!r}"
            raise InvalidRequest(f"{what}; there are: {known}. `errata model register` adds one")
        return models[name]

    def stamp(self, name: str | None = None) -> Stamp:
        """The lineage stamp of a model."""
        model = self.model(name)
        return Stamp(model, self.book.version(model.label_version))

    def changes(self, name: str | None = None) -> Changes:
        """The labels that changed since a model was trained, and by what.

        Raises:
            ConfigurationError: the extra `frames` is missing.
        """
        try:
            from ledger.lineage.changes import changes_between
        except ImportError as error:
            raise ConfigurationError(
                f"label quality needs the extra `releases` ({error}): "
                "pip install 'errata[releases]'"
            ) from error
        return changes_between(self.book, self.model(name).label_version)

    def quality(self, name: str | None = None) -> Quality:
        """What became of the labels that a model was trained on."""
        changes = self.changes(name)
        items = sum(self.book.snapshot(self.model(name).label_version).labels().values())
        causes = changes.causes()
        corrected = causes.get("correction", 0)
        return Quality(
            position=changes.now.position,
            items=items,
            labels_changed=len(changes.substantial),
            by_cause=causes,
            correction_rate=corrected / items if items else 0.0,
            open_corrections=len(changes.now.open),
        )

    def blast_of_correction(self, correction_id: str, record_id: str | None = None) -> Blast:
        """The releases, models and evaluations that saw the label which a correction corrects."""
        return blast_of_correction(self.book, correction_id, record_id)

    def blast_of_item(self, item_id: str) -> Blast:
        """The releases, models and evaluations that saw another label of an item than today's."""
        return blast_of_item(self.book, item_id)

    def retraining(self, name: str | None = None) -> Cadence:
        """Whether enough labels have changed since a model was trained, beside its comparison with
        the model that it follows.
        """
        from ledger.lineage.retraining import cadence

        return cadence(self, self.model(name))

    def _split_version(self, given: str | None) -> str | None:
        known = sorted({t.event.test_version or "" for t in self.book.governance.tags.values()})
        known = [name for name in known if name]
        if given is not None and known and given not in known:
            raise InvalidRequest(
                f"there is no version {given!r} of the test labels; there are: {', '.join(known)}"
            )
        return given


def sha256_of(given: Path | str, what: str) -> str:
    """The SHA-256 of a file, or the one that is given as 64 hexadecimal digits.

    Raises:
        InvalidRequest: it is neither.
    """
    text = str(given)
    if _SHA256.fullmatch(text.lower()):
        return text.lower()
    path, digest = Path(given), hashlib.sha256()
    if path.is_char_device() or path.is_block_device():
        raise InvalidRequest(f"{what} {text!r} is a device, which has no end; name a file")
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidRequest(
            f"{what} {text!r} is neither a SHA-256 (64 hexadecimal digits) nor a file that can be "
            f"read: {why}"
        ) from error
    return digest.hexdigest()


def _number(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise InvalidRequest(f"metric {name!r} is {value}: a metric is a finite number")
    return float(value)
