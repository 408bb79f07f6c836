"""The file of a view, and what is said of one that is not what it should be."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

import polars as pl
from sqlite_utils import Database

from ledger.dataset import Dataset
from ledger.errors import InvalidRequest, ViewsDamaged, ViewsUnavailable
from ledger.views import file, schema
from ledger.views.file import Connection
from ledger.views.present import as_numbers, as_text
from ledger.views.reader import View
from ledger.views.tables import Place
from ledger.views.writer import Fenced, ViewWriter
from tests.core.history import History, box
from tests.views.material import build, content, dataset_at, known_at, pieces


def special() -> History:
    """A bit of everything in one partition: regions, geometry, splits, corrections of all kinds."""
    history = History.of_classes("cat", "dog", "owl")
    history.item("r1", "cat", split="train", content="a text", attributes={"kind": "x"})
    history.item("r1#1", "cat", box(2, 3))
    history.item("r1#2", "cat", box(3, 3))
    history.item("r2#1", "dog")
    history.item("r2", "dog", split="test")
    history.correct("r2", "dog", "owl")
    history.vote(history.propose("r1", "cat", "dog"), "keep")
    history.vote(history.propose("r1#1", "owl", "dog"))
    history.withdraw(history.propose("r2", "owl", None))
    history.vote(history.propose("r2#1", "dog", "owl"), "escalate")
    history.vote(history.propose("none", "dog", "owl"))
    history.schema(
        split={"cat": {"small": "area < 8", "large": "area >= 8"}}, rename={"owl": "bird"}
    )
    return history


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return dataset_at(tmp_path, 1)


def written(path: Path, dataset: Dataset, history: History) -> None:
    writer = ViewWriter(path, dataset)
    build(writer, history)
    writer.close()


def test_what_a_browser_shows(tmp_path: Path, dataset: Dataset) -> None:
    """With sqlite-utils alone: tables with links, labels in force, splits of the record, counts."""
    written(tmp_path / "v.db", dataset, special())
    connection = sqlite3.connect(f"file:{tmp_path}/v.db?mode=ro", uri=True)
    database: Any = Database(connection)
    assert set(database.table_names()) == set(schema.TABLES)
    assert set(database.view_names()) == set(schema.VIEWS)
    keys = {(key.column, key.other_table) for key in database["changes"].foreign_keys}
    assert keys == {("item", "items"), ("correction", "corrections")}
    shown = {row["item_id"]: row for row in database.query("SELECT * FROM labels")}
    labels = {name: row["label"] for name, row in shown.items()}
    assert labels == {"r1#1": "small", "r1#2": "large", "r2": "bird", "r2#1": "dog"}
    splits = {name: row["split"] for name, row in shown.items()}
    assert splits == {"r1#1": "train", "r1#2": "train", "r2": "test", "r2#1": "test"}
    assert shown["r2"]["time"].startswith("1970-01-01T00:00:0")
    rates = database.query("SELECT * FROM correction_rates WHERE by = 'actor'")
    (row,) = rates
    counts = {key: row[key] for key in ("value", "corrections", "applied", "stale", "kept")}
    assert counts == {"value": "ann", "corrections": 5, "applied": 1, "stale": 1, "kept": 1}
    assert [row["status"] for row in database.query("SELECT status FROM queue")] == ["escalated"]
    (refused,) = database.query("SELECT * FROM refusals WHERE item_id = 'none' LIMIT 1")
    assert refused["outcome"] == "unknown_item"
    changed = database["contract"].get(2)
    assert changed["status"] == "in force"
    assert json.loads(changed["change"])["rename"] == {"owl": "bird"}
    connection.close()


def test_a_writer_that_is_late(tmp_path: Path, dataset: Dataset) -> None:
    """It may believe what is not so of the place, of governance, or of the file: it is fenced."""
    history, path = special(), tmp_path / "v.db"
    old, known = known_at(history, 1), known_at(history, 2)
    late, writer = ViewWriter(path, dataset), ViewWriter(path, dataset)
    (piece,) = pieces(history, old, 0, 0, 3)
    here = writer.reset(0, Place(0, 0, 0), old, 0)
    there = writer.write(0, here, old, piece.delta, piece.stop)
    with pytest.raises(Fenced, match="and not at"):
        late.write(0, here, old, piece.delta, piece.stop)
    now = writer.reset(0, there, known, there.offset)
    with pytest.raises(Fenced, match="governance"):
        late.reset(0, now, old, now.offset)
    before = content(path)
    path.unlink()
    with pytest.raises(Fenced, match="another file"):
        late.reset(0, now, known, now.offset)
    late.close()
    writer.close()
    again = ViewWriter(path, dataset)
    assert again.place(0) == Place(0, 0, 0)
    again.close()
    assert before != content(path)


def test_many_make_it_at_once(tmp_path: Path, dataset: Dataset) -> None:
    """None takes what another is making for something left over."""
    for number in range(30):
        ready = threading.Barrier(4)

        def make(number: int, ready: threading.Barrier) -> None:
            ready.wait()
            ViewWriter(tmp_path / f"{number}.db", dataset).close()

        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(make, number, ready) for _ in range(4)]
        for each in made:
            each.result()


def test_what_is_no_view(tmp_path: Path, dataset: Dataset) -> None:
    """None yet, no database, another program's database, a folder: each is a sentence."""
    path = tmp_path / "v.db"
    with pytest.raises(InvalidRequest, match=r"no views at .*`errata rebuild` makes them"):
        View.open(path, dataset)
    path.write_bytes(b"text" * 2_000)
    with pytest.raises(ViewsDamaged, match=r"not a database.*`errata rebuild`"):
        View.open(path, dataset)
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE mine (x)").connection.close()
    with pytest.raises(ViewsDamaged, match="no such table: about"):
        View.open(path, dataset)
    path.unlink()
    path.mkdir()
    with pytest.raises(ViewsUnavailable, match=r"unable to open|failed to open"):
        View.open(path, dataset)


