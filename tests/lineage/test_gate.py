"""The gate: each threshold failing and passing, and what becomes of a version that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger import InvalidRequest, Ledger
from ledger.gating import Check, Gate, Verdict
from ledger.lineage import Lineage
from tests.core.history import Entry, History
from tests.events import item, proposal, vote
from tests.lineage.books import ledger_of

CLASSES = ("cat", "dog")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    """Four cats and four dogs; `v1` has them, and in `v2` two of the cats are dogs."""
    with Ledger.create(f"sqlite:///{tmp_path}/log.db", "d", partitions=2) as book:
        book.add_classes(CLASSES, actor="max")
        labels = ["cat"] * 4 + ["dog"] * 4
        book.append([item(f"i{n}", label, split="train") for n, label in enumerate(labels)])
        book.tag("v1", actor="max", reviewer="ada")
        for n in (0, 1):
            book.append([proposal(f"c{n}", f"i{n}", "cat", "dog"), vote(f"c{n}", f"i{n}")])
        book.tag("v2", actor="max", reviewer="ada")
        yield book


def policy(book: Ledger, thresholds: Mapping[str, float] | None = None, **more: Any) -> None:
    """Set the contract's thresholds."""
    version = book.governance.highest_version + 1
    fields = {"version": version, "actor": "max", "approved_by": "ada", **more}
    book.append([{"type": "PolicyChanged", "thresholds": dict(thresholds or {}), **fields}])


def check(verdict: Verdict, name: str) -> Check:
    (found,) = [each for each in verdict.checks if each.name == name]
    return found


def held(book: Ledger, name: str, limit: str, value: float, beyond: float) -> None:
    """A value at its threshold passes, at one beyond it fails, and the verdict follows."""
    for threshold, passed in ((value, True), (value + beyond, False)):
        policy(book, {"unresolved_max": 1.0, limit: threshold})
        verdict = Gate(book).judge(base="v1")
        found = check(verdict, name)
        assert (found.value, found.threshold, found.passed) == (value, threshold, passed)
        assert verdict.passed is passed
        assert verdict.as_dict()["verdict"] == ("pass" if passed else "fail")


def test_what_was_corrected_moved_and_waits(book: Ledger) -> None:
    """Two of eight items were corrected since `v1`, and a quarter of the distribution moved; an
    item with two corrections that wait is one item.
    """
    book.append([proposal("x", "i4", "dog", "cat"), proposal("y", "i4", "dog", "cat")])
    held(book, "correction_rate", "correction_rate_max", 0.25, -0.01)
    held(book, "class_shift", "class_shift_max", 0.25, -0.01)
    held(book, "open_corrections", "open_corrections_max", 0.125, -0.01)


def test_what_has_no_label(book: Ledger) -> None:
    """An item that a correction took the label from is not labelled; one that no rule of a split
    matches is unresolved as well.
    """
    book.append([proposal("x", "i3", "cat", None), vote("x", "i3")])
    held(book, "labelled", "labelled_min", 0.875, 0.01)
    fields = {"version": book.governance.highest_version + 1, "actor": "max"}
    split = {"cat": {"kitten": "area < 5", "tom": "area >= 5"}}
    book.append([{"type": "SchemaChanged", "split": split, "approved_by": "ada", **fields}])
    held(book, "unresolved", "unresolved_max", 0.125, -0.01)
    held(book, "labelled", "labelled_min", 0.75, 0.01)


def test_what_the_contract_does_not_ask(book: Ledger) -> None:
    """A value without a threshold is told and fails nothing; few items are not judged by their
    distribution unless the contract says so.
    """
    found = {each.name: each for each in Gate(book).judge("v2").checks}
    for name in ("labelled", "open_corrections", "correction_rate", "class_shift"):
        assert found[name].passed is None
        assert found[name].value is not None
    assert found["correction_rate"].value == 0.25
    assert (found["unresolved"].passed, found["overdue"].passed) == (True, True)
    assert list(found) == [
        *("unresolved", "labelled", "open_corrections", "overdue", "correction_rate"),
        *("class_shift", "patches"),
    ]


