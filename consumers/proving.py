"""A view held against the log: the same view made from nothing beside it, and compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from consumers.rebuild import rebuild
from ledger import positions
from ledger.dataset import Dataset
from ledger.errors import ViewsDamaged
from ledger.views.likeness import differences
from ledger.views.reader import View


def wrong_with(path: Path, dataset: Dataset) -> Iterator[str]:
    """What in the tables of a view is not what the log makes, as far as the view has come.

    Workers may write it meanwhile. A partition that one of them has left behind in governance is
    not looked at: its rows are not said to be right yet.

    Args:
        path: where the view is.
        dataset: what it is of.
    """
    with (
        View.open(path, dataset) as view,
        view.still(),
        tempfile.TemporaryDirectory(prefix="errata-verify-") as folder,
    ):
        position = view.position
        if not position.within(end := positions.ends(dataset)):
            yield f"it says to have read up to {position}, and the log ends at {end}"
            return
        places = [view.place(partition) for partition in range(view.partitions)]
        moving = [n for n, place in enumerate(places) if place.governance < position.governance]
        beside = Path(folder) / "views.db"
        rebuild(dataset, beside, None, at=position)
        try:
            yield from differences(view.connection, beside.resolve(), moving)
        except ViewsDamaged as error:
            yield str(error)