def test_another_version_of_the_tables(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rebuilt, never migrated."""
    ViewWriter(tmp_path / "v.db", dataset).close()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(ViewsDamaged, match=r"version of the tables '1'.*`errata rebuild`"):
        View.open(tmp_path / "v.db", dataset)


def test_a_file_that_is_held(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer waits for its turn, then says that it cannot write now; readers never wait."""
    monkeypatch.setattr(file, "_BUSY_MS", 100)
    history, path = special(), tmp_path / "v.db"
    writer, other = ViewWriter(path, dataset), Connection(_there(path))
    with other.transaction():
        with pytest.raises(ViewsUnavailable, match="locked"):
            writer.reset(0, Place(0, 0, 0), known_at(history, 1), 0)
        View.open(path, dataset).close()
    writer.reset(0, Place(0, 0, 0), known_at(history, 1), 0)


def _there(path: Path) -> Path:
    found = file.current(path)
    assert found is not None
    return found


def test_an_interrupt_is_one(tmp_path: Path) -> None:
    """Also while the driver works it is Python's, no error and not lost: a worker ends by it."""
    connection = Connection(tmp_path / "v.db")
    numbers = "SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 8000000"
    ending = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    seen = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        ending.start()
        query = f"WITH RECURSIVE numbers (n) AS ({numbers}) SELECT count(*) FROM numbers"
        assert connection.rows(query) == [(8_000_000,)]
        ending.join()
        assert connection.rows("SELECT 1") == [(1,)]
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]
    connection.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("IO: [SQLite] Failed to step query: database disk image is malformed", ViewsDamaged),
        ("UNIQUE constraint failed: changes.id", ViewsDamaged),
        ("IO: [SQLite] disk I/O error", ViewsUnavailable),
        ("INTERNAL: what nobody has thought of", ViewsUnavailable),
    ],
)
def test_only_damage_is_called_so(said: str, kind: type[Exception]) -> None:
    assert type(file.told(Path("v.db"), said)) is kind


def test_an_old_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite that may damage a database in WAL mode is not used for writing."""
    monkeypatch.setattr(file, "SQLITE_MIN", (99, 0, 0))
    with pytest.raises(Exception, match=r"99\.0\.0 and later do not: upgrade adbc-driver-sqlite"):
        Connection(tmp_path / "v.db")


@given(st.lists(st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False)), max_size=5))
def test_coordinates_as_text_and_back(numbers: list[list[float] | None]) -> None:
    """Exactly the same numbers, in JSON."""
    frame = pl.DataFrame({"coordinates": numbers}, schema={"coordinates": pl.List(pl.Float64)})
    text = as_text(frame)
    assert [None if each is None else json.loads(each) for each in text["coordinates"]] == numbers
    assert as_numbers(text)["coordinates"].to_list() == numbers
