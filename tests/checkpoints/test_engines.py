"""Any engine reads the files: DuckDB and Polars, by a plain glob."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("duckdb")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import duckdb
import polars as pl

from tests.checkpoints.test_reading import keep
from tests.checkpoints.test_store import eventful
from tests.columnar.test_replay import stored
from tests.core.history import History

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(params=[7, 1000])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[History, Path]:
    """A history with rollbacks and a rename that came before the end, as few and as many files."""
    history = eventful()
    history.schema(rename={"dog": "hound"})
    history.item("r1#tail", "hound")
    keep(stored(history, tmp_path / "log.db"), tmp_path / "cp", every=request.param)
    return history, tmp_path / "cp"


def test_the_query_of_the_readme(kept: tuple[History, Path]):
    """It counts what is live, as its contract named it."""
    history, place = kept
    (query,) = re.findall(r"```sql\n(.*?)```", README.read_text(), re.DOTALL)
    query = query.replace("errata.db.default.checkpoints", str(place))
    found = duckdb.connect().execute(query).fetchall()
    items = history.at().items()
    assert dict(found) == Counter(item.label for _, item in items)
    assert len(found) == 3  # cat, dog, and hound, which is what dog became


def test_polars_scans_every_column(kept: tuple[History, Path]):
    """Labels by Polars, and every table in one frame over all partitions."""
    history, place = kept
    last = (
        pl.scan_parquet(place / "*/changes/*.parquet")
        .sort("offset")
        .group_by("partition", "item_offset")
        .last()
        .collect()
    )
    expected = {item.item_id: item.label for _, item in history.at().items()}
    assert dict(last.select("item_id", "label").rows()) == expected
    reviews = pl.scan_parquet(place / "*/reviews/*.parquet")
    corrections = pl.scan_parquet(place / "*/corrections/*.parquet")
    joined = reviews.join(
        corrections,
        left_on=["partition", "correction_offset"],
        right_on=["partition", "offset"],
    ).collect()
    assert len(joined) == len(reviews.collect())
    assert {"item_id", "correction_id", "decision", "to_label"} <= set(joined.columns)
