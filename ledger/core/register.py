"""What governance keeps by name and the fold of labels never asks for: bulk changes, models,
waivers.

A *patch* is many corrections that are settled as one thing: `PatchProposed` opens its frame,
`PatchDecided` closes it once every vote stands on the log. What the corrections do is decided by
their own events; the frame says what belongs together, so that no version and no rollback names a
position that holds a part of it. Models, patches and waivers stay through a rollback, and their
names stay taken; a patch whose events a rollback voided cuts nothing.

Settled here, where the meaning leaves room:

- Opening a patch asks for what proposing asks for, settling one for what reviewing does, and its
  proposer can't (`self_review`). Registering a model is a statement that changes nothing, open to
  whoever may propose. A waiver is granted by who may govern.
- A position cuts a patch if its label offsets are neither all at or below `start` nor all at or
  beyond `at` of the `PatchDecided`.
- A second event of the same name is a `duplicate`, or an `id_conflict` when it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.core.contract import Contract
from ledger.core.events import (
    Event,
    ModelRegistered,
    PatchDecided,
    PatchProposed,
    WaiverGranted,
)
from ledger.core.outcome import Outcome
from ledger.core.position import Position


class Patch(NamedTuple):
    """A bulk change: where it was opened, and, if it is settled as one thing, where and how."""

    offset: int
    event: PatchProposed
    settled_at: int | None = None
    settlement: PatchDecided | None = None

    def cut_by(self, position: Position) -> bool:
        """Whether the position holds a part of what settled it."""
        if self.settlement is None:
            return False
        start, at = self.settlement.start, self.settlement.at
        before = all(map(int.__le__, position.labels, start))
        after = all(map(int.__ge__, position.labels, at))
        return not (before or after)


class Model(NamedTuple):
    """A registered model, at its governance offset."""

    offset: int
    event: ModelRegistered


class Waiver(NamedTuple):
    """A granted waiver, at its governance offset."""

    offset: int
    event: WaiverGranted


@dataclass
class Register:
    """Patches and models by name, waivers by release and check."""

    patches: dict[str, Patch] = field(default_factory=dict[str, Patch])
    models: dict[str, Model] = field(default_factory=dict[str, Model])
    waivers: dict[tuple[str, str], Waiver] = field(default_factory=dict[tuple[str, str], Waiver])

    def apply(self, offset: int, event: Event, world: World) -> Outcome:
        """Fold one event; the state changes only if it is not refused."""
        return HANDLERS[type(event)](self, offset, event, world)

    def prefix(self, stop: int) -> Register:
        """The state after the governance offsets `[0, stop)`."""
        return Register(
            {name: _as_of(each, stop) for name, each in self.patches.items() if each.offset < stop},
            {name: each for name, each in self.models.items() if each.offset < stop},
            {name: each for name, each in self.waivers.items() if each.offset < stop},
        )

    def _patch_proposed(self, offset: int, event: Any, world: World) -> Outcome:
        proposed: PatchProposed = event
        if not world.contract.may_propose(proposed.actor):
            return Outcome.NOT_PERMITTED
        taken = self.patches.get(proposed.patch_id)
        if taken is not None:
            return _again(taken.event, proposed, "sha256", "actor", "kind")
        if len(proposed.at) != world.partitions:
            return Outcome.BAD_POSITION
        self.patches[proposed.patch_id] = Patch(offset, proposed)
        return Outcome.PROPOSED

    def _patch_decided(self, offset: int, event: Any, world: World) -> Outcome:
        decided: PatchDecided = event
        patch = self.patches.get(decided.patch_id)
        if patch is None:
            return Outcome.UNKNOWN_PATCH
        if patch.settlement is not None:
            return Outcome.ALREADY_DECIDED
        if decided.actor == patch.event.actor:
            return Outcome.SELF_REVIEW
        if not world.contract.may_review(decided.actor):
            return Outcome.NOT_PERMITTED
        if (len(decided.start), len(decided.at)) != (world.partitions, world.partitions):
            return Outcome.BAD_POSITION
        self.patches[decided.patch_id] = patch._replace(settled_at=offset, settlement=decided)
        return Outcome.DECIDED

    def _model_registered(self, offset: int, event: Any, world: World) -> Outcome:
        model: ModelRegistered = event
        if not world.contract.may_propose(model.actor):
            return Outcome.NOT_PERMITTED
        taken = self.models.get(model.name)
        if taken is not None:
            names = ("label_version", "split_version", "raw_data_hash", "training_config_hash")
            return _again(taken.event, model, *names, "metrics", "base")
        if not world.tagged(model.label_version):
            return Outcome.UNKNOWN_VERSION
        self.models[model.name] = Model(offset, model)
        return Outcome.REGISTERED

    def _waiver_granted(self, offset: int, event: Any, world: World) -> Outcome:
        waiver: WaiverGranted = event
        if not world.contract.may_govern(waiver.actor, waiver.approved_by):
            return Outcome.NOT_PERMITTED
        if (waiver.version, waiver.check) in self.waivers:
            return Outcome.DUPLICATE
        self.waivers[waiver.version, waiver.check] = Waiver(offset, waiver)
        return Outcome.GRANTED


@dataclass(frozen=True, slots=True)
class World:
    """What the register asks of governance around it."""

    contract: Contract
    partitions: int
    tagged: Callable[[str], bool]


def _as_of(patch: Patch, stop: int) -> Patch:
    later = patch.settled_at is not None and patch.settled_at >= stop
    return patch._replace(settled_at=None, settlement=None) if later else patch


def _again(one: Event, other: Event, *fields: str) -> Outcome:
    same = all(getattr(one, name) == getattr(other, name) for name in fields)
    return Outcome.DUPLICATE if same else Outcome.ID_CONFLICT


HANDLERS: Mapping[type[Event], Callable[[Register, int, Any, World], Outcome]] = {
    PatchProposed: Register._patch_proposed,  # pyright: ignore[reportPrivateUsage]
    PatchDecided: Register._patch_decided,  # pyright: ignore[reportPrivateUsage]
    ModelRegistered: Register._model_registered,  # pyright: ignore[reportPrivateUsage]
    WaiverGranted: Register._waiver_granted,  # pyright: ignore[reportPrivateUsage]
}
