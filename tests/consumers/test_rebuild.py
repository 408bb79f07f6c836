"""What is rebuilt is what a worker would have kept; whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

import polars as pl

from consumers.rebuild import rebuild
from consumers.shadow import shadow
from ledger import Ledger
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest, InvalidSetting
from ledger.views.file import fresh, only_one, replace
from ledger.views.reader import View
from ledger.views.writer import ViewWriter
from tests.cli.command import Errata
from tests.consumers.keeping import end, kept, opened, put, story, until, working
from tests.core.strategies import Plan, play, wild_plans
from tests.events import item
from tests.views.material import content

patient = settings(
    max_examples=15,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@patient
@given(plan=wild_plans())
def test_every_history(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every table holds the same, whether it was kept event by event or rebuilt."""
    history, folder = play(plan, 2), tmp_path_factory.mktemp("log")
    dataset = opened({"log": f"sqlite:///{folder}/log.db", "dataset": "birds"}, 2)
    for entry in history.log:
        put(dataset, entry)
    assert rebuild(dataset, folder / "whole.db", None) == end(dataset)
    assert content(folder / "whole.db") == kept(dataset, folder / "live.db")


def test_on_either_log(address: dict[str, str], tmp_path: Path) -> None:
    history, dataset = story(2), opened(address, 2)
    for entry in history.log:
        put(dataset, entry)
    rebuild(dataset, tmp_path / "whole.db", None)
    assert content(tmp_path / "whole.db") == kept(dataset, tmp_path / "live.db")


def test_readers_read_on_and_workers_go_over(tmp_path: Path) -> None:
    """Who has the old view open goes on reading it; a worker finds the new one and keeps it."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset, path = story(1), opened(address, 1), tmp_path / "v.db"
    half = len(history.log) // 2
    with working(address, path, "live"):
        for entry in history.log[:half]:
            put(dataset, entry)
        until(lambda: path.exists() and _reached(path, dataset))
        with View.open(path, dataset) as old:
            before = old.connection.rows("SELECT * FROM changes")
            file = path.resolve()
            rebuild(dataset, path, None)
            assert path.resolve() != file
            assert old.connection.rows("SELECT * FROM changes") == before
        for entry in history.log[half:]:
            put(dataset, entry)
        until(lambda: _reached(path, dataset))
    assert content(path) == kept(dataset, tmp_path / "whole.db")
    assert _beside(path) == {path.name, path.resolve().name, f"{path.name}.lock"}


def _reached(path: Path, dataset: Dataset) -> bool:
    with View.open(path, dataset) as view:
        return end(dataset).within(view.position)


def _beside(path: Path) -> set[str]:
    """The files of a view, those that SQLite keeps beside one left out."""
    names = {each.name for each in path.parent.iterdir() if each.name.startswith(path.name)}
    return {name for name in names if not name.endswith(("-wal", "-shm"))}


def test_a_view_that_is_damaged(tmp_path: Path) -> None:
    """Behind a link of ours any bytes are replaced, and so are none; so is a copy of a view."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    dataset, path = opened(address, 1), tmp_path / "v.db"
    rebuild(dataset, path, None)
    whole = path.read_bytes()
    path.write_bytes(b"not a database" * 100)
    rebuild(dataset, path, None)
    path.resolve().unlink()
    rebuild(dataset, path, None)
    path.unlink()
    path.write_bytes(whole)
    rebuild(dataset, path, None)
    with View.open(path, dataset) as view:
        assert view.position == end(dataset)


def rebuilt(path: Path, dataset: Dataset) -> None:
    rebuild(dataset, path, None)


@pytest.mark.parametrize("act", [rebuilt, ViewWriter])
def test_what_is_no_view_stays(act: Callable[[Path, Dataset], object], tmp_path: Path) -> None:
    """The log itself, notes, a link to them or to nowhere: no view takes their place."""
    log = tmp_path / "log.db"
    dataset = opened({"log": f"sqlite:///{log}", "dataset": "birds"}, 1)
    notes, link, nowhere = tmp_path / "notes", tmp_path / "link", tmp_path / "nowhere"
    notes.write_text("mine")
    link.symlink_to(notes)
    nowhere.symlink_to("gone")
    before = log.read_bytes(), {each.name for each in tmp_path.iterdir()}
    for path in (log, notes, link, nowhere, tmp_path):
        with pytest.raises(InvalidSetting, match=r"is no view.*ERRATA_VIEWS"):
            act(path, dataset)
    assert before == (log.read_bytes(), {each.name for each in tmp_path.iterdir()})
    assert notes.read_text() == "mine"
    assert nowhere.is_symlink()


def test_a_view_that_is_deleted(tmp_path: Path) -> None:
    """The path is but a link: who makes the view again removes the file it led to, unless a rebuild
    is on its way, which may be making one.
    """
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    dataset, path = opened(address, 1), tmp_path / "v.db"
    ViewWriter(path, dataset).close()
    old = path.resolve()
    path.unlink()
    with only_one(path):
        ViewWriter(path, dataset).close()
    assert old.exists()
    path.unlink()
    ViewWriter(path, dataset).close()
    assert _beside(path) == {path.name, path.resolve().name, f"{path.name}.lock"}


