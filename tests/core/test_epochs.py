"""Native epochs: what is folded once, under what, and which positions that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ledger.core.epochs import Epochs, Range, fingerprint, live
from ledger.core.fold import PartitionFold, Record
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import History, step
from tests.core.strategies import CLASSES, Plan, anything, checkpoint, play, wild_plans
from tests.core.test_properties import many


@dataclass(frozen=True)
class EarlyChange:
    """A contract change that says the label heads of some moves ago."""

    back: int

    def play(self, history: History) -> None:
        history.schema(add=CLASSES, at=checkpoint(history, self.back).labels)


@dataclass(frozen=True)
class LateRollback:
    """A rollback that labels overtook: its `at` lies some moves behind the heads."""

    back: int
    late: int

    def play(self, history: History) -> None:
        heads = checkpoint(history, self.late).labels
        at = Position(heads, history.head().governance)
        history.rollback(checkpoint(history, self.late + self.back), at=at)


@st.composite
def racing_plans(draw: st.DrawFn) -> Plan:
    """A plan in which governance comes from before its time, as writers that race or lie do."""
    plan = draw(wild_plans())
    early = st.builds(EarlyChange, back=st.integers(1, 20))
    late = st.builds(LateRollback, back=st.integers(1, 9), late=st.integers(1, 6))
    for move in draw(st.lists(st.one_of(early, late), min_size=1, max_size=4)):
        plan.insert(draw(st.integers(3, len(plan))), move)
    return plan


def folded(
    history: History, governance: Governance, partition: int, stop: int
) -> tuple[Mapping[str, Record], dict[int, Outcome]]:
    """What a governance makes of `[0, stop)`: records, and the outcomes of what is live."""
    fold = PartitionFold(governance.contracts, partition, history.partitions)
    outcomes: dict[int, Outcome] = {}
    for entry, is_live in history.spans(governance, partition, stop):
        outcome = step(fold, entry, live=is_live)
        if is_live:
            outcomes[entry.offset] = outcome
    return fold.records, outcomes


def native(history: History, epochs: Epochs, partition: int) -> dict[int, Outcome]:
    """The outcome of every event in its own epoch."""
    found: dict[int, Outcome] = {}
    for epoch, start, stop in epochs.ranges(partition, len(history.label_logs[partition])):
        _, outcomes = folded(history, epochs.governances[epoch], partition, stop)
        found.update({offset: outcomes[offset] for offset in range(start, stop)})
    return found


@many
@given(racing_plans(), st.integers(0, 40))
def test_a_prefix_is_what_was_folded_then(plan: Plan, stop: int):
    """Governance at any earlier offset, without reading the log again."""
    history = play(plan)
    whole = history.governed()
    prefix, expected = whole.prefix(stop), history.governed(stop)
    assert (prefix.changes, prefix.rollbacks) == (expected.changes, expected.rollbacks)
    assert (prefix.tags, prefix.named) == (expected.tags, expected.named)
    assert prefix.live_rollbacks == expected.live_rollbacks
    assert prefix.contract == expected.contract
    assert prefix.contracts.versions == expected.contracts.versions
    for entry in history.governance[stop:]:  # it goes on as it would have
        assert prefix.apply(entry.offset, entry.event) is expected.apply(entry.offset, entry.event)
    assert whole.named == history.governed().named


@many
@given(racing_plans(), st.integers(1, 3))
def test_every_offset_has_one_epoch_and_is_live_in_it(plan: Plan, partitions: int):
    history = play(plan, partitions)
    epochs = Epochs(history.governed())
    for partition, log in enumerate(history.label_logs):
        offsets = [
            (offset, each.epoch)
            for each in epochs.ranges(partition, len(log))
            for offset in range(each.start, each.stop)
        ]
        assert [offset for offset, _ in offsets] == list(range(len(log)))
        for offset, epoch in offsets:
            assert epochs.epoch(partition, offset) == epoch
            then = epochs.governances[epoch]
            assert any(start <= offset < stop for start, stop in live(then, partition, len(log)))


@many
@given(st.one_of(racing_plans(), st.lists(anything, max_size=25)), st.integers(0, 30))
def test_what_stands_reads_the_same(plan: Plan, cut: int):
    """Where native epochs bear a governance out, its live events have their native outcomes; also
    after contract changes that say another `at` than there was.
    """
    history = play(plan, 2)
    epochs = Epochs(history.governed())
    for partition, log in enumerate(history.label_logs):
        expected, stop = native(history, epochs, partition), min(cut, len(log))
        for governance_stop in range(len(history.governance) + 1):
            governance = history.governed(governance_stop)
            if epochs.stands(governance, partition, stop):
                _, outcomes = folded(history, governance, partition, stop)
                assert outcomes == {offset: expected[offset] for offset in outcomes}


@many
@given(st.one_of(racing_plans(), st.lists(anything, max_size=25)), st.integers(0, 30))
def test_equal_fingerprints_are_equal_folds(plan: Plan, cut: int):
    """What two governances with one fingerprint make of a partition is the same."""
    history = play(plan, 2)
    for partition, log in enumerate(history.label_logs):
        stop = min(cut, len(log))
        met = {entry.event.contract_version for entry in log[:stop]}
        seen: dict[str, object] = {}
        for governance_stop in range(len(history.governance) + 1):
            governance = history.governed(governance_stop)
            key = fingerprint(governance, partition, stop, met)
            made = folded(history, governance, partition, stop)
            assert seen.setdefault(key, made) == made


def corrected() -> tuple[History, Position]:
    """An item, a position, and then a correction that a rollback to that position takes back."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    before = history.head()
    history.correct("r", "cat", "dog")
    history.rollback(before)
    return history, before


