"""Labels of columns under later contracts: what `Contracts.forward` says, item by item."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import numpy as np

from ledger.columnar.forward import forward
from ledger.core.events import Geometry
from tests.columnar.test_equality import PATIENT, columnar
from tests.core.history import History, box

SHAPES = [
    *(None, Geometry("polygon", (0.0, 0.0, 4.0, 0.0, 0.0, 4.0)), Geometry("span", (0.0, 9.0))),
    *(box(width, 2.0) for width in (0.0, -0.0, 1.0, 2.0, 2.0 + 1e-15, 3.0, 4.5, 1e300)),
]
KNOWN: list[Mapping[str, float | str]] = [
    *({}, {"kind": "x"}, {"kind": "y", "side": 4.0}, {"side": 6.0}, {"area": 9.0}, {"area": "x"}),
]
RULES = (
    *("area > 4", "area <= 4", "area == 4", "4 != area", "not (area < 9 or area < 2)", "1 == 1"),
    *("kind == 'x'", "kind != 'x' and area > 0", "area < side", "side <= area", "area == 'x'"),
)
SPLITS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(RULES), min_size=1)
Item = tuple[str, Geometry | None, Mapping[str, float | str]]
ITEMS = st.tuples(st.sampled_from("ab"), st.sampled_from(SHAPES), st.sampled_from(KNOWN))


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=PATIENT)
@given(
    st.lists(ITEMS, min_size=1, max_size=30),
    st.lists(st.tuples(st.sampled_from("ab"), SPLITS), min_size=1, max_size=3),
)
def test_labels_are_mapped_forward(items: list[Item], splits: list[tuple[str, dict[str, str]]]):
    """Through any splits by area and attributes, alone and against each other."""
    check(items, splits)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_every_item(rule: str):
    check([("a", *each) for each in itertools.product(SHAPES, KNOWN)], [("a", {"b": rule})])


def check(items: Sequence[Item], splits: Sequence[tuple[str, dict[str, str]]]) -> None:
    """Register the items, split their classes, and map their labels to every contract."""
    history = History.of_classes("a", "b", "c")
    for i, (label, shape, known) in enumerate(items):
        history.item(f"r{i}", label, shape, attributes=known)
    for name, parts in splits:
        history.schema(split={name: parts}, add=["a", "b"])
    contracts = history.governed().contracts
    (fold,), _ = columnar(history, history.head(), [7])
    assert fold.fast_rows == len(items)
    things, labels = fold.columns.things, fold.columns.tables.labels
    codes = np.nonzero(things.exists)[0]
    (reference,) = history.at().folds
    for until in contracts.versions[1:]:
        given = things.label[codes].astype(np.int64)
        since = things.version[codes].astype(np.int64)
        found = forward(fold.columns, codes, given, since, np.full_like(since, until))
        for name, code in zip(fold.names.things.of(codes), found.tolist(), strict=True):
            item = reference.records[name].items[name]
            way = item.label, item.contract_version, until
            assert labels[code] == contracts.forward(*way, item.attributes)
