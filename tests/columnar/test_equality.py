"""The columnar fold equals the reference fold: labels, outcomes and state, in every history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger.codec import Codec
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Reader
from ledger.columnar.state import OUTCOMES
from ledger.core.events import CorrectionProposed, Event, Geometry, ReviewDecided
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from tests.core.history import Entry, History, box
from tests.core.strategies import Plan, anything, plans, play, wild_plans
from tests.registries import MemoryRegistry

# Of any events many break a rule, and are passed over.
PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
few = settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=PATIENT)
many = settings(few, max_examples=150)
CODEC = Codec(MemoryRegistry())


def pieces(entries: Sequence[Entry], sizes: Sequence[int]) -> Iterator[Sequence[Entry]]:
    """The entries in batches of these sizes, over and over."""
    start = number = 0
    while start < len(entries):
        size = sizes[number % len(sizes)]
        yield entries[start : start + size]
        start, number = start + size, number + 1


def columnar(
    history: History, position: Position, sizes: Sequence[int]
) -> tuple[list[ColumnarPartition], dict[tuple[str, int, int], Outcome]]:
    governance = history.governed(position.governance)
    outcomes: dict[tuple[str, int, int], Outcome] = {}
    folds: list[ColumnarPartition] = []
    reader = Reader(CODEC)
    for partition, stop in enumerate(position.labels):
        fold = ColumnarPartition(governance.contracts, partition, history.partitions, CODEC)
        for span in governance.spans(partition, stop):
            log = history.label_logs[partition][span.start : span.stop]
            for batch in pieces(log, sizes):
                frame = reader.frame(
                    [entry.offset for entry in batch],
                    [entry.key for entry in batch],
                    [CODEC.encode(entry.event) for entry in batch],
                )
                found = fold.apply(frame) if span.live else fold.void(frame)
                for entry, code in zip(batch, found.tolist(), strict=True):
                    outcomes[entry.place] = OUTCOMES[code]
        folds.append(fold)
    return folds, outcomes


def same(history: History, position: Position, sizes: Sequence[int]) -> None:
    expected = history.at(position)
    folds, outcomes = columnar(history, position, sizes)
    assert outcomes == {p: o for p, o in expected.outcomes.items() if p[0] == "labels"}
    for fold, reference in zip(folds, expected.folds, strict=True):
        log = history.label_logs[reference.partition]

        def fetch(offsets: Sequence[int], log: list[Entry] = log) -> Iterable[tuple[int, Event]]:
            return [(offset, log[offset].event) for offset in offsets]

        assert fold.records(fetch) == reference.records


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=3)


def turns(count: int) -> History:
    """One item that is corrected back and forth, some of it stale."""
    history = History.of_classes("a", "b", "c")
    history.item("r", "a")
    history.item("other", "c")
    for i in range(count):
        history.correct("r", "ab"[i % 2], "ba"[i % 2])
        if i % 7 == 0:
            history.correct("r", "c", "a")
    return history


def shared_ids() -> History:
    """Records that take the same correction ids, in turns, and vote on each other's."""
    history = History.of_classes("a", "b", "c")
    for record in ("r", "s", "t"):
        history.item(record, "a")
    for name in ("one", "two", "three"):
        for record in ("r", "s", "t") if name != "two" else ("t", "s", "r"):
            first = history.propose(record, "a", "b", correction_id=name)
            history.vote(first, item_id="s")
            history.vote(first)
    return history


def late_approvals() -> History:
    """Two reviewers must agree; they do so far apart, and some vote twice or too late."""
    history = History.of_classes("a", "b", "c")
    history.policy(approvals=2)
    for i in range(9):
        history.item(f"r{i}", "a")
    proposals = [history.propose(f"r{i}", "a", "bc"[i % 2]) for i in range(9)]
    for i, proposal in enumerate(proposals):
        history.vote(proposal, "keep" if i % 4 == 1 else "accept")
    for i, proposal in enumerate(proposals):
        history.vote(proposal, "keep" if i % 4 == 1 else "accept", by="bob" if i == 3 else "eve")
    history.policy(approvals=1)
    for proposal in proposals:
        history.vote(proposal, by="max", version=3)
    return history


def boxes() -> History:
    """Boxes, polygons and spans, several to a record, whose labels alone are corrected, before and
    after splits that ask for their areas and attributes.
    """
    history = History.of_classes("a", "b", "c")
    shapes = [box(2, 3), box(9, 9), Geometry("polygon", (0.0, -0.0, 4, 0, 4, 1e-7)), None]
    for i in range(12):
        record, shape = f"r{i // 3}", shapes[i % 4]
        known = {"kind": "x", "sharp": 0.25 * i} if i % 5 == 0 else None
        history.item(f"{record}#{i % 3}", "a", shape, split="train", attributes=known)
    history.item("r0", "c", attributes={"width": 640.0, "height": 480.0, "kind": "ä"})
    history.item("r1", None, Geometry("span", (3, 9)), content="a text")
    for i in range(12):
        history.correct(f"r{i // 3}#{i % 3}", "ab"[i % 2], "c" if i % 3 else "b")
    history.schema(split={"c": {"c": "area > 4 and not kind == 'x'", "a": "area <= 4"}})
    for i in range(12):
        history.correct(f"r{i // 3}#{i % 3}", "ac"[i % 2], "b")
    history.schema(split={"b": {"d": "area > 9", "e": "sharp > 1 or area <= 9"}}, add=["b"])
    return history


