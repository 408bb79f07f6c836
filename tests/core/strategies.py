"""Random histories. A plan is a list of moves that name no offset, so that the same plan can be
played into any number of partitions and with redeliveries between its moves: positions are named
by the number of moves before them. The universe is small, so that moves meet each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Protocol

from hypothesis import strategies as st

from ledger.core.events import (
    ClassAdded,
    CorrectionProposed,
    CorrectionWithdrawn,
    Decision,
    Event,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ModelRegistered,
    PatchDecided,
    PatchProposed,
    PolicyChanged,
    ReviewDecided,
    RolledBack,
    SchemaChanged,
    VersionTagged,
    WaiverGranted,
)
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.core.validity import problem
from tests.core.history import EPOCH, History, Roles, record_of

CLASSES = ("a", "b", "c")
PEOPLE = ("ann", "bob", "eve")
ITEMS = ("r0", "r1", "r1#1", "r1#3", "r2", "r2#1")
ROLE_MAPS: Sequence[Roles] = (
    {"admin": ("*",), "reviewer": ("bob", "ann"), "expert": ("eve",)},
    {"admin": ("*",), "reviewer": ("*",)},
    {"admin": ("*",), "reviewer": ("bob",), "proposer": ("ann", "bob")},
    {"admin": ("max", "ada"), "expert": ("*",)},
    {},
)
SCHEMAS: Sequence[Mapping[str, Any]] = (
    {"add": CLASSES},
    {"deprecate": ("b",)},
    {"rename": {"a": "b", "b": "a"}},
    {"rename": {"a": "c"}, "add": CLASSES},
    {"merge": {"b": "a"}, "add": CLASSES},
    {"split": {"a": {"b": "area > 4", "c": "area <= 4"}}, "add": CLASSES},
    {"split": {"c": {"c": "area > 4 or not kind == 'x'", "a": "kind == 'x'"}}},
)


class Move(Protocol):
    """Something that appends to a history."""

    def play(self, history: History) -> None: ...


Plan = list[Move]


@dataclass(frozen=True)
class Under:
    """The contract version that an event names: `lag` below the one in force; negative: ahead."""

    lag: int = 0

    def __call__(self, history: History) -> int:
        return max(0, history.in_force() - self.lag)


@dataclass(frozen=True)
class Register:
    item: str
    label: str | None
    geometry: Geometry | None = None
    split: str | None = None
    attributes: Mapping[str, float | str] = field(default_factory=dict[str, float | str])
    by: str = "ann"
    under: Under = Under()

    def play(self, history: History) -> None:
        history.item(
            self.item,
            self.label,
            self.geometry,
            split=self.split,
            attributes=self.attributes,
            by=self.by,
            version=self.under(history),
        )


@dataclass(frozen=True)
class Propose:
    item: str
    correction: str
    from_label: str | None
    to_label: str | None
    from_geometry: Geometry | None = None
    to_geometry: Geometry | None = None
    by: str = "ann"
    under: Under = Under()

    def play(self, history: History) -> None:
        history.propose(
            self.item,
            self.from_label,
            self.to_label,
            self.from_geometry,
            self.to_geometry,
            correction_id=self.correction,
            by=self.by,
            version=self.under(history),
        )


@dataclass(frozen=True)
class Decide:
    """A vote, or the proposer's withdrawal where `decision` is None."""

    item: str
    correction: str
    decision: Decision | None
    by: str = "bob"
    under: Under = Under()

    def play(self, history: History) -> None:
        count = len(history.checkpoints)
        common: dict[str, Any] = {
            "event_id": f"e{count}",
            "actor": self.by,
            "occurred_at": EPOCH + timedelta(seconds=count),
            "contract_version": self.under(history),
            "item_id": self.item,
            "record_id": record_of(self.item),
            "correction_id": self.correction,
        }
        if self.decision is None:
            history.append(CorrectionWithdrawn(**common))
        else:
            history.append(ReviewDecided(**common, decision=self.decision))


@dataclass(frozen=True)
class Schema:
    change: Mapping[str, Any]
    skip: int = 0
    approved_by: str = "ada"

    def play(self, history: History) -> None:
        makes = None if self.skip == 0 else self.skip
        history.schema(**self.change, makes=makes, approved_by=self.approved_by)


@dataclass(frozen=True)
class Policy:
    approvals: int | None = None
    roles: Roles | None = None
    expert_classes: tuple[str, ...] | None = None

    def play(self, history: History) -> None:
        history.policy(
            approvals=self.approvals, roles=self.roles, expert_classes=self.expert_classes
        )


