"""The tables that follow from governance, written whole whenever it moves on: they are small.

A rename of a million labels is one row of `mappings`. Only a split asks the items themselves, and
only those of the class that was split: `split_items` holds what it makes of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ledger.columnar.now import READ, labels_now, named
from ledger.core.epochs import Epochs
from ledger.core.events import Event
from ledger.core.governance import Change, Governance
from ledger.door import as_fields
from ledger.views.file import Connection
from ledger.views.present import ITEMS, as_numbers
from ledger.views.schema import PARTITION

_READ = {"id": pl.Int64, **{name: ITEMS[name] for name in READ}, "coordinates": pl.String}
_MAPPED = {"label": pl.String, "contract": pl.Int32, "label_now": pl.String, "by_item": pl.Boolean}


@dataclass(frozen=True)
class Known:
    """Governance after `[0, stop)`; it does not change any more."""

    stop: int
    governance: Governance

    @cached_property
    def epochs(self) -> Epochs:
        """The native epochs of every partition."""
        return Epochs(self.governance)

    @cached_property
    def mappings(self) -> pl.DataFrame:
        """What classes of older contracts are under the one in force, where that is another."""
        return mappings(self.governance)

    @cached_property
    def asked(self) -> pl.DataFrame:
        """The labels and contracts whose items are asked one by one."""
        return self.mappings.filter("by_item").select("label", "contract")


def mappings(governance: Governance) -> pl.DataFrame:
    """What classes of older contracts are under the one in force, where that is another."""
    contracts, now = governance.contracts, governance.contract.version
    rows: list[tuple[str, int, str | None, bool]] = []
    for version in contracts.versions:
        for label in contracts.at(version).classes:
            by_item = contracts.asks(label, version, now)
            became = None if by_item else named(contracts.forward(label, version, now, {}))
            if by_item or became != label:
                rows.append((label, version, became, by_item))
    return pl.DataFrame(rows, schema=_MAPPED, orient="row")


def write(connection: Connection, known: Known) -> None:
    """Replace what the tables say, inside a transaction."""
    governance = known.governance
    tables = {
        "contract": _contract(governance),
        "classes": _classes(governance),
        "versions": _versions(governance),
        "rollbacks": _rollbacks(governance),
    }
    for table, rows in tables.items():
        connection.rows(f"DELETE FROM {table}")
        told = list(rows)
        if told:  # in one statement: one for each row takes a tenth of a millisecond each
            cells = ", ".join(f"value ->> {number}" for number in range(len(told[0])))
            insert = f"INSERT INTO {table} SELECT {cells} FROM json_each(?)"
            connection.rows(insert, [json.dumps(told)])
    connection.rows("DELETE FROM mappings")
    connection.insert("mappings", known.mappings.cast({"by_item": pl.Int32}))
    connection.rows("DELETE FROM split_items")
    _ask(connection, known, "SELECT id FROM items")


def split_items(connection: Connection, known: Known, touched: pl.DataFrame) -> None:
    """Ask the items that were touched, rows of changes or items, what their split makes of them."""
    if not len(known.asked) or not len(touched):
        return
    offset = "item_offset" if "item_offset" in touched.columns else "offset"
    connection.rows("DROP TABLE IF EXISTS temp.asked")
    connection.rows("CREATE TEMP TABLE asked (id INTEGER PRIMARY KEY)")
    first = pl.col("partition").cast(pl.Int64) * PARTITION
    connection.insert("asked", touched.select(id=first + pl.col(offset)).unique())
    connection.rows("DELETE FROM split_items WHERE id IN (SELECT id FROM asked)")
    _ask(connection, known, "SELECT id FROM asked")


def _ask(connection: Connection, known: Known, some: str) -> None:
    if not len(known.asked):
        return
    source = f"""items WHERE id IN ({some}) AND unresolved IS NULL
        AND (label, contract) IN (SELECT label, contract FROM mappings WHERE by_item)"""
    items = as_numbers(connection.frame(_READ, source))
    governance = known.governance
    now = labels_now(items, governance.contracts, governance.contract.version)
    connection.insert("split_items", items.select("id", label_now=now))


def _contract(governance: Governance) -> Iterator[tuple[Any, ...]]:
    for change in governance.changes:
        event = change.event
        fields = as_fields(event)
        for name in ("type", "event_id", "actor", "occurred_at", "version", "approved_by"):
            del fields[name]
        said = {name: value for name, value in fields.items() if value not in (None, [], {})}
        yield (
            event.version,
            change.offset,
            type(event).__name__,
            event.actor,
            event.approved_by,
            _moment(event),
            _status(governance, change),
            json.dumps(said, ensure_ascii=False),
        )


def _status(governance: Governance, change: Change) -> str:
    version = change.event.version
    if not governance.contracts.live(version):
        return "void"
    return "in force" if version == governance.contract.version else "live"


def _classes(governance: Governance) -> Iterator[tuple[Any, ...]]:
    contract = governance.contract
    for name, state in contract.classes.items():
        yield name, state.meaning, state.anchor, state.deprecated, contract.expert(name)


def _versions(governance: Governance) -> Iterator[tuple[Any, ...]]:
    for tag in governance.tags.values():
        event = tag.event
        yield (
            event.name,
            tag.offset,
            event.position.text(),
            event.content_hash,
            event.actor,
            event.reviewer,
            event.base,
            event.reason,
            _moment(event),
        )


def _rollbacks(governance: Governance) -> Iterator[tuple[Any, ...]]:
    for rollback in governance.rollbacks:
        event = rollback.event
        yield (
            rollback.offset,
            event.to.prefix().text(),
            event.at.prefix().text(),
            event.actor,
            event.approved_by,
            event.reason,
            _moment(event),
            "live" if rollback in governance.live_rollbacks else "void",
        )


def _moment(event: Event) -> str:
    return event.occurred_at.isoformat().replace("+00:00", "Z")
