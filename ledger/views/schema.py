"""The tables of a view.

A place of the log is its key everywhere: partition and offset. `time` is the moment of the append,
for people; `timestamp_ms` is the same for programs. Rows of `changes`, `corrections`, `reviews`
and `refusals` are never rewritten, but for the standing of a correction. A rollback voids them:
which are live now, `spans` says, and the views whose names begin with `live_` show only these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VERSION = 1
"""Another version of the tables is another file: it is rebuilt, never migrated."""

_ISO = "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000, 'unixepoch') || printf('.%03dZ', {0} % 1000)"
_TIME = f"timestamp_ms INTEGER NOT NULL, time TEXT AS ({_ISO.format('timestamp_ms')}) VIRTUAL"
_PLACE = f"partition INTEGER NOT NULL, offset INTEGER NOT NULL, epoch INTEGER NOT NULL, {_TIME}"
_RECORD = "record_id TEXT AS (substr(item_id, 1, instr(item_id || '#', '#') - 1)) VIRTUAL"
_KEYED = "PRIMARY KEY (partition, offset)) WITHOUT ROWID"

TABLES: Mapping[str, str] = {
    "about": "(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # How far each partition is folded: the next offset to read, the epoch of what comes next, and
    # the end of the governance that was known. A writer compares them before it goes on.
    "progress": """(
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        epoch INTEGER NOT NULL, governance INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)) WITHOUT ROWID""",
    # The live ranges of each partition; the last one has no end.
    "spans": """(
        partition INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
        PRIMARY KEY (partition, start)) WITHOUT ROWID""",
    "changes": f"""(
        {_PLACE}, outcome TEXT NOT NULL, actor TEXT NOT NULL, said_under INTEGER NOT NULL,
        item_offset INTEGER NOT NULL, item_id TEXT NOT NULL, {_RECORD},
        label TEXT, unresolved INTEGER, contract INTEGER NOT NULL,
        geometry_type TEXT, coordinates TEXT, split TEXT, attributes TEXT,
        content TEXT, source TEXT, correction_offset INTEGER,
        {_KEYED}""",
    "corrections": f"""(
        {_PLACE}, status TEXT NOT NULL, actor TEXT NOT NULL, said_under INTEGER NOT NULL,
        correction_id TEXT NOT NULL, item_id TEXT NOT NULL, {_RECORD},
        from_label TEXT, to_label TEXT, from_geometry TEXT, to_geometry TEXT,
        reason TEXT, source TEXT, confidence REAL, model_version TEXT, audit_run_id TEXT,
        patch_id TEXT, segment TEXT, decided_by TEXT, decided_offset INTEGER, decided_ms INTEGER,
        decided_time TEXT AS ({_ISO.format("decided_ms")}) VIRTUAL,
        {_KEYED}""",
    "reviews": f"""(
        {_PLACE}, actor TEXT NOT NULL, said_under INTEGER NOT NULL,
        correction_offset INTEGER NOT NULL, correction_id TEXT NOT NULL, item_id TEXT NOT NULL,
        {_RECORD}, decision TEXT NOT NULL, outcome TEXT NOT NULL, rationale TEXT,
        {_KEYED}""",
    "refusals": f"""(
        {_PLACE}, outcome TEXT NOT NULL, event TEXT, record_id TEXT, item_id TEXT, actor TEXT,
        said_under INTEGER,
        {_KEYED}""",
    # The items that are there now. `offset` is that of the event that made the item, `registered`
    # that of its registration, whose row in `changes` has its content; `label` is as it was given,
    # under the contract version `contract`: the view `labels` reads it under the one in force.
    "items": f"""(
        partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        item_id TEXT NOT NULL, {_RECORD}, label TEXT, unresolved INTEGER, contract INTEGER NOT NULL,
        geometry_type TEXT, coordinates TEXT, split TEXT, attributes TEXT,
        registered INTEGER, changed INTEGER NOT NULL, {_TIME},
        {_KEYED}""",
    # What a label of an older contract is under the one in force. Where the way there asks an
    # item's attributes, each such item has an answer of its own in `split_items`.
    "mappings": """(
        label TEXT NOT NULL, contract INTEGER NOT NULL, label_now TEXT, by_item INTEGER NOT NULL,
        PRIMARY KEY (label, contract)) WITHOUT ROWID""",
    "split_items": f"""(
        partition INTEGER NOT NULL, offset INTEGER NOT NULL, label_now TEXT, {_KEYED}""",
    "contract": """(
        version INTEGER PRIMARY KEY, offset INTEGER NOT NULL, event TEXT NOT NULL,
        actor TEXT NOT NULL, approved_by TEXT, occurred_at TEXT NOT NULL, status TEXT NOT NULL,
        change TEXT NOT NULL)""",
    "classes": """(
        name TEXT PRIMARY KEY, meaning TEXT, anchor TEXT, deprecated INTEGER NOT NULL,
        expert INTEGER NOT NULL) WITHOUT ROWID""",
    "versions": """(
        name TEXT PRIMARY KEY, offset INTEGER NOT NULL, position TEXT NOT NULL, content_hash TEXT,
        actor TEXT NOT NULL, reviewer TEXT, base TEXT, reason TEXT, occurred_at TEXT NOT NULL)
        WITHOUT ROWID""",
    "rollbacks": """(
        offset INTEGER PRIMARY KEY, to_position TEXT NOT NULL, at_position TEXT NOT NULL,
        actor TEXT NOT NULL, approved_by TEXT, reason TEXT, occurred_at TEXT NOT NULL,
        status TEXT NOT NULL)""",
}

INDEXES: Mapping[str, str] = {
    # An item's record is the start of its id, so that one range of these finds a whole record.
    "items_by_id": "UNIQUE INDEX items_by_id ON items (item_id)",
    "changes_by_item": "INDEX changes_by_item ON changes (item_id)",
    "corrections_by_item": "INDEX corrections_by_item ON corrections (item_id)",
    "corrections_by_id": "INDEX corrections_by_id ON corrections (correction_id)",
    "corrections_open": """INDEX corrections_open ON corrections (partition, offset)
        WHERE status IN ('proposed', 'escalated')""",
    "reviews_by_correction": """INDEX reviews_by_correction
        ON reviews (partition, correction_offset)""",
    "refusals_by_record": "INDEX refusals_by_record ON refusals (record_id)",
}

_LIVE = """(SELECT rows.* FROM {table} AS rows JOIN spans ON spans.partition = rows.partition
    AND rows.offset >= spans.start AND rows.offset < spans.stop)"""


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
            i.timestamp_ms, i.time, i.partition, i.offset
        FROM items AS i
        LEFT JOIN mappings AS m ON m.label = i.label AND m.contract = i.contract
        LEFT JOIN split_items AS s ON s.partition = i.partition AND s.offset = i.offset
        LEFT JOIN changes AS c ON c.partition = i.partition AND c.offset = i.registered
        WHERE i.unresolved IS NULL AND CASE WHEN m.by_item THEN s.label_now
            WHEN m.label IS NOT NULL THEN m.label_now ELSE i.label END IS NOT NULL""",
    "queue": """SELECT * FROM corrections WHERE status IN ('proposed', 'escalated')""",
    "live_changes": f"SELECT * FROM {_LIVE.format(table='changes')}",
    "live_reviews": f"SELECT * FROM {_LIVE.format(table='reviews')}",
    "live_refusals": f"SELECT * FROM {_LIVE.format(table='refusals')}",
    "correction_rates": _rates(
        ["from_label", "to_label", "source", "segment", "model_version", "actor"]
    ),
}


def tables() -> list[str]:
    """The statements that make the tables and the views over them."""
    made = [f"CREATE TABLE {name} {columns}" for name, columns in TABLES.items()]
    return made + [f"CREATE VIEW {name} AS {query}" for name, query in VIEWS.items()]


def indexes() -> list[str]:
    """The statements that make the indexes; in bulk after the rows, for that is several times
    as fast.
    """
    return [f"CREATE {index}" for index in INDEXES.values()]
