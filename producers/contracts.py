"""`errata contract`: the labeling contract, as it is, was and would be, and its change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ledger.cli import (
    acting,
    as_json,
    at_position,
    note,
    open_ledger,
    print_fields,
    print_json,
    print_line,
    print_table,
    shared,
    who,
)
from ledger.contracts import Change, Contracting, read
from ledger.contracts.common import Remap
from ledger.contracts.preview import Preview
from ledger.contracts.relabel import Counts
from ledger.contracts.versions import ContractDifference, as_fields_of, policy
from ledger.core.contract import Contract
from ledger.errors import InvalidRequest
from ledger.thresholds import THRESHOLDS
from producers.relabelling import unresolved

SHOWN_MAX = 20
"""How many items a person is shown; --json gives all."""

_files = click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
_add = click.option("--add", multiple=True, metavar="CLASS", help="A class to add; repeatable.")


@click.group()
@shared
def contract() -> None:
    """Show and change classes and policy, by two people."""


@contract.command()
@shared
@at_position
@as_json
def show(*, at: str, as_json: bool) -> None:
    """Print the contract at a position.

    That is classes, policy, roles, thresholds with their defaults, and service levels.
    """
    found = Contracting(open_ledger()).at(at)
    if as_json:
        print_json(as_fields_of(found))
        return
    if found.classes:
        states = as_fields_of(found)["classes"]
        print_table(map(_class_cells, states), ["class", "meaning", "anchor", ""])
        click.echo()
    print_fields([("contract version", str(found.version)), *_policy_fields(found)])
    rows = [
        (name, _number(found.thresholds.get(name)), _number(known.default), known.meaning)
        for name, known in THRESHOLDS.items()
    ]
    click.echo()
    print_table(rows, ["threshold", "set to", "default", "bounds"])


def _class_cells(state: Mapping[str, Any]) -> tuple[str, ...]:
    marks = [name for name in ("deprecated", "expert") if state[name]]
    return state["name"], state["meaning"] or "", state["anchor"] or "", ", ".join(marks)


def _policy_fields(found: Contract) -> Iterator[tuple[str, str]]:
    said = policy(found)
    yield "approvals required", str(found.approvals_required)
    roles = [f"{role}: {', '.join(actors)}" for role, actors in said["roles"].items()]
    yield "roles", "\n".join(roles) or "none named: everybody may review and govern"
    yield "expert classes", ", ".join(said["expert_classes"]) or "-"
    levels = [f"{name}: {seconds:g} s" for name, seconds in said["service_levels"].items()]
    yield "service levels", "\n".join(levels) or "-"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


@contract.command()
@shared
@as_json
def history(*, as_json: bool) -> None:
    """List every version of the contract.

    That is who made it, when, what changed, and whether it is in force. A version that a rollback
    took back is void; its number stays taken.
    """
    made = Contracting(open_ledger()).history()
    rows: list[tuple[str, ...]] = []
    for each in made:
        if as_json:
            print_json(
                {
                    **{name: getattr(each, name) for name in _MADE},
                    "change": dict(each.change),
                }
            )
        by = each.actor + (f", {each.approved_by}" if each.approved_by else "")
        said = "; ".join(_said(name, value) for name, value in each.change.items())
        rows.append((str(each.version), each.status, each.occurred_at, by, said or "nothing"))
    if not as_json and rows:
        print_table(rows, ["version", "status", "when", "who", "what"])
    elif not as_json:
        note("the contract was never changed: there is no class")


_MADE = ("version", "status", "kind", "occurred_at", "actor", "approved_by")


def _said(name: str, value: Any) -> str:
    """One part of a change for people."""
    if name == "add":
        return f"add {', '.join(each['name'] for each in value)}"
    if name in ("rename", "merge"):
        return f"{name} {', '.join(f'{old} -> {new}' for old, new in value.items())}"
    if name == "split":
        parts = (
            f"{label} -> {', '.join(f'{part} ({rule})' for part, rule in rules.items())}"
            for label, rules in value.items()
        )
        return f"split {'; '.join(parts)}"
    if name == "deprecate":
        return f"deprecate {', '.join(value)}"
    return f"{name} {json.dumps(value, ensure_ascii=False)}"


@contract.command()
@shared
@click.argument("before")
@click.argument("after", default="head")
@as_json
def diff(*, before: str, after: str, as_json: bool) -> None:
    """Compare the contracts of two positions.

    Each may be a contract version too, such as 2.
    """
    found = Contracting(open_ledger()).diff(before, after)
    if as_json:
        print_json(_diff_fields(found))
        return
    rows = list(_diff_rows(found))
    if rows:
        names = (f"contract {each.version}" for each in (found.before, found.after))
        print_table(rows, ["", *names])
    else:
        note("the contracts are the same")


def _diff_fields(found: ContractDifference) -> dict[str, Any]:
    def sides(pair: tuple[Any, Any]) -> dict[str, Any]:
        return dict(zip(("before", "after"), pair, strict=True))

    return {
        **sides((found.before.version, found.after.version)),
        "classes": [sides((list(bond.old), list(bond.new))) for bond in found.classes],
        "states": {
            name: {key: sides(pair) for key, pair in state.items()}
            for name, state in found.states.items()
        },
        "policy": {name: sides(pair) for name, pair in found.policy.items()},
    }


def _diff_rows(found: ContractDifference) -> Iterator[tuple[str, ...]]:
    for bond in found.classes:
        yield "class", ", ".join(bond.old) or "-", ", ".join(bond.new) or "-"
    for name, state in found.states.items():
        for key, pair in state.items():
            yield f"{key} of {name}", *map(_value, pair)
    for name, pair in found.policy.items():
        yield name, *map(_value, pair)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ({}, []):
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contract.command()
@shared
@_files
@_add
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@click.option("--approved-by", metavar="WHO", help="The second person.")
@acting
@as_json
def apply(
    *,
    files: tuple[Path, ...],
    add: tuple[str, ...],
    dry_run: bool,
    approved_by: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Change the contract as FILES say, all together, as one change.

    A mapping file is JSON with rename, merge, split, add or deprecate; a policy file with
    approvals_required, roles, expert_classes, thresholds or service_levels. Renames come first,
    then merges, then splits. Two people make a change: --as and --approved-by. Items that a split
    leaves without a label are listed, and wait to be labelled (errata contract unresolved).
    """
    change = _read(files, add)
    person = "" if dry_run else who(actor)
    if not dry_run and not approved_by:
        raise click.UsageError("a contract change takes two people: --approved-by WHO")
    desk = Contracting(open_ledger())
    seen = desk.preview(change)
    fields = _policy_change(seen) if change.of_policy else _labels_fields(seen)
    if not dry_run:
        since = seen.before.version
        desk.apply(change, actor=person, approved_by=approved_by or "", since=since)
    if as_json:
        print_json(
            {
                "applied": not dry_run,
                "before": seen.before.version,
                "after": seen.contract.version,
                "remarks": list(seen.remarks),
                **fields,
            }
        )
        return
    if change.of_policy:
        _print_policy(seen, fields)
    else:
        _print_labels(seen, fields)
    for remark in seen.remarks:
        note(f"remark: {remark}")
    number = seen.contract.version
    note("nothing is changed: this was a dry run" if dry_run else f"contract version {number}")


