"""What is answered by way of checkpoints is what a replay answers, to the byte; and what is damaged
is told and not believed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import polars as pl
from structlog.testing import capture_logs

from consumers.follower import Follower, Piece, Reset
from consumers.recounting import wrong_rows
from ledger import reading as ledger_reading
from ledger import replay as reference
from ledger.checkpoints import store as checkpoints_store
from ledger.checkpoints.files import Files, Folder
from ledger.checkpoints.manifest import Stored
from ledger.checkpoints.reader import Checkpoints
from ledger.checkpoints.store import Store, checked, origin_of
from ledger.checkpoints.writer import CheckpointWriter, Rows
from ledger.columnar import replay as columnar_replay
from ledger.core.epochs import Epochs
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import CheckpointDamaged, InvalidSetting
from ledger.reading import Reading
from ledger.replay import GovernanceReader
from tests.columnar.test_replay import simple, stored
from tests.core.history import History, box
from tests.core.strategies import Plan, plans, play

few = settings(
    max_examples=10,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def keep(
    dataset: Dataset, place: Path | Files, stops: Position | None = None, every: int = 7
) -> None:
    """Store what followers say, up to a position or the end."""
    files = Folder(place) if isinstance(place, Path) else place
    governance = GovernanceReader(dataset).refresh()
    governance = governance.prefix(stops.governance if stops else 2**62)
    ends = stops.labels if stops else dataset.log.ends(reference.Topic.LABELS)
    epochs = Epochs(governance)
    writer = CheckpointWriter(Store(files, origin_of(dataset)), every)
    for partition, stop in enumerate(ends):
        start = writer.begin(partition, epochs)
        for said in Follower(dataset, partition, start, governance).advance(governance, stop):
            if isinstance(said, Reset):
                writer.reset(partition, said.start)
            else:
                assert isinstance(said, Piece)
                rows = Rows(partition, said.start, said.stop, said.delta, said.met)
                writer.write(rows, epochs)
        writer.flush(partition, epochs)


@pytest.fixture
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short logs are asked of checkpoints too."""
    monkeypatch.setattr(ledger_reading, "COLUMNS_FROM", 0)


def lines(dataset: Dataset, position: Position) -> bytes:
    """The canonical bytes, from the log."""
    return b"".join(reference.replay(dataset, position).snapshot().lines())


@few
@given(plan=plans(size=10), cut=st.floats(0, 1))
def test_every_position(plan: Plan, cut: float, tmp_path_factory: pytest.TempPathFactory):
    """Covered ones, ones beyond what is stored, and ones that another epoch reads: snapshots,
    differences, and states with every record.
    """
    history = play(plan, 2)
    folder = tmp_path_factory.mktemp("reading")
    dataset = stored(history, folder / "log.db")
    governance = history.governed()
    closed = [each for each in history.checkpoints if governance.closed(each)]
    keep(dataset, folder / "cp", closed[int(cut * (len(closed) - 1))])
    asked = Checkpoints(str(folder / "cp"), dataset)
    whole = GovernanceReader(dataset).refresh()
    for before, after in zip(closed[::4], closed[::-4], strict=False):
        found = asked.snapshot(whole, after)
        afresh = Checkpoints(str(folder / "cp"), dataset).snapshot(whole, after)
        assert (found is None) == (afresh is None)
        expected = reference.replay(dataset, after)
        if afresh is not None:
            assert bytes(afresh.canonical()) == lines(dataset, after)
        if found is not None:
            assert bytes(found.canonical()) == lines(dataset, after)
            assert list(found.rows) == list(expected.snapshot().rows)
            assert found.to_arrow().equals(expected.snapshot().to_arrow())
        changed = asked.diff(whole, before, after)
        kept = all(map(int.__le__, (*before.labels, *after.labels), 2 * asked.reach(whole)))
        if any(asked.reach(whole)) and kept and all(map(Epochs(whole).covered, (before, after))):
            assert changed is not None
        if changed is not None:
            plain = reference.replay(dataset, before).snapshot().diff(expected.snapshot())
            assert changed.to_arrow().equals(plain.to_arrow())
            assert [c.kind for c in changed] == [c.kind for c in plain]
        state = asked.state(whole, after).reference()
        assert [fold.records for fold in state.partitions] == [
            fold.records for fold in expected.partitions
        ]


