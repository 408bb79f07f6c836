"""A view made anew beside the live one, which it replaces only if a gate lets it: what is folded or
mapped otherwise than before is seen by a person first, label by label.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from consumers.rebuild import rebuild
from ledger import positions
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest, ViewsDamaged
from ledger.views import file
from ledger.views.file import Connection
from ledger.views.reader import View

COMPARED = ("label", "geometry_type", "coordinates", "split")
"""Columns of the view `labels`: what is an item's current label."""
_ROW: dict[str, Any] = dict.fromkeys(("item_id", *COMPARED), pl.String)
_SHADOW = "_shadow"


def shadow(
    dataset: Dataset,
    path: Path,
    gate: Callable[[pl.DataFrame], None],
    told: Callable[[int], None] = lambda _: None,
) -> Position:
    """Make the view anew up to where the live one stands, and swap it in if the gate lets it; the
    position both have. Until then nothing of the live view is touched, and afterwards who has it
    open reads on. A worker that wrote the live view meanwhile goes on from there in the new one.

    Args:
        dataset: the log.
        path: where the live view is.
        gate: given the items that differ (columns item_id, those of `COMPARED` as the live view has
            them, and the same with `_shadow` at the end; all null where the item is absent; sorted
            by item_id). The live view stays if it raises.
        told: called with the number of events of each piece.

    Raises:
        InvalidRequest: there is no live view, its partitions know different governance, another
            rebuild is on its way, or replaced it meanwhile.
        ViewsDamaged: the live view cannot be compared.
    """
    # All of the live view is read in one state, that of its position.
    with View.open(path, dataset) as live, live.still():
        position = _position(live, dataset)

        def judge(made: Path) -> None:
            if file.current(path) != live.connection.file:
                raise InvalidRequest(f"the views at {path} were replaced meanwhile: try again")
            gate(_differences(live.connection, made))

        return rebuild(dataset, path, None, told, at=position, gate=judge)


def _position(live: View, dataset: Dataset) -> Position:
    """Where the live view stands, all of whose partitions know the same governance."""
    position = live.position
    if not position.within(end := positions.ends(dataset)):
        raise ViewsDamaged(
            f"the views at {live.connection.file} say to have read up to {position}, and the log "
            f"ends at {end}. Views are disposable: `errata rebuild` makes them anew"
        )
    for partition in range(live.partitions):
        known = live.place(partition).governance
        if known < position.governance:
            raise InvalidRequest(
                f"partition {partition} of the live view is folded under governance up to {known}, "
                f"and others up to {position.governance}: compare them when a worker has caught "
                "up (`errata worker --once`)"
            )
    return position


def _differences(live: Connection, made: Path) -> pl.DataFrame:
    """The items whose current label is not the same in both."""
    connection = Connection(made, readonly=True)
    try:
        new = connection.frame(_ROW, "labels")
    finally:
        connection.close()
    both = live.frame(_ROW, "labels").join(
        new, on="item_id", how="full", coalesce=True, suffix=_SHADOW
    )
    # The view `labels` has no row without a label: who is absent on one side differs in it.
    differ = [pl.col(name).ne_missing(pl.col(name + _SHADOW)) for name in COMPARED]
    return both.filter(pl.any_horizontal(differ)).sort("item_id")
