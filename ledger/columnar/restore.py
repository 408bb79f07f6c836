"""From rows back to the state of the fold, so that folding goes on where it was left.

Rows say what became of every event, so nothing is judged again: what columns can hold is put into
them. A record of which more was said (another geometry, an addition, an escalation, a withdrawal)
stays *dormant*: only its rows are kept, and when it is needed it is put together for the reference
fold. Void ranges have no rows; their events are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from ledger.columnar.delta import Delta
from ledger.columnar.dormant import Dormant
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Reader
from ledger.columnar.replay import ROWS, fetcher, recall, whole
from ledger.columnar.rows import firsts
from ledger.columnar.shapes import from_columns
from ledger.columnar.state import CODE, DECISIONS, link
from ledger.columnar.strings import PADDING, Bools, Interner, Ints
from ledger.core.contract import Unresolved
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.dataset import Dataset

NEEDED: Mapping[str, Sequence[str]] = {
    "changes": (
        *("offset", "outcome", "said_under", "item_offset", "item_id", "record_id", "label"),
        *("unresolved", "contract", "geometry_type", "coordinates", "split", "attributes"),
    ),
    "corrections": (
        *("offset", "actor", "said_under", "correction_id", "item_id", "record_id"),
        *("from_label", "to_label", "from_geometry", "to_geometry"),
    ),
    "reviews": ("offset", "actor", "said_under", "correction_offset", "decision", "outcome"),
    "refusals": ("offset", "said_under", "record_id"),
}
"""The columns of each frame that are read here; others may be left out."""


def restore(
    dataset: Dataset, governance: Governance, partition: int, stop: int, rows: Delta
) -> ColumnarPartition:
    """The state of `[0, stop)` of a partition, as if all of it had been folded.

    Args:
        dataset: the log; void ranges and dormant records are read there.
        governance: under which the fold goes on.
        partition: which one of `labels`.
        stop: where the rows end.
        rows: those of all live ranges below `stop` under this governance (`epochs.live`), in
            offset order, which it must bear out (`Epochs.stands`).
    """
    state = ColumnarPartition(governance.contracts, partition, dataset.partitions, dataset.codec)
    _Restoring(state, rows).run(dataset)
    reader = Reader(dataset.codec)
    for span in governance.spans(partition, stop):
        if not span.live:
            for batch in whole(recall(dataset, partition, span.start, span.stop), ROWS):
                state.void(reader.frame(batch.offsets, batch.keys, batch.values))
    return state


class _Restoring:
    """Rows on their way into a state that is empty so far."""

    def __init__(self, state: ColumnarPartition, rows: Delta) -> None:
        self.state, self.columns, self.names = state, state.columns, state.names
        self.things, self.own = state.columns.things, state.columns.corrections
        self.changes, self.corrections, self.reviews, refusals = rows
        self.refusals = refusals.filter(pl.col("said_under").is_not_null())

    def run(self, dataset: Dataset) -> None:
        """Name everything, find what is simple, and put it in its place."""
        self._name()
        asleep = self._difficult()
        self._records()
        self._items(~asleep[self.record_of_change])
        self._corrections(~asleep[self.record_of_correction])
        self._votes(~asleep[self.record_of_correction[self.correction_of_review]])
        codes = np.nonzero(asleep)[0]
        if len(codes):
            fetch = fetcher(dataset, self.state.reference.partition)
            self.state.sleep(codes, self._dormant(asleep), fetch)

    def _name(self) -> None:
        things, changes, corrections = self.names.things, self.changes, self.corrections
        offset, item_offset = _numbers(changes, "offset"), _numbers(changes, "item_offset")
        self.made = offset == item_offset
        record, item = _both(things, changes.filter(pl.Series(self.made)))
        which = np.searchsorted(offset[self.made], item_offset)
        self.item_of_change, self.record_of_change = item[which], record[which]
        self.record_of_correction, self.item_of_correction = _both(things, corrections)
        self.correction = codes_of(self.names.corrections, corrections["correction_id"])
        self.correction_of_review = np.searchsorted(
            _numbers(corrections, "offset"), _numbers(self.reviews, "correction_offset")
        )
        self.record_of_refusal = codes_of(things, self.refusals["record_id"])
        self.things.grow(things.size)
        self.own.grow(self.names.corrections.size)

    def _difficult(self) -> Bools:
        """The records of which something was said that columns don't hold, as a mask."""
        column, found = pl.col, np.zeros(self.things.capacity, np.bool_)
        changes = (column("outcome") == Outcome.FILLED.value) | (
            column("outcome") == Outcome.APPLIED.value
        ) & ((column("offset") == column("item_offset")) | column("label").is_null())
        corrections = (
            column("from_label").is_null()
            | column("to_label").is_null()
            | column("from_geometry").is_not_null()
            | column("to_geometry").is_not_null()
        )
        reviews = ~column("decision").is_in(["accept", "keep"]) | (
            column("outcome") == Outcome.ESCALATED.value
        )
        found[self.record_of_change[_mask(self.changes, changes)]] = True
        found[self.record_of_correction[_mask(self.corrections, corrections)]] = True
        voted = self.correction_of_review[_mask(self.reviews, reviews)]
        found[self.record_of_correction[voted]] = True
        # A correction id that two records took can stand for one of them only.
        found[self.record_of_correction[~firsts(self.correction, self.own.scratch)]] = True
        return found

    def _records(self) -> None:
        things, changes = self.things, self.changes
        voted = self.record_of_correction[self.correction_of_review]
        for records, frame in (
            (self.record_of_change, changes),
            (self.record_of_correction, self.corrections),
            (voted, self.reviews),
            (self.record_of_refusal, self.refusals),
        ):
            things.record[records], things.home[records] = records, True
            things.known[records] = True
            np.maximum.at(things.contract, records, frame["said_under"].to_numpy())
        given = _mask(changes, pl.col("split").is_not_null())
        records = self.record_of_change[given][::-1]  # the first one stands
        splits = _repeated(self.names.splits, changes["split"].filter(pl.Series(given)))
        things.split[records] = splits[::-1]

    def _items(self, simple: Bools) -> None:
        things, tables, changes = self.things, self.state.tables, self.changes
        label = self._labels(changes["label"])
        opened = changes.with_row_index("at").filter(pl.col("unresolved").is_not_null())
        for at, name, version in opened.select("at", "label", "unresolved").rows():
            label[at] = tables.code_of(Unresolved(name, version))
        item = self.item_of_change
        made = simple & self.made
        new, records = item[made], self.record_of_change[made]
        things.exists[new], things.texts[new] = True, True
        things.record[new], things.given[new] = records, label[made]
        things.offset[new] = _numbers(changes, "offset")[made]
        self._describe(item, made)
        link(things.items, things.before, records, new, things.scratch)
        things.label[item[simple]] = label[simple]  # of several the last one stands
        things.version[item[simple]] = changes["contract"].to_numpy()[simple]

    def _describe(self, item: Ints, made: Bools) -> None:
        """The geometries and attributes that items were made with."""
        drawn = made & self.changes["geometry_type"].is_not_null().to_numpy()
        shapes = self.changes["geometry_type", "coordinates"].filter(pl.Series(drawn))
        numbers = self.columns.shapes.add(*from_columns(*shapes.get_columns()))
        self.things.shape[item[drawn]] = numbers
        told = made & self.changes["attributes"].is_not_null().to_numpy()
        texts = self.changes["attributes"].filter(pl.Series(told))
        self.things.attributes[item[told]] = _repeated(self.names.attributes, texts)

    def _corrections(self, simple: Bools) -> None:
        own, frame = self.own, self.corrections
        code, records = self.correction[simple], self.record_of_correction[simple]
        own.record[code], own.item[code] = records, self.item_of_correction[simple]
        own.actor[code] = self._actors(frame)[simple]
        own.old[code] = self._labels(frame["from_label"])[simple]
        own.new[code] = self._labels(frame["to_label"])[simple]
        own.version[code] = frame["said_under"].to_numpy()[simple]
        own.offset[code] = _numbers(frame, "offset")[simple]
        own.status[code] = CODE[Outcome.PROPOSED]
        link(self.things.corrections, own.before, records, code, self.things.scratch)

    def _votes(self, simple: Bools) -> None:
        own, votes = self.own, self.columns.votes
        frame = self.reviews.filter(pl.Series(simple))
        code = self.correction[self.correction_of_review][simple]
        decision = _coded(frame["decision"], DECISIONS).astype(np.int8)
        numbers = votes.add(code, self._actors(frame), decision)
        link(own.vote, votes.before, code, numbers, own.scratch)
        np.add.at(own.votes, code, 1)
        own.decision[code] = decision
        outcome = _coded(frame["outcome"], [each.value for each in CODE])
        settled = outcome != CODE[Outcome.VOTED]
        own.status[code[settled]] = outcome[settled]

    def _dormant(self, asleep: Bools) -> Dormant:
        """The rows of the records that sleep."""
        frames = (self.changes, self.corrections, self.reviews, self.refusals)
        records = (
            self.record_of_change,
            self.record_of_correction,
            self.record_of_correction[self.correction_of_review],
            self.record_of_refusal,
        )
        chosen = [np.nonzero(asleep[each])[0] for each in records]
        rows = Delta(*(frame[some] for frame, some in zip(frames, chosen, strict=True)))
        return Dormant(rows, [each[some] for each, some in zip(records, chosen, strict=True)])

    def _labels(self, series: pl.Series) -> Ints:
        tables, names = self.state.tables, self.names
        interned = np.full(len(series), -1, np.int64)
        there = series.is_not_null()
        interned[there.to_numpy()] = _repeated(names.labels, series.filter(there))
        tables.know(names.actors, names.labels)
        return tables.label_codes(interned)

    def _actors(self, frame: pl.DataFrame) -> Ints:
        codes = _repeated(self.names.actors, frame["actor"])
        self.state.tables.know(self.names.actors, self.names.labels)
        return codes