def test_a_rollback_begins_an_epoch_at_its_at():
    history, before = corrected()
    history.item("s", "cat")
    epochs = Epochs(history.governed())
    assert list(epochs.ranges(0, 4)) == [Range(0, 0, 3), Range(1, 3, 4)]
    assert [len(each.rollbacks) for each in epochs.governances] == [0, 1]
    assert epochs.covered(before)
    assert epochs.covered(Position((3,), 1))
    assert epochs.covered(history.head())


def test_labels_beyond_a_rollback_that_is_left_out_are_not_covered():
    """Their rows were folded after the rollback, which this position does not know."""
    history, _ = corrected()
    history.correct("r", "cat", "dog")
    governance = history.governed()
    beyond = Position((5,), 1)
    assert governance.closed(beyond)
    assert not Epochs(governance).covered(beyond)
    assert history.labels() == {"r": "dog"}
    assert Epochs(governance).covered(history.head())


def test_a_contract_change_from_before_its_time_is_not_covered():
    """Its `at` is below events that name it: they were refused in their epoch, and are not now."""
    history = History.of_classes("cat", "dog")
    early = history.item("s", "cat", version=2)
    before = history.head()
    history.item("t", "cat")
    history.rollback(before)
    history.schema(add=["cow"], at=(0,))
    assert history.outcome(early) is Outcome.REGISTERED
    epochs = Epochs(history.governed())
    assert native(history, epochs, 0)[early.offset] is Outcome.UNKNOWN_CONTRACT
    assert not epochs.covered(history.head())
    assert epochs.covered(Position((early.offset,), len(history.governance)))


def test_a_fingerprint_is_of_what_matters():
    """Later contracts, tags and rollbacks of later events leave it; what is void changes it."""
    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    start = history.head()
    history.schema(add=["cow"])
    history.item("s", "cow")
    before = history.head()

    def now(stop: int, met: set[int]) -> str:
        return fingerprint(history.governed(), 0, stop, met)

    first, both = now(1, {1}), now(2, {1, 2})
    history.tag("v1")
    history.schema(add=["hen"])
    history.item("t", "hen")
    history.rollback(before)
    assert (now(1, {1}), now(2, {1, 2})) == (first, both)
    history.rollback(start)
    assert now(1, {1}) == first
    assert now(2, {1, 2}) != both
    assert now(1, {1}) != now(1, {0}) != now(0, {0})