def test_the_first_version_has_nothing_to_compare(book: Ledger) -> None:
    """No base, no rate and no shift; a base that lies beyond is refused, and an unknown one."""
    first = Gate(book).judge("v1")
    assert first.base is None
    assert not {"correction_rate", "class_shift"} & {each.name for each in first.checks}
    assert Gate(book).judge("v2").base == "v1"
    assert Gate(book).judge().base == "v2"
    with pytest.raises(InvalidRequest, match="base 'v2' lies beyond v1"):
        Gate(book).judge("v1", base="v2")
    with pytest.raises(InvalidRequest, match="there is no version 'v9'"):
        Gate(book).judge(base="v9")
    with pytest.raises(InvalidRequest, match="there is no model 'm'"):
        Gate(book).judge(model="m")


def test_overdue_by_the_clock_of_the_log(tmp_path: Path) -> None:
    """A correction is overdue when it waits longer in its state than the service level by the
    highest timestamp of the position, in each state by its own level.
    """
    history = History.of_classes(*CLASSES, partitions=2)
    for name in "rstu":
        history.item(name, "cat")
    first, second = (history.propose(name, "cat", "dog") for name in "rs")
    contested = history.propose("t", "cat", "dog")
    escalation = history.vote(contested, "escalate")
    history.vote(history.propose("u", "cat", "dog"), "keep")
    last = history.item("v", "cat")

    def waited(since: Entry) -> float:
        return (last.event.occurred_at - since.event.occurred_at).total_seconds()

    with ledger_of(history, tmp_path) as book:
        at = book.resolve().text()

        def overdue(**levels: float) -> float:
            policy(book, service_levels=levels)
            found = check(Gate(book).judge(at), "overdue")
            assert isinstance(found.value, float)
            assert found.passed is (found.value == 0)
            return found.value

        assert overdue() == 0
        assert overdue(proposed=waited(first)) == 0
        assert overdue(proposed=waited(second)) == 1
        assert overdue(pending=waited(contested)) == 2
        assert overdue(escalated=waited(escalation)) == 0
        assert overdue(escalated=waited(escalation) - 0.5) == 1
        assert overdue(escalated=0, proposed=0) == 3


@pytest.mark.parametrize(("metric", "passed"), [(0.90, True), (0.899, False), (0.95, True)])
def test_a_model_beside_its_base(book: Ledger, metric: float, passed: bool) -> None:
    """A metric may fall by exactly as much as the contract says; a higher one is fine."""
    lineage = Lineage(book)
    lineage.register("m1", labels="v1", actor="ann", metrics={"f1": 0.92, "only": 1.0})
    lineage.register("m2", labels="v2", actor="ann", metrics={"f1": metric}, base="m1")
    found = check(Gate(book).judge(model="m2"), "metric_drop")
    assert found.passed is passed
    assert found.threshold == 0.02
    assert found.value == pytest.approx(max(0.92 - metric, 0.0))


def test_models_that_were_measured_on_the_same_labels(book: Ledger) -> None:
    """What a model was trained on is no matter, if it was measured on the base's test labels."""
    lineage = Lineage(book)
    book.append([item("t", "cat", split="test")])
    first = book.tag("v3", actor="max", reviewer="ada").test_version
    lineage.register("m1", labels="v3", actor="ann", metrics={"f1": 0.9})
    book.append([proposal("t1", "t", "cat", "dog"), vote("t1", "t")])
    book.tag("v4", actor="max", reviewer="ada")
    metrics = {"f1": 0.8}
    lineage.register("m2", labels="v4", actor="ann", metrics=metrics, base="m1")
    lineage.register(
        "m3", labels="v4", actor="ann", metrics=metrics, base="m1", split_version=first
    )
    found = [check(Gate(book).judge(model=name), "metric_drop") for name in ("m2", "m3")]
    assert [each.passed for each in found] == [None, False]