def harder_boxes() -> History:
    """What is said of boxes besides, so that they leave the columns: registered again as they are,
    nearly, and otherwise; redrawn, added, removed, escalated, withdrawn.
    """
    history = boxes()
    history.item("r0#0", "a", box(2, 3))
    history.item("r0#1", "a", box(9, 9, x=-0.0))
    history.item("r0#2", "a", Geometry("polygon", (0.0, -0.0, 4, 0, 4, 2e-7)))
    history.correct("r1#1", "d", "e", box(9, 9), box(1, 1))
    history.correct("r1#2", "a", "b", box(2, 3), None)
    history.correct("r1#9", None, "a", None, box(1, 1))
    history.correct("r2#0", None, "e")
    history.correct("r2#1", "a", None)
    history.vote(history.propose("r2#2", "a", "b"), "escalate")
    history.withdraw(history.propose("r3#0", "a", "b"))
    history.policy(roles={"reviewer": ("*",), "expert": ("eve",)}, expert_classes=("e",))
    for i in range(12):
        history.correct(f"r{i // 3}#{i % 3}", "de"[i % 2], "a", reviewer="eve" if i % 3 else "bob")
    return history


def rich() -> History:
    """Everything that an event can say besides, in and out of ASCII."""
    history = History.of_classes("katze", "hund", "käse")
    history.item("r", "katze", split="train", content="the text of it, longer than twelve bytes")
    history.item("ä", "käse", split="test", content="Größe", attributes={"kind": "x", "area": 2.0})
    history.item("r#1", "hund", box(2, 3), split="test")
    sources: Sequence[tuple[str, Any]] = (("r", "feedback"), ("ä", None), ("r#1", "patch"))
    for item, source in sources:
        proposal = history.propose(item, "katze", "hund")
        assert isinstance(proposal.event, CorrectionProposed)
        history.append(
            replace(
                proposal.event,
                correction_id=f"full {item}",
                event_id=f"full {item}",
                reason="it barks: „wuff“",
                source=source,
                confidence=0.25 if source else None,
                model_version="m1",
                audit_run_id=None,
                patch_id="p" * 40,
                segment="de",
            )
        )
        vote = history.vote(proposal, "keep")
        assert isinstance(vote.event, ReviewDecided)
        history.append(
            replace(
                vote.event,
                correction_id=f"full {item}",
                event_id=f"vote {item}",
                rationale="ja, größer",
                decision="accept",
            )
        )
    return history


SPECIAL: Mapping[str, Callable[[], History]] = {
    "turns, few": lambda: turns(50),
    "turns, more than are folded in rounds": lambda: turns(80),
    "shared ids": shared_ids,
    "late approvals": late_approvals,
    "rich": rich,
    "boxes": boxes,
    "harder boxes": harder_boxes,
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("sizes", [[1], [7], [1000]])
def test_special_histories(name: str, sizes: list[int]):
    history = SPECIAL[name]()
    same(history, history.head(), sizes)


def test_what_is_plain_is_folded_as_columns():
    """The special histories go where they are meant to go: into the rounds, or past them."""
    plain_ones = ("turns, few", "late approvals", "boxes")
    for name, plain in [*((name, True) for name in plain_ones), ("shared ids", False)]:
        history = SPECIAL[name]()
        (fold,), _ = columnar(history, history.head(), [1000])
        assert (fold.fast_rows > len(history.label_logs[0]) * 0.7) is plain, name
    crowded = turns(80)
    (fold,), _ = columnar(crowded, crowded.head(), [1000])
    assert fold.fast_rows == 1


@many
@given(wild_plans(), SIZES, st.integers(1, 3))
def test_every_history(plan: Plan, sizes: list[int], partitions: int):
    history = play(plan, partitions)
    same(history, history.head(), sizes)


@few
@given(plans(), SIZES, st.integers(1, 2))
def test_every_position(plan: Plan, sizes: list[int], partitions: int):
    history = play(plan, partitions)
    for position in history.checkpoints[::3]:
        same(history, position, sizes)


@few
@given(st.lists(anything, max_size=12), SIZES)
def test_any_events(plan: Plan, sizes: list[int]):
    history = play(plan, 2)
    same(history, history.head(), sizes)
