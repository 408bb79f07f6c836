"""The QA report: one HTML page without a script and without anything from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ledger.errors import ConfigurationError
from ledger.printable import printable
from ledger.releases import charts, words
from ledger.releases.corrections import by_count
from ledger.releases.facts import Facts
from ledger.remap import TRAINING

TEMPLATE = "qa.html.j2"
_SOURCES_MAX = 8
_LINES_MAX = 6
"""It is one page: of more, the notes and the files beside it tell."""


def page(facts: Facts) -> str:
    """The report of one version.

    Raises:
        ConfigurationError: the extra `releases` is missing.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigurationError(
            "the QA report needs the extra `releases`: pip install 'errata[releases]'"
        ) from error
    environment = Environment(
        loader=PackageLoader("ledger.releases", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_on_one_line,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = lambda count: f"{count:,}"
    environment.filters["signed"] = lambda count: f"{count:+,}"
    return environment.get_template(TEMPLATE).render(_shown(facts))


def _on_one_line(value: Any) -> Any:
    """Somebody's words can't hide or turn what stands beside them."""
    return printable(value) if type(value) is str else value


def _shown(facts: Facts) -> Mapping[str, Any]:
    changes = facts.changes
    colours = charts.hues([*facts.contract.classes, *facts.counts, *facts.base_counts])
    for pair in changes.transitions:
        colours.update({name: 0 for name in pair if name and name not in colours})
    before = facts.base_counts if facts.base else None
    fairness = words.fairness(facts)
    checks = words.checks(facts)
    return {
        "facts": facts,
        "headline": words.headline(facts),
        "verdict": facts.comparison.verdict if facts.comparison else None,
        "verdict_words": words.verdict(facts),
        "fairness": fairness,
        "still_fair": [
            words.split_name(each.split)
            for each in fairness
            if each.verdict != "not_fair" and each.split not in TRAINING
        ],
        "reasons": words.reasons(facts),
        "checks": checks,
        "statuses": Counter(check.status for check in checks),
        "changed_share": words.percent(changes.touched, facts.items - _added(facts)),
        "distribution": charts.distribution(before, facts.counts, colours),
        "flows": charts.flows(changes.transitions, colours) if facts.base else None,
        "splits": _splits(facts),
        "outcomes": charts.stacked(facts.corrections.outcomes),
        "sources": _bars(facts.corrections.sources),
        "segments": _bars(facts.corrections.segments),
        "reviewers": _bars(facts.corrections.reviewers),
        "schema_lines": _first(
            line for change in facts.schema_changes for line in words.schema_lines(change)
        ),
        "rollback_lines": _first(words.rollback_line(each) for each in facts.rollbacks),
        "remap_lines": _first(words.remap_lines(facts.remap)),
        "patches": facts.patches[:_LINES_MAX],
        "measured": facts.measured[:_LINES_MAX],
        "metric_line": words.metric_line,
        "split_name": words.split_name,
        "width": charts.WIDTH,
    }


def _first(lines: Iterable[str]) -> list[str]:
    """The first lines, and how many more there are."""
    told = list(lines)
    rest = len(told) - _LINES_MAX
    return told if rest <= 0 else [*told[:_LINES_MAX], f"and {rest:,} more"]


def _added(facts: Facts) -> int:
    return facts.changes.kinds.get("added", 0)


def _splits(facts: Facts) -> list[tuple[charts.Bar, int, str]]:
    """Bars of the splits with their changed part, the number of changed items and its share."""
    changed = facts.changes.by_split
    names = sorted(facts.splits.keys() | changed.keys(), key=words.split_order)
    pairs = {
        name: (facts.splits.get(name, 0), changed.get(name, 0) if facts.base else 0)
        for name in names
    }
    return [
        (bar, pairs[bar.name][1], words.percent(pairs[bar.name][1], bar.items))
        for bar in charts.bars(pairs)
    ]


def _bars(table: Mapping[str, int]) -> list[charts.Bar]:
    rows = list(by_count(table).items())
    shown = dict(rows[:_SOURCES_MAX])
    if rest := rows[_SOURCES_MAX:]:
        shown[f"{len(rest)} more"] = sum(count for _, count in rest)
    return charts.bars({name: (count, 0) for name, count in shown.items()})