def test_models_that_do_not_compare(book: Ledger) -> None:
    """A model without a base, without a common metric, or on other test labels is not judged."""
    lineage = Lineage(book)
    lineage.register("alone", labels="v1", actor="ann", metrics={"f1": 0.9})
    lineage.register("other", labels="v2", actor="ann", metrics={"loss": 0.9}, base="alone")
    book.append([item("t", "cat", split="test")])
    book.tag("v3", actor="max", reviewer="ada")
    lineage.register("tested", labels="v3", actor="ann", metrics={"f1": 0.1}, base="alone")
    for name, why in (
        ("alone", "alone follows no model"),
        ("other", "other and alone measured nothing in common"),
        ("tested", "not comparable with alone: "),
    ):
        verdict = Gate(book).judge(model=name)
        found = check(verdict, "metric_drop")
        assert (found.value, found.passed) == (None, None)
        assert found.why.startswith(why)
        assert verdict.passed


def test_a_patch_in_progress(book: Ledger) -> None:
    """The gate is closed while a patch is settled in part."""
    opening = {"type": "PatchProposed", "patch_id": "p", "sha256": "ab" * 32, "count": 2}
    two = [proposal(f"p{n}", f"i{n}", "dog", "cat", actor="sam", patch_id="p") for n in (4, 5)]
    book.append([{**opening, "actor": "sam"}, *two])
    assert check(Gate(book).judge(), "patches").passed
    book.append([vote("p4", "i4")])
    found = check(Gate(book).judge(), "patches")
    assert (found.passed, found.why) == (False, "settled in part only: p")


def test_a_waiver_opens_the_gate_for_its_version(book: Ledger) -> None:
    """The named check of the named version passes, with who waived it and why."""
    policy(book, {"correction_rate_max": 0.1})
    fields = {"version": "v2", "check": "correction_rate", "reason": "the first cleaning"}
    book.append([{"type": "WaiverGranted", "actor": "max", "approved_by": "ada", **fields}])
    found = check(Gate(book).judge("v2"), "correction_rate")
    assert found.passed
    assert found.why.endswith("Waived by max and ada: the first cleaning")
    assert check(Gate(book).judge(base="v1"), "correction_rate").passed is False


def test_the_hash_of_a_version(book: Ledger) -> None:
    """A proof rebuilds the version; a position that is none has nothing to prove, and a tag that
    says another hash fails.
    """
    found = check(Gate(book).judge("v2", prove=True), "content_hash")
    assert found.passed
    assert found.value == found.threshold == book.version("v2").content_hash
    with pytest.raises(InvalidRequest, match="only a version has a hash to prove"):
        Gate(book).judge(prove=True)
    fields = {"position": book.resolve().as_dict(), "content_hash": "0" * 64, "actor": "max"}
    book.append([{"type": "VersionTagged", "name": "wrong", "reviewer": "ada", **fields}])
    assert not Gate(book).judge("wrong", prove=True).passed


STRICT = {"correction_rate_max": 0.1, "auto_rollback": 1.0}


def take_back(book: Ledger, at: str = "v2", approved_by: str = "ada") -> Verdict:
    gate = Gate(book)
    return gate.take_back(gate.judge(at), actor="max", approved_by=approved_by)


def test_a_failed_version_is_rolled_back_once(book: Ledger) -> None:
    """Where the policy says so the labels are those of the base again, with the failed check as the
    reason; a second time nothing is left to take back.
    """
    policy(book, STRICT)
    book.append([item("later", "cat")])
    verdict = take_back(book)
    assert verdict.rollback is not None
    assert verdict.rollback.done
    assert verdict.rollback.why == (
        "v2 was rolled back to v1, with 1 label event that came after it"
    )
    assert book.snapshot().sha256 == book.version("v1").content_hash
    (rollback,) = book.governance.live_rollbacks
    assert rollback.event.reason == (
        "v2 failed its check after the release: correction_rate: 2 of 8 items were corrected "
        "since v1; at most 0.1"
    )
    assert (rollback.event.actor, rollback.event.approved_by) == ("max", "ada")
    again = take_back(book).rollback
    assert again is not None
    assert (again.done, again.why) == (False, "v2 was rolled back already")
    assert len(book.governance.live_rollbacks) == 1