def codes_of(interner: Interner, strings: pl.Series) -> Ints:
    """The code of each string of a series without nulls."""
    return _codes(interner, _arrow(strings))


def _repeated(interner: Interner, strings: pl.Series) -> Ints:
    """As `codes_of`, for strings of which few are distinct."""
    found = _arrow(strings).dictionary_encode()
    return _codes(interner, found.dictionary)[found.indices.to_numpy()]


def _arrow(strings: pl.Series) -> Any:
    return strings.cast(pl.String).rechunk().to_arrow().cast(pa.large_string())


def _codes(interner: Interner, array: Any) -> Ints:
    if not len(array):
        return np.empty(0, np.int64)
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    used = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    padded = np.concatenate((used, np.zeros(PADDING, np.uint8)))
    starts, lengths = ends[:-1] - ends[0], np.diff(ends)
    parts = range(0, len(starts), ROWS)  # at once they would not fit the processor's cache
    found = [interner.codes(padded, starts[i : i + ROWS], lengths[i : i + ROWS]) for i in parts]
    return np.concatenate(found)


def _both(things: Interner, frame: pl.DataFrame) -> tuple[Ints, Ints]:
    """The codes of the records and of the items, most of which are their records."""
    record = codes_of(things, frame["record_id"])
    item = record.copy()
    other = frame["record_id"] != frame["item_id"]
    item[other.to_numpy()] = codes_of(things, frame["item_id"].filter(other))
    return record, item


def _coded(strings: pl.Series, known: Sequence[str]) -> Ints:
    """The number of each string in a list of all that occur."""
    numbers = dict(zip(known, range(len(known)), strict=True))
    return strings.cast(pl.String).replace_strict(numbers, return_dtype=pl.Int64).to_numpy()


def _numbers(frame: pl.DataFrame, name: str) -> Ints:
    return frame[name].to_numpy().astype(np.int64, copy=False)


def _mask(frame: pl.DataFrame, condition: pl.Expr) -> Bools:
    return frame.select(condition.alias("_")).to_series().fill_null(value=False).to_numpy()
