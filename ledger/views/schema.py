"""The tables of a view.

A row's `id` is the place of its event: a million million times the partition, and the offset. So
one number is a key, in the order of the log, and a link to the row of another table. `time` is the
moment of the append, for people; `timestamp_ms` is the same for programs. Rows of `changes`,
`corrections`, `reviews` and `refusals` are never rewritten, but for the standing of a correction. A
rollback voids them: which are live now, `spans` says, and the views whose names begin with `live_`
show only these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VERSION = 1
"""Another version of the tables is another file: it is rebuilt, never migrated."""

PARTITION = 10**12
"""What an id counts for each partition: more than a partition ever holds, and 1,000 of them (there
are never more) are still exact where numbers are 64-bit floats, as in a browser.
"""

TABLES: Mapping[str, str] = {
    "about": "name TEXT PRIMARY KEY, value TEXT NOT NULL",
    # How far each partition is folded: the next offset to read, the epoch of what comes next, and
    # the end of the governance that was known. A writer compares them before it goes on.
    "progress": """topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        epoch INTEGER NOT NULL, governance INTEGER NOT NULL, PRIMARY KEY (topic, partition)""",
    # The live ranges of each partition; the last one has no end.
    "spans": """partition INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
        PRIMARY KEY (partition, start)""",
    "changes": """id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
        outcome TEXT NOT NULL, actor TEXT NOT NULL, said_under INTEGER NOT NULL,
        item INTEGER NOT NULL REFERENCES items (id), item_id TEXT NOT NULL, label TEXT,
        unresolved INTEGER, contract INTEGER NOT NULL, geometry_type TEXT, coordinates TEXT,
        split TEXT, attributes TEXT, content TEXT, source TEXT,
        correction INTEGER REFERENCES corrections (id)""",
    "corrections": """id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,
        timestamp_ms INTEGER NOT NULL, status TEXT NOT NULL, actor TEXT NOT NULL,
        said_under INTEGER NOT NULL, correction_id TEXT NOT NULL, item_id TEXT NOT NULL,
        from_label TEXT, to_label TEXT, from_geometry TEXT, to_geometry TEXT, reason TEXT,
        source TEXT, confidence REAL, model_version TEXT, audit_run_id TEXT, patch_id TEXT,
        segment TEXT, decided_by TEXT, decided INTEGER REFERENCES reviews (id),
        decided_ms INTEGER""",
    "reviews": """id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
        actor TEXT NOT NULL, said_under INTEGER NOT NULL,
        correction INTEGER NOT NULL REFERENCES corrections (id), decision TEXT NOT NULL,
        outcome TEXT NOT NULL, rationale TEXT""",
    "refusals": """id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
        outcome TEXT NOT NULL, event TEXT, record_id TEXT, item_id TEXT, actor TEXT,
        said_under INTEGER""",
    # The items that are there now, by the event that made them. The change `registered` has the
    # content, `changed` is the last one; `label` is as it was given, under the contract version
    # `contract`: the view `labels` reads it under the one in force.
    "items": """id INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, item_id TEXT NOT NULL,
        label TEXT, unresolved INTEGER, contract INTEGER NOT NULL, geometry_type TEXT,
        coordinates TEXT, split TEXT, attributes TEXT,
        registered INTEGER REFERENCES changes (id),
        changed INTEGER NOT NULL REFERENCES changes (id)""",
    # What a label of an older contract is under the one in force. Where the way there asks an
    # item's attributes, each such item has an answer of its own in `split_items`.
    "mappings": """label TEXT NOT NULL, contract INTEGER NOT NULL, label_now TEXT,
        by_item INTEGER NOT NULL, PRIMARY KEY (label, contract)""",
    "split_items": "id INTEGER PRIMARY KEY REFERENCES items (id), label_now TEXT",
    "contract": """version INTEGER PRIMARY KEY, offset INTEGER NOT NULL, event TEXT NOT NULL,
        actor TEXT NOT NULL, approved_by TEXT, occurred_at TEXT NOT NULL, status TEXT NOT NULL,
        change TEXT NOT NULL""",
    "classes": """name TEXT PRIMARY KEY, meaning TEXT, anchor TEXT, deprecated INTEGER NOT NULL,
        expert INTEGER NOT NULL""",
    "versions": """name TEXT PRIMARY KEY, offset INTEGER NOT NULL, position TEXT NOT NULL,
        content_hash TEXT, actor TEXT NOT NULL, reviewer TEXT, base TEXT, reason TEXT,
        occurred_at TEXT NOT NULL""",
    "rollbacks": """offset INTEGER PRIMARY KEY, to_position TEXT NOT NULL,
        at_position TEXT NOT NULL, actor TEXT NOT NULL, approved_by TEXT, reason TEXT,
        occurred_at TEXT NOT NULL, status TEXT NOT NULL""",
}

_ISO = "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000, 'unixepoch') || printf('.%03dZ', {0} % 1000)"
_COMPUTED = {
    "partition": ("INTEGER", f"id / {PARTITION}"),
    "offset": ("INTEGER", f"id % {PARTITION}"),
    "time": ("TEXT", _ISO.format("timestamp_ms")),
    "decided_time": ("TEXT", _ISO.format("decided_ms")),
    "record_id": ("TEXT", "substr(item_id, 1, instr(item_id || '#', '#') - 1)"),
}
COMPUTED: Mapping[str, Sequence[str]] = {
    "changes": ("partition", "offset", "time", "record_id"),
    "corrections": ("partition", "offset", "time", "record_id", "decided_time"),
    "reviews": ("partition", "offset", "time"),
    "refusals": ("partition", "offset", "time"),
    "items": ("partition", "offset", "time", "record_id"),
}
"""Columns that take no room: they follow from others, and are there to be read."""

INDEXES: Mapping[str, str] = {
    # An item's record is the start of its id, so that one range of these finds a whole record.
    "items_by_id": "UNIQUE INDEX items_by_id ON items (item_id)",
    "changes_by_item": "INDEX changes_by_item ON changes (item_id)",
    "corrections_by_item": "INDEX corrections_by_item ON corrections (item_id)",
    "corrections_by_id": "INDEX corrections_by_id ON corrections (correction_id)",
    "corrections_open": """INDEX corrections_open ON corrections (id)
        WHERE status IN ('proposed', 'escalated')""",
    "reviews_by_correction": "INDEX reviews_by_correction ON reviews (correction)",
    "refusals_by_record": "INDEX refusals_by_record ON refusals (record_id)",
}

_LIVE = f"""SELECT * FROM {{table}} AS each WHERE EXISTS (SELECT * FROM spans
    WHERE each.id >= partition * {PARTITION} + start AND each.id < partition * {PARTITION} + stop
    AND partition = each.partition)"""


def _rates(by: Sequence[str]) -> str:
    """Corrections counted by each of some columns: how many, and what became of them."""
    counts = ", ".join(
        f"sum(status = '{status}') AS {status}"
        for status in ("proposed", "escalated", "applied", "stale", "kept", "withdrawn")
    )
    parts = (
        f"SELECT '{column}' AS by, {column} AS value, count(*) AS corrections, {counts} "
        f"FROM corrections WHERE status <> 'void' GROUP BY {column}"
        for column in by
    )
    return " UNION ALL ".join(parts)


VIEWS: Mapping[str, str] = {
    # What a snapshot at the head shows, and what is needed to train on it.
    "labels": """SELECT i.item_id, i.record_id,
            CASE WHEN m.by_item THEN s.label_now WHEN m.label IS NOT NULL THEN m.label_now
                ELSE i.label END AS label,
            i.geometry_type, i.coordinates, i.split, i.attributes, c.content, c.source,
            i.timestamp_ms, i.time, i.id
        FROM items AS i
        LEFT JOIN mappings AS m ON m.label = i.label AND m.contract = i.contract
        LEFT JOIN split_items AS s ON s.id = i.id
        LEFT JOIN changes AS c ON c.id = i.registered
        WHERE i.unresolved IS NULL AND CASE WHEN m.by_item THEN s.label_now
            WHEN m.label IS NOT NULL THEN m.label_now ELSE i.label END IS NOT NULL""",
    "queue": """SELECT * FROM corrections WHERE status IN ('proposed', 'escalated')""",
    "live_changes": _LIVE.format(table="changes"),
    "live_reviews": _LIVE.format(table="reviews"),
    "live_refusals": _LIVE.format(table="refusals"),
    "correction_rates": _rates(
        ["from_label", "to_label", "source", "segment", "model_version", "actor"]
    ),
}


def tables() -> list[str]:
    """The statements that make the tables, without what `finish` adds."""
    return [f"CREATE TABLE {name} ({columns})" for name, columns in TABLES.items()]


def finish() -> list[str]:
    """The statements that add computed columns, indexes and views. They come after the rows of a
    rebuild: SQLite computes every column for each row it inserts, and orders an index at once
    several times as fast.
    """
    columns = [
        f"ALTER TABLE {table} ADD COLUMN {name} {kind} AS ({value}) VIRTUAL"
        for table, names in COMPUTED.items()
        for name, (kind, value) in ((name, _COMPUTED[name]) for name in names)
    ]
    indexes = [f"CREATE {index}" for index in INDEXES.values()]
    return columns + indexes + [f"CREATE VIEW {name} AS {query}" for name, query in VIEWS.items()]