def test_a_version_on_top_that_was_taken_back_is_no_obstacle(book: Ledger) -> None:
    """Only versions that stand are built upon."""
    policy(book, STRICT)
    middle = book.resolve()
    book.append([item("later", "cat")])
    book.tag("v3", actor="max", reviewer="ada")
    book.rollback(middle, actor="max", approved_by="ada")
    verdict = take_back(book)
    assert verdict.rollback is not None
    assert verdict.rollback.done


def why_not(book: Ledger, at: str = "v2", approved_by: str = "ada") -> str:
    """Why a version stays; that it does is asserted."""
    before = book.resolve()
    found = take_back(book, at, approved_by).rollback
    assert found is not None
    assert not found.done
    assert book.resolve() == before
    return found.why


def test_what_is_not_rolled_back(book: Ledger) -> None:
    """A version stays where the policy does not say so, where it passes, where there is no base,
    where another was released on top, and where the second person is missing.
    """
    policy(book, {"correction_rate_max": 0.1})
    assert why_not(book) == "the contract does not set auto_rollback to 1"
    policy(book, {"auto_rollback": 1.0})
    assert why_not(book) == "no check failed"
    policy(book, {"labelled_min": 1.1, **STRICT})
    assert why_not(book, "v1") == "v1 has no base to go back to"
    policy(book, STRICT)
    assert "takes two people: 'nobody' can't" in why_not(book, approved_by="")
    assert "takes two people: 'max' can't" in why_not(book, approved_by="max")
    roles = {"admin": ["max", "ada"], "reviewer": ["bob"]}
    policy(book, STRICT, roles=roles)
    assert "not_permitted" in why_not(book, approved_by="bob")
    book.append([item("later", "cat")])
    book.tag("v3", actor="max", reviewer="ada")
    assert why_not(book).startswith("v3 was released on top of it")
    with pytest.raises(InvalidRequest, match="there is no version 'head'"):
        take_back(book, "head")


def test_nothing_is_not_labelled(tmp_path: Path) -> None:
    """Where there are no items yet, none is labelled: a gate that asks for labels is closed."""
    with Ledger.create(f"sqlite:///{tmp_path}/log.db", "d") as book:
        policy(book, {"labelled_min": 0.5})
        assert [each.name for each in Gate(book).judge().failed] == ["labelled"]


def test_on_either_log(address: dict[str, str]) -> None:
    """Model, blast, changes and gate say the same on both logs."""
    with Ledger.create(**address, partitions=3) as book:
        book.add_classes(CLASSES, actor="max")
        book.append([item(name, "cat", split="test") for name in "abcd"])
        book.tag("v1", actor="max", reviewer="ada")
        lineage = Lineage(book)
        lineage.register("m", labels="v1", actor="ann", metrics={"f1": 0.9})
        book.append([proposal("c", "a", "cat", "dog"), vote("c", "a")])
        policy(book, {"correction_rate_max": 0.2})
        assert [each.value for each in Gate(book).judge().failed] == [0.25]
        found = lineage.blast_of_correction("c")
        assert (dict(found.releases), [m.name for m in found.evaluations]) == ({"v1": "cat"}, ["m"])
        assert lineage.quality().by_cause == {"correction": 1}


def test_the_same_verdict_on_other_partitions(tmp_path: Path) -> None:
    """Everything but the position is the same in one partition and in five."""
    said: list[dict[str, Any]] = []
    for partitions in (1, 5):
        history = History.of_classes(*CLASSES, partitions=partitions)
        for n in range(60):
            history.item(f"r{n}", "cat")
        history.tag("v1")
        for n in range(20):
            history.correct(f"r{n}", "cat", "dog")
        history.propose("r30", "cat", "dog")
        with ledger_of(history, tmp_path) as book:
            fields = Gate(book).judge().as_dict()
            assert fields["verdict"] == "fail"
            said.append({k: v for k, v in fields.items() if not k.startswith("position")})
    assert said[0] == said[1]
