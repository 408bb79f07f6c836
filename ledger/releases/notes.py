"""Release notes: what was corrected, where, and what that does to metrics. Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ledger.releases.changelog import markdown
from ledger.releases.corrections import by_count
from ledger.releases.facts import Facts
from ledger.releases.words import (
    checks,
    fairness,
    headline,
    metric_line,
    percent,
    plural,
    reasons,
    rollback_line,
    schema_lines,
    split_name,
    split_order,
    verdict,
)

_LISTED_MAX = 10


def notes(facts: Facts) -> str:
    """The notes of one version."""
    parts = (
        *(_opening(facts), _nature(facts), _affected(facts), _schema(facts)),
        *(_fairness(facts), _metrics(facts), _checks(facts), _proof(facts)),
    )
    return "\n".join("\n".join(part) + "\n" for part in map(list, parts) if part)


def _opening(facts: Facts) -> Iterator[str]:
    yield f"# {markdown(facts.name)}"
    yield ""
    yield markdown(headline(facts))
    if facts.tag.reason:
        yield ""
        yield f"> {markdown(facts.tag.reason)}"
    yield ""
    reviewer = facts.tag.reviewer or "nobody"
    yield (
        f"Tagged on {facts.when.date().isoformat()} by {markdown(facts.author)}, approved by "
        f"{markdown(reviewer)}."
    )


def _nature(facts: Facts) -> Iterator[str]:
    found = facts.corrections
    yield "## Nature of the corrections"
    yield ""
    outcomes = ", ".join(f"{count:,} {name}" for name, count in found.outcomes.items())
    yield f"Corrections settled since the base: {outcomes or 'none'}."
    if facts.rollbacks:
        yield ""
        yield from (f"- {markdown(rollback_line(each))}" for each in facts.rollbacks)
    for title, table in (
        ("By source", found.sources),
        ("By reason", found.reasons),
        ("By author", found.authors),
        ("By reviewer", found.reviewers),
    ):
        if table:
            yield from ("", f"{title}:", "")
            yield from _listed(table)
    if facts.changes.transitions and facts.base:
        yield from ("", "By class, before and after:", "")
        pairs = {
            f"{before or 'new'} → {after or 'gone'}": count
            for (before, after), count in facts.changes.transitions.items()
        }
        yield from _listed(pairs)
    if facts.patches:
        yield from ("", "Patches:", "")
        for patch in facts.patches:
            count = plural(found.patches[patch.patch_id], "correction", "corrections")
            named = markdown(patch.file or patch.patch_id)
            yield f"- {named}: {count} applied, sha256 `{patch.sha256}`"


def _listed(table: Mapping[str, int]) -> Iterator[str]:
    rows = list(by_count(table).items())
    for name, count in rows[:_LISTED_MAX]:
        yield f"- {markdown(name)}: {count:,}"
    if rest := rows[_LISTED_MAX:]:
        yield f"- {len(rest)} more: {sum(count for _, count in rest):,}"


def _affected(facts: Facts) -> Iterator[str]:
    yield "## What is affected"
    yield ""
    yield "| split | items | changed | share |"
    yield "|---|---:|---:|---:|"
    changes = facts.changes
    for split in sorted(facts.splits.keys() | changes.by_split.keys(), key=split_order):
        items, changed = facts.splits.get(split, 0), changes.by_split.get(split, 0)
        name = markdown(split_name(split))
        yield f"| {name} | {items:,} | {changed:,} | {percent(changed, items)} |"
    if changes.class_deltas:
        yield from ("", "| class | before | after | difference |", "|---|---:|---:|---:|")
        for name, delta in changes.class_deltas.items():
            before, after = facts.base_counts.get(name, 0), facts.counts.get(name, 0)
            yield f"| {markdown(name)} | {before:,} | {after:,} | {delta:+,} |"
    if facts.corrections.segments:
        yield from ("", "Segments of the applied corrections:", "")
        yield from _listed(facts.corrections.segments)


def _schema(facts: Facts) -> Iterator[str]:
    if not facts.schema_changes or facts.base is None:
        return
    yield "## Changes of the contract"
    yield ""
    yield (
        f"From contract {facts.base_contract_version} to {facts.contract.version}. Labels of the "
        "base were mapped forward before anything was counted; `mappings/` holds the maps."
    )
    yield ""
    for change in facts.schema_changes:
        yield from (f"- {markdown(line)}" for line in schema_lines(change))
    if facts.unresolved:
        yield ""
        yield (
            f"{plural(facts.unresolved, 'item is', 'items are')} left without a class: no rule of "
            "the split matches, or several do. They wait for a new label."
        )


def _fairness(facts: Facts) -> Iterator[str]:
    base = facts.base
    if base is None:
        return
    yield f"## Comparing with {markdown(base.name)}"
    yield ""
    yield f"**{markdown(verdict(facts))}.**"
    yield ""
    for each in fairness(facts):
        yield f"- {markdown(split_name(each.split))}: {markdown(each.words)}"
    yield from (f"- {markdown(reason)}" for reason in reasons(facts))
    yield ""
    yield f"Test labels: {facts.tag.test_version or 'none'}, before: {base.test_version or 'none'}."


def _metrics(facts: Facts) -> Iterator[str]:
    if not facts.measured:
        return
    yield "## Effect on metrics"
    yield ""
    for each in facts.measured:
        yield f"- {markdown(each.model)}: {markdown(metric_line(each))}"


def _checks(facts: Facts) -> Iterator[str]:
    yield "## Checks"
    yield ""
    for check in checks(facts):
        detail = f": {markdown(check.detail)}" if check.detail else ""
        yield f"- {check.name}, {check.status}{detail}"
    if not facts.tag.checks:
        yield "The tag keeps no checks: another program wrote it."


def _proof(facts: Facts) -> Iterator[str]:
    yield "## Proof"
    yield ""
    yield f"`sha256sum labels.jsonl` is `{facts.content_hash}`."
    tools = ", ".join(f"{name} {release}" for name, release in facts.tag.tool_versions.items())
    yield f"Made with {tools or 'tools that the tag does not name'}."