@dataclass(frozen=True)
class Tag:
    name: str
    back: int

    def play(self, history: History) -> None:
        history.tag(self.name, checkpoint(history, self.back))


@dataclass(frozen=True)
class RollBack:
    back: int
    approved_by: str = "ada"

    def play(self, history: History) -> None:
        history.rollback(checkpoint(history, self.back), approved_by=self.approved_by)


@dataclass(frozen=True)
class File:
    """Something for the register: a patch opened or settled, a model, a waiver."""

    what: str
    back: int
    by: str

    def play(self, history: History) -> None:
        match self.what:
            case "patch":
                history.patch("p", by=self.by)
            case "settle":
                start = checkpoint(history, self.back).labels
                history.settle("p", start=start, by=self.by)
            case "model":
                history.model("m", "v1", by=self.by)
            case _:
                history.waive("v1", "area", by=self.by)


@dataclass(frozen=True)
class Wreck:
    """A rollback or tag with a torn position: `cut` label events short of a checkpoint."""

    back: int
    cut: int

    def play(self, history: History) -> None:
        whole = checkpoint(history, self.back)
        labels = tuple(max(0, offset - self.cut) for offset in whole.labels)
        torn = Position(labels, whole.governance)
        if self.cut % 2:
            history.rollback(torn)
        else:
            history.tag(f"torn{self.back}", torn)


@dataclass(frozen=True)
class Redeliver:
    """An earlier unrefused event once more."""

    which: int

    def play(self, history: History) -> None:
        state = history.at()
        candidates = [entry for entry in history.log if not state[entry].refused]
        if candidates:
            history.again(candidates[self.which % len(candidates)])


@dataclass(frozen=True)
class Misplace:
    """A copy of an earlier label event where it does not belong."""

    which: int

    def play(self, history: History) -> None:
        entries = [entry for log in history.label_logs for entry in log]
        if entries:
            event = entries[self.which % len(entries)].event
            history.append(event, partition=self.which % history.partitions, key=b"elsewhere")


def checkpoint(history: History, back: int) -> Position:
    """The head `back` moves ago."""
    return history.checkpoints[max(0, len(history.checkpoints) - 1 - back)]


def play(plan: Sequence[Move], partitions: int = 2) -> History:
    """The history that a plan makes."""
    history = History(partitions)
    for move in plan:
        move.play(history)
    return history


BOXES = st.sampled_from(
    [
        *[None] * 4,
        *[Geometry("bbox", (0, 0, size, size)) for size in (2, 2, 3)],
        Geometry("polygon", (0.0, 0.0, 0.1, 1e16, 1e-5, 1.0)),
        Geometry("span", (0.0, 3.0)),
    ]
)
LABELS = st.sampled_from([None, *CLASSES])
UNDER = st.sampled_from([0] * 9 + [1, 2, -1]).map(Under)
CORRECTIONS = st.sampled_from([f"c{i}" for i in range(6)])
FRESH = st.integers(10, 99).map(lambda number: f"c{number}")
BY = st.sampled_from(PEOPLE)
BACK = st.integers(1, 9)
SOME_ITEMS = st.lists(st.sampled_from(ITEMS), min_size=3, max_size=5, unique=True)

registrations = st.builds(
    Register,
    item=st.sampled_from(ITEMS),
    label=st.sampled_from(["a", "a", "b", "c", None, "unicorn"]),
    geometry=BOXES,
    split=st.sampled_from([None, "train", "test"]),
    attributes=st.sampled_from([{}, {"area": 9.0}, {"kind": "x"}]),
    by=BY,
    under=UNDER,
)
proposals = st.builds(
    Propose,
    item=st.sampled_from(ITEMS),
    correction=CORRECTIONS,
    from_label=LABELS,
    to_label=LABELS,
    from_geometry=BOXES,
    to_geometry=BOXES,
    by=BY,
    under=UNDER,
)
decisions = st.builds(
    Decide,
    item=st.sampled_from(ITEMS),
    correction=CORRECTIONS,
    decision=st.sampled_from(["accept", "accept", "accept", "keep", "escalate", None]),
    by=BY,
    under=UNDER,
)
schemas = st.builds(
    Schema,
    change=st.sampled_from(SCHEMAS),
    skip=st.sampled_from([0] * 6 + [1]),
    approved_by=st.sampled_from(["ada"] * 6 + ["max"]),
)
policies = st.builds(
    Policy,
    approvals=st.sampled_from([2, 1, None]),
    roles=st.sampled_from([None, None, None, *ROLE_MAPS]),
    expert_classes=st.sampled_from([None, (), ("a",), ("c",)]),
)
tags = st.builds(Tag, name=st.sampled_from(["v1", "v2", "v3"]), back=st.integers(0, 9))
rollbacks = st.builds(RollBack, back=BACK, approved_by=st.sampled_from(["ada"] * 6 + ["max"]))
papers = st.builds(
    File,
    what=st.sampled_from(["patch", "settle", "model", "waive"]),
    back=st.integers(0, 9),
    by=BY,
)
redeliveries = st.builds(Redeliver, which=st.integers(0, 99))
changes = st.one_of(schemas, policies)


