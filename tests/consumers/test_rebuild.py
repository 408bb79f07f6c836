"""What is rebuilt is what a worker would have kept; whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

from consumers.rebuild import rebuild
from ledger import Ledger
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest, InvalidSetting
from ledger.views.file import only_one
from ledger.views.reader import View
from ledger.views.writer import ViewWriter
from tests.consumers.keeping import end, kept, opened, put, story, until, working
from tests.core.strategies import Plan, play, wild_plans
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