@few
@given(plan=plans(size=10), cut=st.floats(0, 1))
def test_a_writer_goes_on(plan: Plan, cut: float, tmp_path_factory: pytest.TempPathFactory):
    """What was stored up to a position, and then on to the end, answers like what was stored at
    once.
    """
    history = play(plan, 2)
    folder = tmp_path_factory.mktemp("reading")
    dataset = stored(history, folder / "log.db")
    closed = [each for each in history.checkpoints if history.governed().closed(each)]
    keep(dataset, folder / "cp", closed[int(cut * (len(closed) - 1))])
    keep(dataset, folder / "cp")
    keep(dataset, folder / "once")
    governance = GovernanceReader(dataset).refresh()
    store = Store(Folder(folder / "cp"), origin_of(dataset))
    assert list(wrong_rows(dataset, store, governance)) == []
    asked, once = (Checkpoints(str(folder / name), dataset) for name in ("cp", "once"))
    assert asked.reach(governance) == once.reach(governance) == history.head().labels
    for position in closed[::3]:
        one, two = (each.snapshot(governance, position) for each in (asked, once))
        assert one is not None
        assert two is not None
        assert bytes(one.canonical()) == bytes(two.canonical()) == lines(dataset, position)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[History, Dataset, Path]:
    """A history on a log, with checkpoints."""
    history = simple(60)
    dataset = stored(history, tmp_path / "log.db")
    keep(dataset, tmp_path / "cp", every=1000)
    return history, dataset, tmp_path / "cp"


def first(place: Path, pattern: str) -> Path:
    return sorted(place.glob(pattern))[0]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda place: flip(first(place, "*/changes/*.parquet")), "is damaged"),
    "a torn file": (
        lambda place: first(place, "*/changes/*.parquet").write_bytes(b"PAR1"),
        "4 bytes of",
    ),
    "a missing file": (lambda place: first(place, "*/changes/*.parquet").unlink(), "is missing"),
    "a flipped bit in a manifest": (lambda place: flip(first(place, "*/manifest/*")), "is damaged"),
    "a torn manifest": (lambda place: first(place, "*/manifest/*").write_bytes(b"{"), "is damaged"),
}


@pytest.mark.usefixtures("any_length")
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_and_the_log_replayed(kept: tuple[History, Dataset, Path], damage: str):
    history, dataset, place = kept
    act, words = DAMAGE[damage]
    act(place)
    with capture_logs() as logs:
        found = Reading(dataset, str(place)).snapshot(history.head())
    assert b"".join(found.lines()) == lines(dataset, history.head())
    (said,) = [each["why"] for each in logs if each["log_level"] == "warning"]
    assert words in said
    assert "errata rebuild --no-views" in said
    assert str(place) in said
    with pytest.raises(CheckpointDamaged, match="labels-000"):
        Checkpoints(str(place), dataset).snapshot(history.governed(), history.head())


@pytest.mark.usefixtures("any_length")
def test_checkpoints_of_another_log(kept: tuple[History, Dataset, Path], tmp_path: Path):
    """Equal in all but the topic's id, they are not believed."""
    history, _, place = kept
    (tmp_path / "other").mkdir()
    other = stored(history, tmp_path / "other" / "log.db")
    with pytest.raises(CheckpointDamaged, match="is of another log: of dataset 'd', topic "):
        Checkpoints(str(place), other).snapshot(history.governed(), history.head())
    with capture_logs() as logs:
        assert len(Reading(other, str(place)).snapshot(history.head())) == 60
    assert logs
    before = Folder(place).list("")
    with pytest.raises(CheckpointDamaged, match="or move that one away"):
        CheckpointWriter(Store(Folder(place), origin_of(other))).clear()
    assert Folder(place).list("") == before


def test_only_checkpoints_are_removed(kept: tuple[History, Dataset, Path]):
    """By who makes them anew, and by who goes on; also where they are damaged."""
    history, dataset, place = kept
    assert Checkpoints(str(place), dataset).snapshot(history.governed(), history.head())
    flip(first(place, "*/manifest/*"))
    theirs = ["notes.txt", "labels-0000/changes/mine.parquet", "timeline/plan.md", "labels/a"]
    for name in theirs:
        Folder(place).put(name, b"x")
    (place / "labels-0001/reviews").mkdir(exist_ok=True)
    (place / "labels-0001/reviews/.a-writer-died.partial").write_text("")
    CheckpointWriter(Store(Folder(place), origin_of(dataset))).clear()
    assert sorted(Folder(place).list("")) == sorted(theirs)
    keep(dataset, place)
    assert Checkpoints(str(place), dataset).snapshot(history.governed(), history.head())
    assert set(theirs) < set(Folder(place).list(""))