def test_one_rebuild_at_a_time(tmp_path: Path) -> None:
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    dataset, path = opened(address, 1), tmp_path / "v.db"
    with only_one(path), pytest.raises(InvalidRequest, match="another rebuild"):
        rebuild(dataset, path, None)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """The old view stays whole, and the next rebuild leaves nothing of the one that was killed."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    dataset, path = opened(address, 2), tmp_path / "v.db"
    with Ledger.open(**address) as book:
        book.append(
            {"type": "ItemRegistered", "item_id": f"r{i}", "record_id": f"r{i}", "actor": "ann"}
            for i in range(3_000)
        )
    rebuild(dataset, path, None)
    whole = content(path)
    script = (
        "import sys; from pathlib import Path; from ledger import Ledger;"
        "from consumers.rebuild import rebuild;"
        "print('ready', flush=True);"
        f"rebuild(Ledger.open(**{address!r}).dataset, Path({str(path)!r}), None)"
    )
    for tenth_s in range(1, 6):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(tenth_s / 10)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert content(path) == whole
    rebuild(dataset, path, None)
    assert content(path) == whole
    assert _beside(path) == {path.name, path.resolve().name, f"{path.name}.lock"}


def _alter(path: Path, *statements: str) -> None:
    """Make a view what an older fold might have made."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount == 1


def test_a_shadow_that_differs_waits_at_the_gate(book: Errata) -> None:
    """What differs is named, and the live view stays, file and rows, until somebody accepts."""
    book("rebuild", "--no-checkpoints")
    stood = book("status", "--json").json["position"]
    (path,) = book.folder.glob("*.views.db")
    right = content(path)
    book("append", book.write("more.jsonl", [item("d", "dog")]))
    _alter(
        path,
        "UPDATE items SET label = 'dog' WHERE item_id = 'b'",
        "DELETE FROM items WHERE item_id = 'c'",
        "UPDATE items SET split = 'test' WHERE item_id = 'a'",
    )
    file, altered = path.resolve(), content(path)
    said = book("rebuild", "--shadow", code=1)
    assert [line.split() for line in said.out.splitlines()[2:]] == [
        ["a", "dog", "test", "dog"],
        ["b", "dog", "cat"],
        ["c", "absent", "cat"],
    ]
    assert "items that differ in the shadow: 3" in said.err
    _, b, c = book("rebuild", "--shadow", "--json", code=1).lines
    assert (b["item_id"], b["live"]["label"], b["shadow"]["label"]) == ("b", "dog", "cat")
    assert (c["item_id"], c["live"], c["shadow"]["label"]) == ("c", None, "cat")
    assert (path.resolve(), content(path)) == (file, altered)
    assert _beside(path) == {path.name, file.name, f"{path.name}.lock"}
    *_, last = book("rebuild", "--shadow", "--accept-differences", "--json").lines
    assert last["swapped"] is True
    assert last["position"]["labels"] == stood["labels"]
    assert content(path) == right
    assert path.resolve() != file


def test_a_shadow_that_does_not_differ_is_swapped_in(book: Errata) -> None:
    book("rebuild", "--no-checkpoints")
    (path,) = book.folder.glob("*.views.db")
    file, whole = path.resolve(), content(path)
    (said,) = book("rebuild", "--shadow", "--json").lines
    assert said["swapped"] is True
    assert path.resolve() != file
    assert content(path) == whole
    assert not list(book.folder.glob("*.checkpoints"))


def test_a_shadow_of_nothing_whole_is_refused(book: Errata) -> None:
    """No live view, and ones that are damaged, behind in governance, or ahead of the log."""
    assert "`errata rebuild` makes them" in book.refused("rebuild", "--shadow")
    book("rebuild", "--no-checkpoints")
    (path,) = book.folder.glob("*.views.db")
    behind = "UPDATE progress SET governance = 0 WHERE topic = 'labels' AND partition = 1"
    ahead = "UPDATE progress SET offset = 99 WHERE topic = 'labels' AND partition = 1"
    for statement, said in ((behind, "errata worker --once"), (ahead, "the log ends at")):
        _alter(path, statement)
        file = path.resolve()
        assert said in book.refused("rebuild", "--shadow", "--accept-differences")
        assert path.resolve() == file
    file.write_bytes(b"not a database" * 100)
    assert "damaged" in book.refused("rebuild", "--shadow", "--accept-differences")
    assert file.read_bytes() == b"not a database" * 100
    for flags in (["--shadow", "--no-views"], ["--accept-differences"], ["--json"]):
        book("rebuild", *flags, code=2)


def test_a_worker_that_went_on_takes_over_the_shadow(tmp_path: Path) -> None:
    """It wrote the live view beyond where the shadow stands, and so writes that again."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    history, dataset, path = story(1), opened(address, 1), tmp_path / "v.db"
    half = len(history.log) // 2
    with working(address, path, "live"):
        for entry in history.log[:half]:
            put(dataset, entry)
        until(lambda: path.exists() and _reached(path, dataset))
        stood, differing = end(dataset), list[int]()

        def gate(found: pl.DataFrame) -> None:
            differing.append(len(found))
            for entry in history.log[half:]:
                put(dataset, entry)
            until(lambda: _reached(path, dataset))

        assert shadow(dataset, path, gate) == stood
        assert differing == [0]
        until(lambda: _reached(path, dataset))
    assert content(path) == kept(dataset, tmp_path / "whole.db")


def test_a_view_that_is_replaced_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """The shadow was compared with another one than stands there now, which stays."""
    address = {"log": f"sqlite:///{tmp_path}/log.db", "dataset": "birds"}
    dataset, path = opened(address, 1), tmp_path / "v.db"
    for entry in story(1).log:
        put(dataset, entry)
    rebuild(dataset, path, None)
    files = list[Path]()

    def other(_: int) -> None:
        if not files:
            replace(path, _copy(path))
            files.append(path.resolve())

    with pytest.raises(InvalidRequest, match="replaced meanwhile"):
        shadow(dataset, path, lambda _: None, other)
    assert path.resolve() == files[0]


def _copy(path: Path) -> Path:
    made = fresh(path)
    made.write_bytes(path.read_bytes())
    return made
