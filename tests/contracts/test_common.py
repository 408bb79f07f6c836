"""Common classes: what an item is called in two contracts is one of them, whatever happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import InvalidRequest
from ledger.contracts.common import between, inverse, remap_of
from ledger.core.contract import Contracts
from ledger.core.events import ClassAdded, SchemaChanged

NAMES = st.sampled_from("abcdefg")
RULES = st.sampled_from(["x < 1", "x >= 1", "x >= 2", "y == 'u'"])
CHANGE = st.fixed_dictionaries(
    {
        "rename": st.dictionaries(NAMES, NAMES, max_size=2),
        "merge": st.dictionaries(NAMES, NAMES, max_size=2),
        "split": st.dictionaries(NAMES, st.dictionaries(NAMES, RULES, max_size=3), max_size=1),
        "add": st.lists(NAMES, max_size=2),
    }
)
CHANGES = st.lists(CHANGE, max_size=4)
ITEMS = [{"x": x, "y": y} for x in (0.0, 1.0, 2.0) for y in ("u", "v")]


def contracts(changes: list[dict[str, Any]]) -> Contracts:
    """What the changes make, one version each."""
    made: list[SchemaChanged] = []
    for number, fields in enumerate(changes):
        said: dict[str, Any] = {**fields, "add": tuple(map(ClassAdded, fields["add"]))}
        common: dict[str, Any] = {"actor": "ann", "occurred_at": datetime(2026, 1, 1, tzinfo=UTC)}
        versions = {"contract_version": number, "version": number + 1}
        made.append(SchemaChanged(event_id=f"e{number}", at=(0,), **versions, **common, **said))
    return Contracts(made)


@settings(max_examples=150, deadline=None)
@given(first=CHANGES, one=CHANGES, other=CHANGES)
def test_an_unchanged_item_has_one_common_class(
    first: list[dict[str, Any]], one: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    """Its label was given under the contract from which both came, and followed to each: so the
    remap never takes a class's way for a changed label.
    """
    start: dict[str, Any] = {"rename": {}, "merge": {}, "split": {}, "add": list("abc")}
    first = [start, *first]
    since = len(first)
    before, after = contracts([*first, *one]), contracts([*first, *other])
    common = between(since, before, after)
    remap = remap_of(common)
    old, new = inverse(remap.aggregate_for_new), inverse(remap.aggregate_for_old)
    for label in before.at(since).classes:
        for attributes in ITEMS:
            mine = before.forward(label, since, before.in_force.version, attributes)
            theirs = after.forward(label, since, after.in_force.version, attributes)
            if isinstance(mine, str) and isinstance(theirs, str):
                assert old.get(mine, mine) == new.get(theirs, theirs)
                assert remap.apply([mine], "old") == remap.apply([theirs], "new")
    assert sorted(name for bond in common for name in bond.old) == sorted(before.in_force.classes)
    assert sorted(name for bond in common for name in bond.new) == sorted(after.in_force.classes)
    assert len({bond.name for bond in common}) == len(common)
    for name in before.in_force.classes.keys() & after.in_force.classes.keys():
        if remap.apply([name], "old") == remap.apply([name], "new"):
            assert remap.apply([name]) == remap.apply([name], "new")
        else:
            with pytest.raises(InvalidRequest, match="another one than that of the new"):
                remap.apply([name])
