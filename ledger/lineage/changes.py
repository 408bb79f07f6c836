"""The labels that changed since a version, each with what changed it, and who, and why.

What changed a label is the last that was done to its item since: it was *corrected*, *registered*
anew, *taken back* by a rollback, or renamed by the *contract*. The last one changes a name and says
nothing new about an item, so that it counts for no retraining.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import polars as pl

from ledger.core.epochs import alike
from ledger.core.events import SchemaChanged
from ledger.core.governance import Governance, Rollback
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.errors import InvalidRequest
from ledger.lineage.evidence import Evidence, evidence
from ledger.reading import HEAD, Reading, Where

Cause = Literal["correction", "registration", "rollback", "contract"]
_WHY = ("by", "accepted_by", "reason", "source", "correction_id", "patch_id")
_COLUMNS = ("id", "change", "before", "after", "split", "cause", *_WHY)


@dataclass(frozen=True)
class Changes:
    """What differs between two positions, item by item.

    `frame` has a row for each item, sorted by id: id, change (added, removed or changed), the label
    `before` and `after` (null where it has none), split, cause, and as far as the cause has them:
    `by` (who proposed, registered or rolled back), `accepted_by`, reason, source, correction_id,
    patch_id.
    """

    frame: pl.DataFrame
    contract_versions: tuple[int, ...]
    """The schema changes in between that stand."""
    now: Evidence
    """What stands at the later position."""

    @cached_property
    def substantial(self) -> pl.DataFrame:
        """Those that are more than another name."""
        return self.frame.filter(pl.col("cause") != "contract")

    def causes(self) -> dict[str, int]:
        """How many items differ by each cause."""
        return _counts(self.frame["cause"])

    def by_class(self) -> dict[str, int]:
        """Substantial changes by the class that the items have now, or had where they have none."""
        return _counts(self.substantial.select(pl.coalesce("after", "before")).to_series())

    def by_split(self) -> dict[str, int]:
        """Substantial changes by split; `""` for none."""
        return _counts(self.substantial["split"].fill_null(""))

    def moves(self) -> list[tuple[str | None, str | None, str, int]]:
        """How many items went from which label to which, and the cause; the most frequent first."""
        key = ("before", "after", "cause")
        found = self.frame.group_by(key).len()
        return found.sort("len", *key, descending=[True, False, False, False]).rows()

    def items(self, at_most: int | None = None) -> Iterator[dict[str, Any]]:
        """Each substantial change as JSON-ready fields, without those that say nothing."""
        for row in self.substantial.slice(0, at_most).iter_rows(named=True):
            yield {name: value for name, value in row.items() if value is not None}


def changes_between(book: Reading, since: Where, until: Where = HEAD) -> Changes:
    """What changed between two positions, and by what."""
    start, end = book.resolve(since), book.resolve(until)
    if not start.within(end):
        raise InvalidRequest(f"{until} does not lie after {since}")
    table = pl.from_arrow(book.diff(start, end).to_arrow())
    assert isinstance(table, pl.DataFrame)
    differing = table.select(
        "id",
        "change",
        before="before_label",
        after="after_label",
        split=pl.coalesce("after_split", "before_split"),
    )
    now = evidence(book, end)
    then = book.governance.prefix(start.governance)
    done = pl.concat([_done(now, then, start), _taken_back(book, then, start, now)])
    found = differing.join(
        done.unique("id", keep="first", maintain_order=True), on="id", how="left"
    ).with_columns(
        # Where only the split differs, a registration of another item of the record gave it.
        cause=pl.when(pl.col("cause").is_not_null())
        .then("cause")
        .when(pl.col("before").eq_missing(pl.col("after")))
        .then(pl.lit("registration"))
        .otherwise(pl.lit("contract"))
    )
    versions = tuple(
        change.event.version
        for change in now.governance.changes
        if change.offset >= start.governance
        and isinstance(change.event, SchemaChanged)
        and not now.governance.void(change.offset)
    )
    return Changes(found.select(_COLUMNS).cast(pl.String).sort("id"), versions, now)


def _done(now: Evidence, then: Governance, start: Position) -> pl.DataFrame:
    """By item: the last that was done to it and is live, not counting what was done before."""
    last = now.beside(then, start).changes.unique("item_id", keep="last", maintain_order=True)
    proposed = now.rows.corrections.select(
        "partition",
        "correction_id",
        "reason",
        "patch_id",
        correction_offset="offset",
        proposed_by="actor",
        proposed_in="source",
    )
    joined = last.join(proposed, on=("partition", "correction_offset"), how="left")
    applied = pl.col("outcome") == Outcome.APPLIED.value
    return joined.select(
        id="item_id",
        cause=pl.when(applied).then(pl.lit("correction")).otherwise(pl.lit("registration")),
        by=pl.when(applied).then("proposed_by").otherwise("actor"),
        accepted_by=pl.when(applied).then("actor"),
        reason="reason",
        source=pl.when(applied).then("proposed_in").otherwise("source"),
        correction_id="correction_id",
        patch_id="patch_id",
    ).cast(dict.fromkeys(("id", "cause", *_WHY), pl.String))


def _taken_back(book: Reading, then: Governance, start: Position, now: Evidence) -> pl.DataFrame:
    """By item: the rollback that made void what was done to it last."""
    none = pl.DataFrame(schema=dict.fromkeys(("id", "cause", *_WHY), pl.String))
    if alike(now.governance, then, start.labels):
        return none
    gone = evidence(book, start).beside(now.governance, now.position).changes
    last = gone.unique("item_id", keep="last", maintain_order=True)
    rows: list[dict[str, Any]] = []
    for partition, offset, item_id in last.select("partition", "offset", "item_id").iter_rows():
        event = _rollback_of(now.governance, partition, offset).event
        rows.append(
            {
                "id": item_id,
                "cause": "rollback",
                "by": event.actor,
                "accepted_by": event.approved_by,
                "reason": event.reason,
            }
        )
    return pl.DataFrame(rows, schema=none.schema) if rows else none


def _rollback_of(governance: Governance, partition: int, offset: int) -> Rollback:
    """The latest live rollback that takes a label offset back."""
    return next(
        each
        for each in reversed(governance.live_rollbacks)
        if each.event.to.labels[partition] <= offset < each.event.at.labels[partition]
    )


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(sorted(values.value_counts().rows()))
