"""What holds in every history. Hypothesis prints the plan that breaks a property, and its seed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.core.events import Event, RolledBack
from ledger.core.fold import PartitionFold
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.core.validity import problem
from tests.core.history import Entry, History, Place, State, right_after, step
from tests.core.strategies import (
    CLASSES,
    Anything,
    Decide,
    Plan,
    Policy,
    Propose,
    Redeliver,
    Register,
    RollBack,
    Schema,
    Under,
    any_events,
    anything,
    changes,
    plans,
    play,
    redeliveries,
    wild_plans,
)

# Of any events many break a rule, and are passed over.
PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
few = settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=PATIENT)
many = settings(few, max_examples=150)


def rollbacks_of(history: History, state: State) -> Iterator[Entry]:
    """The rollbacks that counted, void ones included."""
    for entry in history.governance:
        if state[entry] is Outcome.ROLLED_BACK:
            yield entry


# Determinism without a global order


@few
@given(wild_plans(), st.randoms(use_true_random=False))
def test_any_interleaving_of_partitions(plan: Plan, random: Random):
    """Partitions are independent: folded in turns, in any order, they give the same."""
    history = play(plan, partitions=3)
    whole = history.at()
    folds = [PartitionFold(whole.governance.contracts, p, 3) for p in range(3)]
    queues = [
        history.spans(whole.governance, p, stop) for p, stop in enumerate(whole.position.labels)
    ]
    turns = [p for p, queue in enumerate(queues) for _ in queue]
    random.shuffle(turns)
    outcomes: dict[Place, Outcome] = {}
    for p in turns:
        entry, live = queues[p].pop(0)
        outcomes[entry.place] = step(folds[p], entry, live=live)
    governance = {e.place: whole[e] for e in history.governance}
    again = State(whole.position, whole.governance, folds, outcomes | governance)
    assert again.outcomes == whole.outcomes
    assert again.canonical() == whole.canonical()
    assert again.unresolved() == whole.unresolved()


@few
@given(plans())
def test_the_number_of_partitions_does_not_matter(plan: Plan):
    """The same order per record in 1, 2 and 5 partitions: same bytes, same outcomes."""
    one, two, five = (play(plan, partitions) for partitions in (1, 2, 5))
    expected = one.at()
    for other in (two, five):
        state = other.at()
        assert state.canonical() == expected.canonical()
        assert [state[e] for e in other.log] == [expected[e] for e in one.log]


@few
@given(plans(size=8), st.lists(st.tuples(st.integers(0, 99), redeliveries), max_size=5))
@example(
    [
        Schema({"add": CLASSES}),
        Register("r0", "a"),
        Policy(roles={"reviewer": ("eve",), "admin": ("*",)}),
        Propose("r0", "c0", "a", "b"),
        RollBack(2),
        Propose("r0", "c1", "a", "c", under=Under(1)),
        Decide("r0", "c1", "accept", under=Under(1)),
    ],
    [(5, Redeliver(3))],
)
def test_redelivery_changes_no_label(plan: Plan, copies: list[tuple[int, Redeliver]]):
    """Earlier unrefused events appended once more, also after rollbacks: every checkpoint reads as
    it does without them, and no event of the plan has another outcome.
    """
    clean, noisy = History(2), History(2)
    originals: list[tuple[Entry, Entry]] = []
    for number, move in enumerate(plan):
        for where, copy in copies:
            if where % len(plan) == number:
                copy.play(noisy)
        move.play(clean)
        move.play(noisy)
        originals.append((clean.log[-1], noisy.log[-1]))
    for here, there in zip(clean.checkpoints, noisy.checkpoints, strict=True):
        assert clean.at(here).canonical() == noisy.at(there).canonical()
    expected, state = clean.at(), noisy.at()
    assert [state[there] for _, there in originals] == [expected[here] for here, _ in originals]


@few
@given(wild_plans(), st.lists(changes, min_size=1, max_size=3))
def test_a_later_contract_never_decides_again(plan: Plan, later: Plan):
    """Outcomes of earlier events stay, whatever contract changes are appended."""
    history = play(plan)
    before = history.at()
    for change in later:
        change.play(history)
    after = history.at()
    assert {place: after.outcomes[place] for place in before.outcomes} == before.outcomes


@few
@given(wild_plans())
def test_an_outcome_does_not_depend_on_how_far_governance_was_read(plan: Plan):
    """Between two closed positions without a rollback between them, no outcome changes."""
    history = play(plan)
    head = history.at()
    rolled = [entry.offset for entry in rollbacks_of(history, head)]
    for position in history.checkpoints:
        if any(position.governance <= offset for offset in rolled):
            continue
        state = history.at(head.governance.floor(position))
        assert all(head.outcomes[place] is outcome for place, outcome in state.outcomes.items())


# Rollback


@many
@given(plans())
def test_right_after_a_rollback(plan: Plan):
    """The snapshot right after a rollback equals the snapshot at its `to`, byte for byte: nested
    and undone rollbacks included.
    """
    history = play(plan)
    for entry in rollbacks_of(history, history.at()):
        assert isinstance(entry.event, RolledBack)
        after, to = history.at(right_after(entry)), history.at(entry.event.to)
        assert after.canonical() == to.canonical()
        assert after.unresolved() == to.unresolved()


@few
@given(wild_plans())
def test_every_older_position_still_reads_as_before(plan: Plan):
    """What was read at a head then is read at that position now, and it is closed for good."""
    history = History(2)
    seen: list[tuple[Position, bytes, dict[Place, Outcome]]] = []
    for move in plan:
        move.play(history)
        state = history.at(history.governed().floor(history.head()))
        seen.append((state.position, state.canonical(), dict(state.outcomes)))
    governance = history.governed()
    for position, lines, outcomes in seen:
        assert governance.closed(position)
        state = history.at(position)
        assert (state.canonical(), state.outcomes) == (lines, outcomes)


# Closure


def closed_by_definition(history: History, governance: Governance, position: Position) -> bool:
    """No label event whose contract change lies beyond, no rollback whose `at` lies beyond."""
    for rollback in governance.rollbacks:
        labels = Position(rollback.event.at.labels, 0)
        if rollback.offset < position.governance and not labels.within(position):
            return False
    for entry in itertools.chain.from_iterable(history.label_logs):
        if entry.offset < position.labels[entry.partition]:
            for change in governance.changes:
                made = change.event.version == entry.event.contract_version
                in_time = change.event.at[entry.partition] <= entry.offset
                if made and in_time and change.offset >= position.governance:
                    return False
    return True


def below(position: Position) -> Iterator[Position]:
    """Every position within this one."""
    ranges = [range(offset + 1) for offset in (*position.labels, position.governance)]
    for *labels, governance in itertools.product(*ranges):
        yield Position(tuple(labels), governance)


@few
@given(wild_plans(), st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(0, 9))
def test_the_floor_is_the_greatest_closed_position_below(
    plan: Plan, labels: tuple[int, int], governance_stop: int
):
    """Closed, within, idempotent, and no closed position below it is left out."""
    history = play(plan)
    head = history.head()
    governance = history.governed()
    position = Position(
        tuple(min(pair) for pair in zip(labels, head.labels, strict=True)),
        min(governance_stop, head.governance),
    )
    floor = governance.floor(position)
    assert floor.within(position)
    assert governance.floor(floor) == floor
    assert governance.closed(position) is (floor == position)
    closed = [p for p in below(position) if closed_by_definition(history, governance, p)]
    assert floor in closed
    assert all(each.within(floor) for each in closed)


# Whatever happens


@many
@given(st.lists(anything, max_size=25))
def test_the_fold_never_raises(plan: list[Anything]):
    """On any events that could be decoded, wherever they stand."""
    history = play([Schema({"add": CLASSES}), *plan])
    state = history.at()
    assert len(state.outcomes) == len(history.log)
    state.canonical()
    history.at(state.governance.floor(history.head()))


@many
@given(any_events)
def test_the_rules_of_events_never_raise(event: Event):
    """`problem` says what is wrong in words, or nothing."""
    assert problem(event) is None or problem(event)


@few
@given(wild_plans())
def test_canonical_lines_are_json(plan: Plan):
    """Each line parses back to the item it is of; ids ascend by their bytes."""
    state = play(plan).at()
    rows = [json.loads(each) for each in state.canonical().splitlines()]
    assert {row["id"]: row["label"] for row in rows} == state.labels()
    assert [row["id"].encode() for row in rows] == sorted(row["id"].encode() for row in rows)
    for row in rows:
        item = state.item(row["id"])
        coordinates = item.geometry and list(item.geometry.coordinates)
        assert row.get("geometry", {}).get("coordinates") == coordinates
        assert row.get("record", row["id"]) == item.record_id


@few
@given(wild_plans())
def test_what_is_refused_changes_nothing(plan: Plan):
    """After a refused event every label is what it was."""
    history = History(2)
    before = history.at()
    for move in plan:
        appended = len(history.log)
        move.play(history)
        after = history.at()
        if all(after[entry].refused for entry in history.log[appended:]):
            assert after.canonical() == before.canonical()
            assert after.unresolved() == before.unresolved()
        before = after


def test_random_histories_reach_every_outcome():
    """The properties above are about something: no outcome is missing from the histories."""
    seen: Counter[Outcome] = Counter()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(wild_plans())
    def collect(plan: Plan) -> None:
        seen.update(play(plan).at().outcomes.values())

    collect()
    missing = set(Outcome) - set(seen) - {Outcome.UNDECODABLE}
    assert not missing, (missing, seen)
