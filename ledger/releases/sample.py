"""The double-annotated sample: items that two people labelled apart, and how far they agree.

Cohen's kappa is the agreement beyond what two annotators with these habits would reach by chance
(J. Cohen, A coefficient of agreement for nominal scales, 1960), computed by NLTK. Where different
pairs of people share the sample, it is the mean of the pairs' kappas, weighted by their items.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ledger.door import read_line
from ledger.errors import ConfigurationError, InvalidRequest

ITEMS_MIN = 50
"""A bound of the contract is measured on so many items at least."""
_KEYS = {"id", "annotator", "label"}


@dataclass(frozen=True)
class Sample:
    """For each item of the sample the two annotators with their labels, by the annotator's name."""

    labels: Mapping[str, tuple[tuple[str, str], tuple[str, str]]]

    @property
    def classes(self) -> frozenset[str]:
        """Every label that somebody gave."""
        return frozenset(label for pair in self.labels.values() for _, label in pair)


class Agreement(NamedTuple):
    """How far two annotators agree: the share of items, and Cohen's kappa."""

    items: int
    share: float
    kappa: float


def read_sample(path: Path) -> Sample:
    """Read JSON lines `{"id", "annotator", "label"}`, two for each item.

    Raises:
        InvalidRequest: names the file, the line and the rule.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            _take(found, line, f"{path} line {number}")
    for item_id, labels in found.items():
        if len(labels) != 2:
            raise InvalidRequest(
                f"{path}: item {item_id!r} was labelled by {len(labels)} annotators; a sample has "
                "exactly two for each item"
            )
    if not found:
        raise InvalidRequest(f"{path} holds no line; leave --sample out, or give a sample")
    pairs = {item_id: tuple(sorted(labels.items())) for item_id, labels in sorted(found.items())}
    return Sample({name: (pair[0], pair[1]) for name, pair in pairs.items()})


def _take(found: dict[str, dict[str, str]], line: bytes, where: str) -> None:
    try:
        fields: dict[str, Any] = read_line(line)
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error}") from error
    if fields.keys() != _KEYS or not all(isinstance(f, str) and f for f in fields.values()):
        raise InvalidRequest(
            f'{where}: a line is {{"id": ..., "annotator": ..., "label": ...}}, none empty; '
            f"it has {', '.join(sorted(fields)) or 'nothing'}"
        )
    labels = found[fields["id"]]
    if fields["annotator"] in labels:
        raise InvalidRequest(
            f"{where}: annotator {fields['annotator']!r} labelled item {fields['id']!r} already"
        )
    labels[fields["annotator"]] = fields["label"]


def agreement(sample: Sample) -> Agreement:
    """The agreement of a sample.

    Raises:
        ConfigurationError: the extra `releases` is missing.
    """
    pairs: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for item_id, ((one, label), (two, other)) in sample.labels.items():
        pairs[one, two].append((item_id, label, other))
    count = len(sample.labels)
    agreed = sum(one == two for said in pairs.values() for _, one, two in said)
    kappa = sum(_kappa(said) * len(said) for _, said in sorted(pairs.items())) / count
    return Agreement(count, agreed / count, kappa)


def _kappa(said: list[tuple[str, str, str]]) -> float:
    try:
        from nltk.metrics.agreement import AnnotationTask
    except ImportError as error:
        raise ConfigurationError(
            "measuring agreement needs the extra `releases`: pip install 'errata[releases]'"
        ) from error
    if len({label for _, *labels in said for label in labels}) == 1:
        return 1.0  # one class only: chance alone would agree as well, and kappa is 0/0
    triples = [("1", item, label) for item, label, _ in said]
    triples += [("2", item, label) for item, _, label in said]
    task: Any = AnnotationTask(data=triples)
    return float(task.kappa())
