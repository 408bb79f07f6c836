"""What differs and who settled it, in random histories: rows and columns beside an oracle."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import Ledger
from ledger.core.events import CorrectionProposed, CorrectionWithdrawn, ReviewDecided, VersionTagged
from ledger.core.position import Position
from ledger.releases import candidate, corrections
from ledger.releases.candidate import Candidate
from ledger.releases.corrections import SETTLED, Corrections
from ledger.tally import Group, Tally
from tests.columnar.test_equality import PATIENT
from tests.core.history import EPOCH, Entry, History, State
from tests.core.strategies import Plan, plans, play
from tests.past.books import opened

few = settings(max_examples=15, deadline=None, print_blob=True, suppress_health_check=PATIENT)
WAYS = {"rows": 10**9, "columns": 0}


@contextmanager
def ledger_of(history: History) -> Generator[Ledger]:
    """The history on a log."""
    with tempfile.TemporaryDirectory() as folder, opened(history, Path(folder)) as book:
        yield book


def closed(history: History, part: float) -> Position:
    """The closed position at or below some checkpoint of a history."""
    position = history.checkpoints[round(part * (len(history.checkpoints) - 1))]
    return history.governed().floor(position)


def proposals_of(history: History) -> dict[tuple[str, str], CorrectionProposed]:
    state = history.at()
    known: dict[tuple[str, str], CorrectionProposed] = {}
    for fold in state.folds:
        for record_id, record in fold.records.items():
            for correction_id, each in record.corrections.items():
                known[record_id, correction_id] = each.proposal
    return known


def settled_in(history: History, start: Sequence[int]) -> Counter[tuple[str, str]]:
    """Outcome and author of every correction that was settled from `start` on."""
    state, known = history.at(), proposals_of(history)

    def counts(entry: Entry) -> bool:
        return (
            entry.topic == "labels"
            and isinstance(entry.event, ReviewDecided | CorrectionWithdrawn)
            and entry.offset >= start[entry.partition]
            and state[entry] in SETTLED
        )

    found = Counter[tuple[str, str]]()
    for entry in filter(counts, history.log):
        event = entry.event
        assert isinstance(event, ReviewDecided | CorrectionWithdrawn)
        proposal = known[event.record_id, event.correction_id]
        found[state[entry].value, proposal.actor] += 1
    return found


def told(found: Corrections) -> tuple[Counter[str], Counter[str]]:
    return Counter(found.outcomes), Counter(found.authors)


@pytest.mark.parametrize("way", WAYS)
@few
@given(plan=plans(), part=st.floats(0, 1))
def test_what_was_settled(way: str, plan: Plan, part: float) -> None:
    """Rows and columns count the same, from any position on: what the reference fold settled."""
    history = play(plan)
    start = closed(history, part).labels
    expected = settled_in(history, start)
    outcomes, authors = Counter[str](), Counter[str]()
    for (outcome, author), count in expected.items():
        outcomes[outcome] += count
        if outcome == "applied":
            authors[author] += count
    with ledger_of(history) as book, pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrections, "COLUMNS_FROM", WAYS[way])
        head = closed(history, 1)
        governance = book.governance.prefix(head.governance)
        if head != history.head():
            return
        found = corrections.corrections_between(book.dataset, governance, start, head)
    assert told(found) == (outcomes, authors)


def base_at(position: Position) -> VersionTagged:
    """A version there, as far as a candidate asks for it."""
    return VersionTagged(
        event_id="base",
        actor="ann",
        occurred_at=EPOCH,
        contract_version=0,
        name="base",
        position=position,
    )


def rows_of(state: State) -> dict[str, tuple[str | None, str | None, object]]:
    """Label, split and geometry of every item that exists."""
    return {
        item.item_id: (label if isinstance(label, str) else None, record.split, item.geometry)
        for record, item in state.items()
        for label in [state.label(item)]
    }


def expected_groups(before: State, after: State) -> Counter[Group]:
    """What differs, item by item."""
    since, until = before.contract.version, after.contract.version
    contracts = after.governance.contracts
    old: dict[str, tuple[str | None, str | None, object]] = {}
    for record, item in before.items():
        label = before.label(item)
        if not isinstance(label, str):
            continue
        if since < until and contracts.live(since):
            forward = contracts.forward(label, since, until, item.attributes)
            label = forward if isinstance(forward, str) else label
        old[item.item_id] = (label, record.split, item.geometry)
    new = {name: row for name, row in rows_of(after).items() if row[0] is not None}
    found = Counter[Group]()
    for name in old.keys() | new.keys():
        one, two = old.get(name), new.get(name)
        if one == two:
            continue
        mine, theirs = one or (None, None, None), two or (None, None, None)
        found[Group(mine[0], theirs[0], mine[1], theirs[1])] += 1
    return found


@pytest.mark.parametrize("way", WAYS)
@few
@given(plan=plans(), parts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_what_differs(way: str, plan: Plan, parts: tuple[float, float]) -> None:
    """Between any two positions, with renames, splits and rollbacks in between."""
    history = play(plan)
    first, second = (closed(history, part) for part in sorted(parts))
    if not first.within(second):
        return
    expected = expected_groups(history.at(first), history.at(second))
    with ledger_of(history) as book, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.replay.COLUMNS_FROM", WAYS[way])
        patch.setattr("ledger.contracts.unresolved.COLUMNS_FROM", WAYS[way])
        base = base_at(first)
        found: Tally = Candidate(book, second, base).tally
        if way == "columns" and sum(second.labels):
            assert candidate.columns_of(book.snapshot(second)) is not None
    assert Counter(found.groups) == expected