@st.composite
def reviews(draw: st.DrawFn) -> tuple[Propose, list[Decide]]:
    """A correction that may well be true, and what people decide about it."""
    proposal = replace(
        draw(proposals),
        correction=draw(CORRECTIONS | FRESH),
        from_label="a",
        to_label=draw(st.sampled_from(["a", "c", None])),
        from_geometry=None,
        to_geometry=None,
        by=draw(st.sampled_from(["ann", "ann", "ann", "bob", "eve"])),
        under=Under(),
    )
    decided = [
        replace(vote, item=proposal.item, correction=proposal.correction)
        for vote in draw(st.lists(decisions, min_size=1, max_size=4))
    ]
    return proposal, decided


@st.composite
def additions(draw: st.DrawFn) -> Plan:
    """An item that a correction adds, and that is registered too, before or after."""
    proposal, decided = draw(reviews())
    item = draw(st.sampled_from(["r0#2", "r1#2", "r2#2", "r3"]))
    plan: Plan = [
        replace(proposal, item=item, from_label=None, to_geometry=draw(BOXES)),
        *(replace(vote, item=item) for vote in decided),
    ]
    plan.insert(draw(st.integers(0, len(plan))), replace(draw(registrations), item=item))
    return plan


@st.composite
def corrections(draw: st.DrawFn) -> Plan:
    """A correction of an item with what is decided about it."""
    proposal, decided = draw(reviews())
    return [proposal, *decided]


def alone(moves: st.SearchStrategy[Any]) -> st.SearchStrategy[Plan]:
    """Each move as a plan of its own."""
    return moves.map(lambda move: [move])


ordinary: st.SearchStrategy[Plan] = st.one_of(
    alone(registrations),
    corrections(),
    corrections(),
    corrections(),
    additions(),
    alone(proposals),
    alone(st.one_of(decisions, schemas, policies)),
    alone(st.one_of(tags, rollbacks, rollbacks, papers)),
)


