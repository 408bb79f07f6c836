"""A ledger from Python: open it, append, and ask at any position.

    from ledger import Ledger

    book = Ledger.open("sqlite:///reviews.db", dataset="reviews")
    frame = book.snapshot("labels-v1.0").to_polars()

Every position may be given as offsets, a version name, a timestamp, or `head`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger import positions
from ledger.clock import new_id
from ledger.codec import plain
from ledger.core.events import (
    CorrectionSource,
    Decision,
    Geometry,
    LabelEvent,
    VersionTagged,
    record_of,
)
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import ConfigurationError, InvalidRequest
from ledger.history import label_text
from ledger.logs.base import Topic
from ledger.reading import HEAD, Reading, Where
from ledger.record import fold_record, home_of, item_at
from ledger.settings import Settings, load
from ledger.wiring import (
    build_log,
    build_registry,
    checkpoints_for,
    checkpoints_url,
    views_path,
)
from ledger.writer import Appended, Given, Writer

if TYPE_CHECKING:
    from sqlite_utils import Database

PARTITIONS_DEFAULT = 4
_ROLLBACK_TRIES = 5


class Ledger(Reading):
    """One dataset's ledger. Use `open` or `create`; close it, or use it in a `with` statement.

    Every method raises the errors of `ledger.errors`, each a clear sentence.
    """

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        super().__init__(dataset, checkpoints_url(settings))
        self.settings = settings
        self._writer = Writer(dataset, self.reader)

    @classmethod
    def open(cls, log: str | None = None, dataset: str | None = None, **settings: Any) -> Ledger:
        """Open a ledger that was set up before.

        Args:
            log: `sqlite:///path/to/log.db` or `kafka://host:port[,host:port]`.
            dataset: its name.
            **settings: any other of `ledger.settings.Settings`, such as `registry`.
        """
        return cls.from_settings(load(log=log, dataset=dataset, **settings))

    @classmethod
    def from_settings(cls, settings: Settings) -> Ledger:
        """Open the ledger that the settings name."""
        found = checkpoints_for(settings)
        return cls(Dataset.open(build_log(settings), build_registry(settings), found), settings)

    @classmethod
    def create(
        cls,
        log: str | None = None,
        dataset: str | None = None,
        *,
        partitions: int = PARTITIONS_DEFAULT,
        **settings: Any,
    ) -> Ledger:
        """Set a ledger up, or open it if it is there with this many partitions."""
        loaded = load(log=log, dataset=dataset, **settings)
        return cls.create_from(loaded, partitions)

    @classmethod
    def create_from(cls, settings: Settings, partitions: int = PARTITIONS_DEFAULT) -> Ledger:
        """Set up, or open, the ledger that the settings name."""
        log, registry = build_log(settings), build_registry(settings)
        made = Dataset.create(log, partitions, registry, checkpoints_for(settings))
        return cls(made, settings)

    def append(self, events: Iterable[Given]) -> Position:
        """Append events in order, durably, and return the position reached.

        Args:
            events: events, or mappings with a `type` and the event's fields. A list is checked
                whole before anything is appended; a generator is appended as it goes.

        Raises:
            InvalidRequest: an event cannot be; or, once all are appended, the fold refuses one
                of them that is about governance (`append_all` tells without raising).
        """
        if isinstance(events, Sequence):
            self._writer.check(events)
        for number, event, outcome in self._writer.append(events).refused:
            raise InvalidRequest(
                f"event {number}: the {type(event).__name__} is on the log and changes nothing: "
                f"it is {outcome.value}, {outcome.reason}. The others are appended too"
            )
        return self.resolve()

    def append_all(self, events: Iterable[Given]) -> Appended:
        """Append events in order, durably, and tell where each went."""
        return self._writer.append(events)

    def check(self, events: Iterable[Given]) -> None:
        """Refuse the first event that could not be appended, appending nothing."""
        self._writer.check(events)

    def correct(
        self,
        item_id: str,
        *,
        to: str | None,
        actor: str,
        reason: str | None = None,
        source: CorrectionSource = "annotator",
        to_geometry: Geometry | None = None,
        add: bool = False,
    ) -> tuple[str, Outcome]:
        """Propose a correction of what the item is now.

        Args:
            item_id: the item.
            to: the right label; None takes its label away.
            actor: who says so.
            reason: why.
            source: where the correction comes from.
            to_geometry: the right geometry; None leaves it.
            add: the item need not exist yet.

        Returns:
            The correction's id, and `Outcome.PROPOSED` or why it is refused.
        """
        head = self.resolve()
        item, label = item_at(self.dataset, item_id, head)
        geometry = item.geometry if item else None
        if item is None and not add:
            raise InvalidRequest(f"item {item_id!r} does not exist; add it with --add (add=True)")
        if item and label == to and to_geometry in (None, geometry):
            raise InvalidRequest(f"the label of item {item_id!r} is {label_text(to)} already")
        correction_id = new_id()
        outcome = self.say(
            {
                "type": "CorrectionProposed",
                "correction_id": correction_id,
                "item_id": item_id,
                "record_id": record_of(item_id),
                "from_label": label if isinstance(label, str) else None,
                "to_label": to,
                "from_geometry": plain(geometry) if to_geometry else None,
                "to_geometry": plain(to_geometry),
                "reason": reason,
                "source": source,
                "actor": actor,
                "based_on": head.as_dict(),
            }
        )
        return correction_id, outcome

    def add_classes(
        self, names: Iterable[str], *, actor: str, approved_by: str | None = None
    ) -> Outcome:
        """Add classes to the contract, as one change."""
        return self.govern(
            {
                "type": "SchemaChanged",
                "version": self.governance.highest_version + 1,
                "add": [{"name": name} for name in names],
                "actor": actor,
                "approved_by": approved_by,
            }
        )

    def withdraw(
        self,
        correction_id: str,
        *,
        actor: str,
        reason: str | None = None,
        record_id: str | None = None,
    ) -> Outcome:
        """Take an open correction of one's own back."""
        proposal = self.find_correction(correction_id, record_id).proposal
        return self.say(
            {
                "type": "CorrectionWithdrawn",
                "correction_id": correction_id,
                "item_id": proposal.item_id,
                "record_id": proposal.record_id,
                "reason": reason,
                "actor": actor,
            }
        )

    def review(
        self,
        correction_id: str,
        decision: Decision,
        *,
        actor: str,
        rationale: str | None = None,
        record_id: str | None = None,
    ) -> Outcome:
        """Vote on a correction; the outcome says what the vote did."""
        proposal = self.find_correction(correction_id, record_id).proposal
        return self.say(
            {
                "type": "ReviewDecided",
                "correction_id": correction_id,
                "item_id": proposal.item_id,
                "record_id": proposal.record_id,
                "decision": decision,
                "rationale": rationale,
                "actor": actor,
            }
        )

    def tag(
        self,
        name: str,
        at: Where = HEAD,
        *,
        actor: str,
        reviewer: str | None = None,
        base: str | None = None,
        sample: Path | None = None,
        **more: Any,
    ) -> VersionTagged:
        """Name a position, with the hash of its snapshot, if every check of a release passes or
        was waived by name (see `ledger.releases`).

        Args:
            name: such as `labels-v1.3`; a name is given once.
            at: the position.
            actor: who tags.
            reviewer: the second person, an admin once roles are named.
            base: the version that it follows; by default the one before it.
            sample: a file of doubly annotated items, `{"id", "annotator", "label"}` a line.
            **more: `reason`, `guideline` and other fields of `VersionTagged`.
        """
        from ledger.releases.candidate import Candidate
        from ledger.releases.sample import read_sample
        from ledger.releases.tagging import tag

        read = None if sample is None else read_sample(sample)
        candidate = Candidate.at(self, self.resolve(at), base)
        return tag(self, name, candidate, actor=actor, reviewer=reviewer, sample=read, more=more)

    def views(self) -> Database:
        """The tables that a worker keeps, for reading with sqlite-utils: how far they go is in
        `progress`. Close it after use.

        Raises:
            ViewsDamaged: what is there is no view of this dataset.
        """
        try:
            from ledger.views.file import database
            from ledger.views.reader import View
        except ImportError as error:
            raise ConfigurationError(
                f"reading views needs the extra `views` ({error}): pip install 'errata[views]'"
            ) from error
        with View.open(views_path(self.settings), self.dataset) as view:
            return database(view.connection.file)

    def rollback(
        self, to: Where, *, actor: str, approved_by: str, reason: str | None = None
    ) -> Position:
        """Go back to a position with one event, and return the position after it.

        If somebody governs at the same moment it is tried again. It takes two people also where
        the contract names no roles yet, and so lets a single one govern.
        """
        if not approved_by or approved_by == actor:
            raise InvalidRequest(
                f"a rollback takes two people: {approved_by or 'nobody'!r} can't approve what "
                f"{actor!r} does"
            )
        target = self.resolve(to)
        for partition, offset in enumerate(target.labels):
            what = f"which ids stay taken by what a rollback to offset {offset} makes void"
            self.dataset.refuse_lost(partition, offset, what)
        outcome = Outcome.VERSION_CONFLICT
        tries = 0
        while outcome is Outcome.VERSION_CONFLICT:
            tries += 1
            end = positions.ends(self.dataset)
            if target.same_prefix(end):
                raise InvalidRequest(f"position {target} is where the log ends: nothing to undo")
            fields = {
                "type": "RolledBack",
                "to": target.as_dict(),
                "at": end.as_dict(),
                "actor": actor,
                "approved_by": approved_by,
                "reason": reason,
            }
            outcome = self.govern(fields, retry=tries < _ROLLBACK_TRIES)
        return self.resolve()

    def say(self, fields: dict[str, Any]) -> Outcome:
        """Append one label event, unless the fold would refuse it, and tell what became of it."""
        event = self._writer.stamp(fields)
        assert isinstance(event, LabelEvent)
        end = self.dataset.log.ends(Topic.LABELS)[home_of(event.record_id, self.dataset)]
        fold = fold_record(self.dataset, self.reader.refresh(), event.record_id, end)
        outcome = fold.apply(end, event.record_id.encode(), event)
        if outcome.refused:
            return outcome
        return self.outcome(*self._writer.append([event]).places[0])

    def govern(self, fields: dict[str, Any], *, retry: bool = False) -> Outcome:
        """Append one governance event, unless the fold would refuse it."""
        event = self._writer.stamp(fields)
        end = self.dataset.log.ends(Topic.GOVERNANCE)[0]
        outcome = self.reader.refresh().foretell(end, event)
        stored = "nothing was appended"
        if not outcome.refused:
            place = self._writer.append([event]).places[0]
            outcome = self.outcome(*place)
            stored = f"it stands in the log at governance offset {place[2]} and changes nothing"
        if outcome.refused and not (retry and outcome is Outcome.VERSION_CONFLICT):
            raise InvalidRequest(
                f"{fields['type']} by {fields['actor']!r} is refused as {outcome.value}: "
                f"{outcome.reason}; {stored}"
            )
        return outcome

    def other_ends(self) -> dict[str, list[int]]:
        """The ends of the topics that no label depends on, as a tag keeps them."""
        topics = (Topic.FEEDBACK, Topic.ANNOTATIONS, Topic.SIGNALS, Topic.QUARANTINE)
        return {topic.value: self.dataset.log.ends(topic) for topic in topics}