@pytest.mark.usefixtures("any_length")
@pytest.mark.parametrize("shared", [0, 9, 40])
def test_a_log_that_was_restored(tmp_path: Path, shared: int):
    """Its topics keep their ids, and after the backup it has other events: what checkpoints hold of
    those that are gone is not believed, and a writer goes on from what is left.
    """
    history = simple(30)
    for i in range(shared):
        history.item(f"shared{i}", "owl")
    dataset = stored(history, tmp_path / "log.db")
    keep(dataset, tmp_path / "cp", every=10)
    backup = history.head()
    dataset.log.close()
    shutil.copy(tmp_path / "log.db", tmp_path / "backup.db")
    _append(dataset, history, "gone", 25)
    keep(dataset, tmp_path / "cp", every=10)
    assert Checkpoints(str(tmp_path / "cp"), dataset).reach(history.governed()) == tuple(
        dataset.log.ends(reference.Topic.LABELS)
    )
    dataset.log.close()
    for path in tmp_path.glob("log.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "log.db")
    for count in (0, 5, 40):  # it ends before what is stored, and then beyond
        _append(dataset, history, "other", count)
        book = Reading(dataset, str(tmp_path / "cp"))
        stored_until = Checkpoints(str(tmp_path / "cp"), dataset).reach(book.governance)
        assert stored_until == backup.labels
        found = book.snapshot()
        assert b"".join(found.lines()) == lines(dataset, book.resolve())
    keep(dataset, tmp_path / "cp", every=10)
    book = Reading(dataset, str(tmp_path / "cp"))
    asked = Checkpoints(str(tmp_path / "cp"), dataset)
    assert asked.reach(book.governance) == book.resolve().labels
    made = asked.snapshot(book.governance, book.resolve())
    assert made is not None
    assert bytes(made.canonical()) == lines(dataset, book.resolve())


def _append(dataset: Dataset, history: History, name: str, count: int) -> None:
    for i in range(count):
        message = dataset.message(history.item(f"{name}{count}-{i}", "owl").event)
        dataset.append(reference.Topic.LABELS, [message])


def test_what_was_answered_is_readable_later(kept: tuple[History, Dataset, Path]):
    """The contents of a snapshot are had from the log where the files have been damaged since."""
    history, dataset, place = kept
    found = Checkpoints(str(place), dataset).snapshot(history.governed(), history.head())
    assert found is not None
    flip(first(place, "*/changes/*.parquet"))
    with capture_logs() as logs:
        rows = list(found.rows)
    assert rows == list(reference.replay(dataset, history.head()).snapshot().rows)
    assert [each["event"] for each in logs] == ["the log is replayed"]


def test_a_number_that_changes_its_sign_only(tmp_path: Path):
    """0.0 and -0.0 are two canonical lines: a difference by columns tells them apart, like one by
    lines does.
    """
    history = History.of_classes("cat", partitions=2)
    for i in range(4):
        history.item(f"r{i}#0", "cat", box(1, 2))
    before = history.head()
    history.correct("r1#0", "cat", "cat", box(1, 2), box(1, 2, -0.0))
    dataset = stored(history, tmp_path / "log.db")
    keep(dataset, tmp_path / "cp")
    one, two = (reference.replay(dataset, each) for each in (before, history.head()))
    (expected,) = one.snapshot().diff(two.snapshot())
    asked, governance = Checkpoints(str(tmp_path / "cp"), dataset), history.governed()
    sides = [asked.snapshot(governance, each) for each in (before, history.head())]
    assert sides[0] is not None
    assert sides[1] is not None
    for found in (sides[0].diff(sides[1]), asked.diff(governance, before, history.head())):
        assert found is not None
        (change,) = found
        assert change.item_id == expected.item_id == "r1#0"
        assert change.after
        assert expected.after
        assert change.after.line() == expected.after.line()


def test_a_place_that_may_not_be_read(tmp_path: Path, any_length: None):
    """Where a file stands, not a folder: a wrong setting, which is said, not waited for."""
    del any_length
    dataset = stored(simple(3), tmp_path / "log.db")
    for place in (tmp_path / "log.db", tmp_path / "log.db" / "cp"):
        with pytest.raises(InvalidSetting, match="no folder that may be read and written"):
            _ = Reading(dataset, str(place)).snapshot()


def test_checkpoints_of_a_newer_release(kept: tuple[History, Dataset, Path]):
    history, dataset, place = kept
    path = first(place, "*/manifest/*")
    data = json.dumps({**json.loads(path.read_bytes()), "format": 3, "news": 1}).encode()
    digest = hashlib.sha256(data).hexdigest()[:16]
    path.unlink()
    path.with_name(f"{path.name[:13]}{digest}.json").write_bytes(data)
    with pytest.raises(CheckpointDamaged, match="has format 3, of a newer release"):
        Checkpoints(str(place), dataset).snapshot(history.governed(), history.head())


def test_a_damaged_timeline_is_made_again(kept: tuple[History, Dataset, Path]):
    history, dataset, place = kept
    governance = history.governed()
    expected = lines(dataset, history.head())
    whole: list[bytes] = []
    for _ in range(3):
        found = Checkpoints(str(place), dataset).snapshot(governance, history.head())
        assert found is not None
        assert bytes(found.canonical()) == expected
        (made,) = place.glob("timeline/*")
        whole.append(made.read_bytes())
        flip(made)
        assert made.read_bytes() != whole[-1]
    assert len(set(whole)) == 1


@pytest.mark.usefixtures("any_length")
def test_a_reader_sees_what_is_stored_later(kept: tuple[History, Dataset, Path]):
    """Also while a writer joins the files that it has read."""
    history, dataset, place = kept
    book = Reading(dataset, str(place))
    assert len(book.snapshot()) == 60
    for i in range(3):
        entry = history.item(f"later{i}", "owl")
        reference_message = dataset.message(entry.event)
        dataset.append(reference.Topic.LABELS, [reference_message])
        keep(dataset, place, every=1000)
        assert len(book.snapshot()) == 61 + i
        assert book.checkpoints is not None
        assert book.checkpoints.reach(book.governance) == tuple(
            dataset.log.ends(reference.Topic.LABELS)
        )


def test_every_stored_row_is_counted_again(kept: tuple[History, Dataset, Path]):
    """A row that is whole, and hashed, and wrong, is found and named by place and item."""
    history, dataset, place = kept
    governance = history.governed()
    store = Store(Folder(place), origin_of(dataset))
    assert list(wrong_rows(dataset, store, governance)) == []
    shutil.rmtree(place)
    writer, epochs = CheckpointWriter(store), Epochs(governance)
    for partition, stop in enumerate(history.head().labels):
        for said in Follower(dataset, partition).advance(governance, stop):
            assert isinstance(said, Piece)
            lied = said.delta.changes.with_columns(
                label=pl.when(pl.col("item_id") == "r7").then(pl.lit("cow")).otherwise("label")
            )
            delta = said.delta._replace(changes=lied)
            writer.write(Rows(partition, said.start, said.stop, delta, said.met), epochs)
        writer.flush(partition, epochs)
    found = list(wrong_rows(dataset, store, governance))
    assert found
    assert all("changes labels/" in each and "(r7) is other than" in each for each in found)


def test_every_file_is_counted_again_once(
    kept: tuple[History, Dataset, Path], monkeypatch: pytest.MonkeyPatch
):
    """Though the fold comes in many pieces."""
    history, dataset, place = kept
    monkeypatch.setattr(columnar_replay, "ROWS", 7)
    read: list[str] = []

    def counted(files: Files, file: Stored) -> bytes:
        read.append(file.name)
        return checked(files, file)

    monkeypatch.setattr(checkpoints_store, "checked", counted)
    store = Store(Folder(place), origin_of(dataset))
    assert list(wrong_rows(dataset, store, history.governed())) == []
    assert read
    assert len(read) == len(set(read))


def test_a_rebuild_that_a_worker_overtakes(tmp_path: Path):
    """What the worker has stored stays, it is said, and the view is made whole."""
    pytest.importorskip("adbc_driver_sqlite")
    from consumers.rebuild import rebuild
    from ledger.views.reader import View

    history = simple(60)
    dataset, place = stored(history, tmp_path / "log.db"), tmp_path / "cp"

    class Overtaken(CheckpointWriter):
        def write(self, piece: Rows, epochs: Epochs) -> None:
            if not place.exists():
                keep(dataset, place)
            super().write(piece, epochs)

    store = Store(Folder(place), origin_of(dataset))
    with capture_logs() as said:
        end = rebuild(dataset, tmp_path / "v.db", Overtaken(store))
    assert ["left to the worker" in each["event"] for each in said] == [True]
    with View.open(tmp_path / "v.db", dataset) as view:
        assert view.position == end == history.head()
    assert Checkpoints(str(place), dataset).reach(history.governed()) == history.head().labels
    assert list(wrong_rows(dataset, store, history.governed())) == []
