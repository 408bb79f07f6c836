"""`errata blast` and `errata retrain`: who saw an old label, and when it is time to train again."""

from __future__ import annotations

import click

from ledger.cli import as_json, note, open_ledger, print_json, print_line, print_table, shared
from ledger.lineage import Blast, Lineage

_LISTED_MAX = 50


@click.command()
@shared
@click.option("--correction", metavar="ID", help="Who saw the label that it corrects?")
@click.option("--record", help="The correction's record, where several have one of this id.")
@click.option("--item", metavar="ID", help="Who saw another label than it has now?")
@click.option("--model", metavar="NAME", help="Which labels changed since it was trained?")
@as_json
def blast(
    *,
    correction: str | None,
    record: str | None,
    item: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Tell how far a wrong label reached.

    From a correction or an item to the releases, models and evaluations that saw the old label; or
    from a model to the labels that changed since it was trained, with who changed them and why.
    """
    if sum(each is not None for each in (correction, item, model)) != 1:
        raise click.UsageError("give one of --correction, --item and --model")
    if record is not None and correction is None:
        raise click.UsageError("--record goes with --correction")
    lineage = Lineage(open_ledger())
    if model is not None:
        _of_model(lineage, model, as_json=as_json)
        return
    found = (
        lineage.blast_of_correction(correction, record)
        if correction is not None
        else lineage.blast_of_item(item or "")
    )
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)


def _print(found: Blast) -> None:
    said = found.correction
    if said is not None:
        before, after = said.from_label or "-", said.to_label or "-"
        because = f": {said.reason}" if said.reason else ""
        print_line(f"{found.item_id} {before} -> {after} by {said.actor} ({found.status}){because}")
    print_line(f"{found.item_id} is {found.now}" + (f", split {found.split}" * bool(found.split)))
    rows = [
        (
            version,
            label,
            ", ".join(each.name for each in found.models if each.label_version == version) or "-",
        )
        for version, label in found.releases.items()
    ]
    if not rows:
        note("no version saw the old label")
        return
    print_table(rows, ["version", "label", "models trained on it"])
    for each in found.evaluations:
        metrics = ", ".join(f"{name}={value!r}" for name, value in sorted(each.metrics.items()))
        print_line(f"measured on it: {each.name} ({metrics})")


def _of_model(lineage: Lineage, name: str, *, as_json: bool) -> None:
    stamp, changes = lineage.stamp(name), lineage.changes(name)
    if as_json:
        print_json(
            {
                "model": name,
                "label_version": stamp.model.label_version,
                "changed": len(changes.substantial),
                "by_cause": changes.causes(),
                "by_class": changes.by_class(),
                "by_split": changes.by_split(),
                "contract_versions": list(changes.contract_versions),
                "items": list(changes.items()),
            }
        )
        return
    moves = changes.moves()
    if moves:
        rows = [(before or "-", after or "-", cause, str(n)) for before, after, cause, n in moves]
        print_table(rows, ["before", "after", "cause", "items"])
    listed = list(changes.items(_LISTED_MAX))
    if listed:
        print_line("")
        columns = ("id", "before", "after", "cause", "by", "accepted_by", "reason")
        print_table(
            [[each.get(column, "-") for column in columns] for each in listed],
            ["item", "before", "after", "cause", "by", "accepted by", "why"],
        )
    left = len(changes.substantial) - len(listed)
    if left:
        note(f"and {left} more: --json lists all of them")
    count = len(changes.substantial)
    note(f"{_changed(count)} since {stamp.model.label_version}, which {name} was trained on")


def _changed(count: int) -> str:
    return "1 label changed" if count == 1 else f"{count} labels changed"


@click.command()
@shared
@click.option("--model", metavar="NAME", help="[default: the model that was registered last]")
@as_json
def retrain(*, model: str | None, as_json: bool) -> None:
    """Tell whether enough labels have changed to train again.

    Counts what changed since the model's labels were tagged, beside `retrain_after` of the
    contract, and compares the model with the one that it follows. Exits with 0 either way.
    """
    found = Lineage(open_ledger()).retraining(model)
    if as_json:
        print_json(found.as_dict())
        return
    asked = "no limit is set" if found.after is None else f"due from {found.after:g} on"
    verdict = "train again" if found.due else "not yet"
    print_line(
        f"{_changed(found.changed)} since {found.model.label_version}, which "
        f"{found.model.name} was trained on; {asked}: {verdict}"
    )
    rows = [(name, str(count)) for name, count in found.by_class.items()]
    if rows:
        print_table(rows, ["class", "changed"])
    progress = found.progress
    if progress is None:
        return
    print_line(
        f"{found.model.name} ({found.model.label_version}) beside {progress.base.name} "
        f"({progress.base.label_version}): {progress.comparison.verdict.replace('_', ' ')}"
    )
    table = [
        (name, f"{before!r}", f"{after!r}", f"{progress.change(name):+.4g}")
        for name, (before, after) in progress.metrics.items()
    ]
    if table:
        print_table(table, ["metric", progress.base.name, found.model.name, "change"])
    for reason in progress.comparison.reasons:
        print_line(f"- {reason}")
