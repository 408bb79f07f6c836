"""What must be so after any fault: the views say what the log says, place by place, and so do the
checkpoints.

Judged twice: against the reference fold, which shares no code with what made the rows, and
against views and checkpoints that are made from nothing, row by row.
"""

from __future__ import annotations

from ledger import Ledger
from ledger.checkpoints.files import open_files
from ledger.checkpoints.segments import TABLES
from ledger.checkpoints.store import Store, origin_of
from ledger.core.epochs import Epochs, live
from ledger.core.outcome import Outcome
from ledger.dataset import Entry
from ledger.logs.base import Topic
from ledger.views.reader import View
from tests.faults.place import Place
from tests.views.material import content

_LIVE = """SELECT partition, offset, outcome FROM live_changes
    UNION SELECT partition, offset, 'proposed' FROM corrections WHERE status <> 'void'
    UNION SELECT partition, offset, outcome FROM live_reviews
    UNION SELECT partition, offset, outcome FROM live_refusals"""

Said = dict[tuple[int, int], str]


def prove(place: Place) -> None:
    """Assert that all that is kept of a log, which nobody appends to now, is what it says."""
    with place.open() as book:
        said = by_reference(book)
        with View.open(place.views, book.dataset) as view:
            assert view.position == book.resolve()
            rows = view.connection.rows(_LIVE)
            found = {(partition, offset): outcome for partition, offset, outcome in rows}
            assert len(rows) == len(found), "a place of the log has two outcomes"
            assert found == said
            labels = dict(view.connection.rows("SELECT item_id, label FROM labels"))
            assert labels == {row.item_id: row.label for row in book.snapshot().rows}
        afresh = place.afresh()
        assert content(place.views) == content(afresh.views)
        prove_checkpoints(book, place, afresh)


def by_reference(book: Ledger) -> Said:
    """What became of each live label event, by the reference fold."""
    said: Said = {}

    def observe(entry: Entry, outcome: Outcome) -> None:
        if entry.topic is Topic.LABELS:
            said[entry.partition, entry.offset] = outcome.value

    book.state(observe=observe)
    return {
        (partition, offset): said[partition, offset]
        for partition, stop in enumerate(book.dataset.log.ends(Topic.LABELS))
        for start, end in live(book.governance, partition, stop)
        for offset in range(start, end)
    }


def prove_checkpoints(book: Ledger, place: Place, afresh: Place) -> None:
    """Assert that the checkpoints go up to the log's end, count there, and are the same rows."""
    epochs = Epochs(book.governance)
    origin = origin_of(book.dataset)
    stores = [Store(open_files(str(each.checkpoints)), origin) for each in (place, afresh)]
    for number, stop in enumerate(book.dataset.log.ends(Topic.LABELS)):
        one, other = (store.partition(number) for store in stores)
        assert one is not None
        assert other is not None
        assert (one.valid(epochs), other.valid(epochs)) == (stop, stop)
        assert not list(one.damage())
        for table in TABLES:
            assert one.rows(table).equals(other.rows(table)), (number, table)