def _read(files: tuple[Path, ...], add: tuple[str, ...]) -> Change:
    if not files and not add:
        raise click.UsageError("give a mapping or a policy file, or --add CLASS")
    return read(files, add)


def _labels_fields(seen: Preview) -> dict[str, Any]:
    """What a change of classes does to labels, JSON-ready."""
    before, after = _by_class(seen.counts_before), _by_class(seen.counts_after)
    names = dict.fromkeys([*seen.before.classes, *seen.contract.classes])
    return {
        "classes": {
            name: {
                "before": sum(before.get(name, {}).values()),
                "after": sum(after.get(name, {}).values()),
                "by_split": {
                    split: {
                        "before": before.get(name, {}).get(split, 0),
                        "after": after.get(name, {}).get(split, 0),
                    }
                    for split in sorted({*before.get(name, {}), *after.get(name, {})})
                },
            }
            for name in names
        },
        "unresolved": [
            {"id": each.item_id, "class": each.label, "matching": list(each.matching)}
            for each in seen.unmatched
        ],
        "remap": seen.remap.as_dict(),
    }


def _by_class(counts: Counts) -> dict[str, dict[str, int]]:
    made: dict[str, dict[str, int]] = {}
    for (name, split), count in counts.items():
        made.setdefault(name, {})[split] = count
    return made