@st.composite
def plans(draw: st.DrawFn, *, size: int = 16) -> Plan:
    """A plan of honest and clumsy moves; never a misplaced event, never a torn position."""
    start: Plan = [
        Schema({"add": CLASSES}),
        *(replace(draw(registrations), item=item, label="a") for item in draw(SOME_ITEMS)),
    ]
    parts = draw(st.lists(ordinary, min_size=size // 2, max_size=size))
    return [*start, *(move for part in parts for move in part)]


@st.composite
def wild_plans(draw: st.DrawFn) -> Plan:
    """A plan with misplaced events, torn positions and redeliveries among the rest."""
    plan = draw(plans())
    wild = st.one_of(
        redeliveries,
        st.builds(Misplace, which=st.integers(0, 99)),
        st.builds(Wreck, back=st.integers(0, 9), cut=st.integers(1, 2)),
    )
    for move in draw(st.lists(wild, min_size=1, max_size=4)):
        plan.insert(draw(st.integers(0, len(plan))), move)
    return plan


# Any decodable event

_IDS = st.one_of(st.sampled_from(["r0", "r1", "c0", "e0"]), st.text(min_size=1, max_size=3))
_SMALL = st.one_of(st.integers(-1, 4), st.sampled_from([2**62, 2**63 - 1]))
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_NAMES = st.one_of(st.sampled_from(CLASSES), st.text(max_size=2))
_RULES = st.sampled_from(["area > 4", "kind == 'x'", "not (area<=1 or n!=2)", "1 == 1", "x < "])
_GEOMETRIES = st.builds(
    Geometry,
    type=st.sampled_from(["bbox", "polygon", "span"]),
    coordinates=st.lists(_NUMBERS, max_size=6).map(tuple),
)
_POSITIONS = st.builds(Position, labels=st.lists(_SMALL, max_size=3).map(tuple), governance=_SMALL)
_MOMENTS = st.sampled_from(
    [
        EPOCH,
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ]
)


def _label_events(event_type: type[LabelEvent], **fields: st.SearchStrategy[Any]) -> Any:
    @st.composite
    def build(draw: st.DrawFn) -> LabelEvent:
        record = draw(_IDS)
        region = draw(st.sampled_from(["", "#1", "#"]))
        common = draw(st.fixed_dictionaries(_COMMON | fields))
        return event_type(record_id=record, item_id=record + region, **common)

    return build()


_COMMON: dict[str, st.SearchStrategy[Any]] = {
    "event_id": _IDS,
    "actor": st.one_of(BY, st.text(max_size=2)),
    "occurred_at": _MOMENTS,
    "contract_version": _SMALL,
}
_AT = st.lists(_SMALL, max_size=3).map(tuple)
_CHANGE = _COMMON | {
    "version": _SMALL,
    "at": _AT,
    "approved_by": st.one_of(st.none(), BY),
}


def _any_event() -> st.SearchStrategy[Event]:
    null = st.none()
    geometry = st.one_of(null, _GEOMETRIES)
    maps = st.dictionaries(_NAMES, _NAMES, max_size=2)
    return st.one_of(
        _label_events(
            ItemRegistered,
            label=st.one_of(null, _NAMES),
            geometry=geometry,
            split=st.one_of(null, _NAMES),
            attributes=st.dictionaries(_NAMES, st.one_of(_NUMBERS, _NAMES), max_size=2),
        ),
        _label_events(
            CorrectionProposed,
            correction_id=_IDS,
            from_label=st.one_of(null, _NAMES),
            to_label=st.one_of(null, _NAMES),
            from_geometry=geometry,
            to_geometry=geometry,
            based_on=st.one_of(null, _POSITIONS),
        ),
        _label_events(
            ReviewDecided,
            correction_id=_IDS,
            decision=st.sampled_from(["accept", "keep", "escalate"]),
        ),
        _label_events(CorrectionWithdrawn, correction_id=_IDS),
        st.builds(
            SchemaChanged,
            **_CHANGE,
            add=st.lists(st.builds(ClassAdded, name=_NAMES), max_size=2).map(tuple),
            deprecate=st.lists(_NAMES, max_size=2).map(tuple),
            rename=maps,
            merge=maps,
            split=st.dictionaries(_NAMES, st.dictionaries(_NAMES, _RULES, max_size=2), max_size=2),
        ),
        st.builds(
            PolicyChanged,
            **_CHANGE,
            approvals_required=st.one_of(null, _SMALL),
            roles=st.one_of(null, st.sampled_from(ROLE_MAPS)),
            expert_classes=st.one_of(null, st.lists(_NAMES, max_size=2).map(tuple)),
        ),
        st.builds(
            VersionTagged,
            **_COMMON,
            name=_IDS,
            position=_POSITIONS,
            reviewer=st.one_of(null, BY),
        ),
        st.builds(
            RolledBack, **_COMMON, to=_POSITIONS, at=_POSITIONS, approved_by=st.one_of(null, BY)
        ),
        st.builds(
            PatchProposed, **_COMMON, patch_id=_IDS, sha256=st.just("ab" * 32), count=_SMALL, at=_AT
        ),
        st.builds(
            PatchDecided,
            **_COMMON,
            patch_id=_IDS,
            decision=st.sampled_from(["accept", "keep"]),
            start=_AT,
            at=_AT,
        ),
        st.builds(ModelRegistered, **_COMMON, name=_IDS, label_version=_IDS),
        st.builds(
            WaiverGranted,
            **_COMMON,
            version=_IDS,
            check=_NAMES,
            reason=_NAMES,
            approved_by=st.one_of(null, BY),
        ),
    )


any_events = _any_event()
decodable_events = any_events.filter(lambda event: problem(event) is None)


@dataclass(frozen=True)
class Anything:
    """Any decodable event, anywhere."""

    event: Event
    partition: int | None

    def play(self, history: History) -> None:
        if isinstance(self.event, LabelEvent) and self.partition is None:
            home = partition_of(self.event.record_id.encode(), history.partitions)
            history.append(self.event, partition=home)
        else:
            history.append(self.event, partition=self.partition)


anything = st.builds(
    Anything, event=decodable_events, partition=st.sampled_from([None, None, None, 0, 1])
)
