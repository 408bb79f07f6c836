"""Where the head of a log is gone, checkpoints that stand in for it give the bytes and the state of
before; and whatever they cannot answer is refused, never left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger import replay as reference
from ledger.checkpoints.files import Folder
from ledger.checkpoints.reader import Checkpoints
from ledger.checkpoints.standing import stand_in
from ledger.checkpoints.store import Store, origin_of
from ledger.checkpoints.writer import CheckpointWriter
from ledger.columnar import replay as columnar
from ledger.core.epochs import Epochs
from ledger.core.fold import Record
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import CorruptLog
from ledger.logs.base import Topic
from ledger.replay import GovernanceReader
from tests.checkpoints.test_reading import keep
from tests.columnar.test_replay import stored
from tests.core.history import EPOCH, History
from tests.core.strategies import Plan, plans, play, wild_plans

few = settings(
    max_examples=10,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def behead(dataset: Dataset, path: Path, heads: Sequence[int]) -> list[int]:
    """Delete what lies before these offsets, but for the last event; what is retained first."""
    ends = dataset.log.ends(Topic.LABELS)
    dataset.log.close()
    connection = apsw.Connection(str(path))
    for partition, (head, end) in enumerate(zip(heads, ends, strict=True)):
        connection.execute(
            """DELETE FROM records WHERE offset < ? AND partition_id =
                (SELECT partition_id FROM partitions WHERE topic = ? AND partition = ?)""",
            (min(head, max(0, end - 1)), dataset.log.topic_name(Topic.LABELS), partition),
        )
    connection.close()
    return dataset.log.check()


def beheaded(dataset: Dataset, path: Path, heads: Sequence[int], place: Path) -> Dataset:
    """The dataset without its head, with its checkpoints in place of it."""
    found = Dataset(dataset.log, dataset.codec, dataset.partitions)
    left = behead(dataset, path, heads)
    if any(left):
        found.stand_in = stand_in(found, left, str(place))
    return found


def told(records: dict[str, Record]) -> dict[str, Record]:
    """Records as far as rows tell of them."""
    for record in records.values():
        for correction in record.corrections.values():
            said = correction.proposal
            correction.proposal = replace(said, event_id="", occurred_at=EPOCH, based_on=None)
        for name, void in record.void_corrections.items():
            record.void_corrections[name] = replace(void, based_on=None)
    return records


def assert_same(dataset: Dataset, position: Position, expected: reference.State) -> None:
    """Both folds of what is left, from what stands in, make of it what the whole log made."""
    one = reference.replay(dataset, position)
    two = columnar.replay(dataset, position)
    for state in (one, two.reference()):
        for mine, theirs in zip(state.partitions, expected.partitions, strict=True):
            assert told(mine.records) == told(theirs.records)
    assert one.snapshot().sha256 == two.snapshot().sha256 == expected.snapshot().sha256
    assert list(two.snapshot().rows) == list(expected.snapshot().rows)


@few
@given(plan=st.one_of(plans(size=10), wild_plans()), cut=st.floats(0, 1), share=st.floats(0, 1))
def test_every_position(
    plan: Plan, cut: float, share: float, tmp_path_factory: pytest.TempPathFactory
):
    """All is stored, with all of governance known; then a head goes. Every position that rows
    answer is the same, and every other one is refused.
    """
    history = play(plan, 2)
    folder = tmp_path_factory.mktemp("standing")
    dataset = stored(history, folder / "log.db")
    governance = GovernanceReader(dataset).refresh()
    closed = [each for each in history.checkpoints if governance.closed(each)]
    keep(dataset, folder / "cp", closed[int(cut * (len(closed) - 1))])
    keep(dataset, folder / "cp")
    expected = [reference.replay(dataset, each) for each in closed[::3]]
    heads = [int(share * end) for end in dataset.log.ends(Topic.LABELS)]
    left = beheaded(dataset, folder / "log.db", heads, folder / "cp")
    epochs, asked = Epochs(governance), Checkpoints(str(folder / "cp"), left)
    whole = GovernanceReader(left).refresh()
    for position, state in zip(closed[::3], expected, strict=True):
        then = governance.prefix(position.governance)
        stands = all(
            epochs.stands(then, partition, min(stop, left.head(partition)))
            for partition, stop in enumerate(position.labels)
        )
        if stands:
            assert_same(left, position, state)
            found = asked.snapshot(whole, position)
            assert found is None or found.sha256 == state.snapshot().sha256
        else:
            with pytest.raises(CorruptLog):
                columnar.replay(left, position)


@few
@given(plan=st.one_of(plans(size=10), wild_plans()), cut=st.floats(0, 1), share=st.floats(0, 1))
def test_what_came_later(
    plan: Plan, cut: float, share: float, tmp_path_factory: pytest.TempPathFactory
):
    """What was stored knew less of the log; then a head goes. What comes later (late redeliveries,
    ids that are taken, votes on old corrections, rollbacks) is judged the same, or refused.
    """
    history = play(plan, 2)
    folder = tmp_path_factory.mktemp("standing")
    dataset = stored(history, folder / "log.db")
    governance = GovernanceReader(dataset).refresh()
    closed = [each for each in history.checkpoints if governance.closed(each)]
    at = closed[int(cut * (len(closed) - 1))]
    keep(dataset, folder / "cp", at)
    expected = [reference.replay(dataset, each) for each in closed[::-4]]
    heads = [int(share * stop) for stop in at.labels]
    try:
        left = beheaded(dataset, folder / "log.db", heads, folder / "cp")
    except CorruptLog:
        return
    for position, state in zip(closed[::-4], expected, strict=True):
        try:
            columnar.replay(left, position)
        except CorruptLog:
            continue
        assert_same(left, position, state)


def test_an_older_release_kept_no_messages(tmp_path: Path):
    """What it stored does not stand in; and it is stored anew by the next who writes."""
    history = History.of_classes("cat", "dog", partitions=1)
    history.item("r0", "cat")
    to = history.head()
    history.item("r1", "cat")
    history.rollback(to)
    history.item("r2", "cat")
    dataset = stored(history, tmp_path / "log.db")
    keep(dataset, tmp_path / "cp")
    store = Store(Folder(tmp_path / "cp"), origin_of(dataset))
    known = store.partition(0)
    assert known is not None
    segments = [
        segment.model_copy(
            update={"kept": (), "files": {k: f for k, f in segment.files.items() if k != "kept"}}
        )
        for segment in known.manifest.segments
    ]
    old = known.manifest.model_copy(update={"format": 1, "segments": tuple(segments)})
    store.files.delete(known.name)
    store.files.put(old.name(), old.data())
    for name in [name for name in store.files.list("") if "/kept/" in name]:
        store.files.delete(name)
    expected = reference.replay(dataset, history.head())
    with pytest.raises(CorruptLog, match="of an older release"):
        stand_in(Dataset(dataset.log, dataset.codec, 1), [2], str(tmp_path / "cp"))
    keep(dataset, tmp_path / "cp")
    left = beheaded(dataset, tmp_path / "log.db", [2], tmp_path / "cp")
    assert left.head(0) == 2
    assert_same(left, history.head(), expected)


def test_what_stands_in_is_never_dropped(tmp_path: Path):
    """A writer that would make rows again which no log makes again leaves them, and says so."""
    history = History.of_classes("cat", "dog", partitions=1)
    for number in range(6):
        history.item(f"r{number}", "cat")
    dataset = stored(history, tmp_path / "log.db")
    keep(dataset, tmp_path / "cp")
    left = beheaded(dataset, tmp_path / "log.db", [3], tmp_path / "cp")
    store = Store(Folder(tmp_path / "cp"), origin_of(left))
    before, epochs = dict(store.files.list("")), Epochs(GovernanceReader(left).refresh())
    writer = CheckpointWriter(store)
    assert writer.begin(0, epochs) == 6
    writer.reset(0, 2)
    with pytest.raises(CorruptLog, match="they stay as they are"):
        writer.flush(0, epochs)
    assert store.files.list("") == before