def _print_labels(seen: Preview, fields: Mapping[str, Any]) -> None:
    splits = sorted({split for each in fields["classes"].values() for split in each["by_split"]})
    splits = [] if splits == [""] else splits
    rows: list[tuple[str, ...]] = []
    for name, each in fields["classes"].items():
        here = [each["by_split"].get(split, {"before": 0, "after": 0}) for split in splits]
        rows.append((name + _became(seen, name), *map(_before_after, [each, *here])))
    print_table(rows, ["class", "items", *(split or "no split" for split in splits)])
    unmatched = seen.unmatched
    if unmatched:
        rows = [
            (each.item_id, each.label, ", ".join(each.matching) or "none")
            for each in unmatched[:SHOWN_MAX]
        ]
        click.echo()
        print_table(rows, ["without a label", "class", "rules that hold"])
        if len(unmatched) > SHOWN_MAX:
            note(f"and {len(unmatched) - SHOWN_MAX} more; --json lists all")
        count = "1 item is" if len(unmatched) == 1 else f"{len(unmatched)} items are"
        note(f"{count} left without a label, to be given one: errata correct ITEM --to CLASS")
    if seen.remap != Remap():
        click.echo()
        print_line("to compare with what was measured before:")
        print_line(json.dumps(seen.remap.as_dict(), ensure_ascii=False))


def _became(seen: Preview, name: str) -> str:
    """What a change does to a class itself, to be told behind its name."""
    before, after = seen.before.classes.get(name), seen.contract.classes.get(name)
    if after is None:
        return " (gone)"
    was = before is not None and before.deprecated
    if was != after.deprecated:
        return " (no longer deprecated)" if was else " (deprecated)"
    return "" if before else " (new)"


def _before_after(counts: Mapping[str, int]) -> str:
    before, after = counts["before"], counts["after"]
    return str(before) if before == after else f"{before} -> {after}"


def _policy_change(seen: Preview) -> dict[str, Any]:
    """What a change of policy changes, JSON-ready."""
    before, after = policy(seen.before), policy(seen.contract)
    return {
        "policy": {
            name: {"before": before[name], "after": after[name]}
            for name in before
            if before[name] != after[name]
        }
    }


def _print_policy(seen: Preview, fields: Mapping[str, Any]) -> None:
    changed: Mapping[str, Any] = fields["policy"]
    rows = [(name, _value(each["before"]), _value(each["after"])) for name, each in changed.items()]
    print_table(rows, ["", f"contract {seen.before.version}", f"contract {seen.contract.version}"])


@contract.command()
@shared
@_files
@_add
@as_json
def shadow(*, files: tuple[Path, ...], add: tuple[str, ...], as_json: bool) -> None:
    """List each label that FILES would change.

    Nothing is written. What the labels would be is worked out beside the live ones; `apply` swaps
    it in.
    """
    change = _read(files, add)
    if change.of_policy:
        raise InvalidRequest("a policy changes no label: there is no shadow of it to show")
    seen = Contracting(open_ledger()).preview(change)
    rows: list[tuple[str, str, str]] = []
    for each in seen.difference:
        before, after = (side.label if side else None for side in (each.before, each.after))
        if as_json:
            print_json({"id": each.item_id, "before": before, "after": after})
        else:
            rows.append((each.item_id, before or "-", after or "-"))
    if rows:
        print_table(rows, ["item", "before", "after"])
    count = len(seen.difference)
    note("1 item would differ" if count == 1 else f"{count} items would differ")


contract.add_command(unresolved)
