"""`errata model`: say what a model was trained on, and look it up."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ledger.cli import (
    acting,
    as_json,
    note,
    open_ledger,
    print_fields,
    print_json,
    print_table,
    shared,
    who,
)
from ledger.errors import InvalidRequest
from ledger.lineage import Lineage, Stamp


@click.group()
@shared
def model() -> None:
    """Register models, and show what each was trained on.

    A model's lineage stamp names its labels by version and hash, its data and configuration by
    hash, and its metrics.
    """


@model.command()
@shared
@click.argument("name")
@click.option("--labels", required=True, metavar="VERSION", help="The labels it was trained on.")
@click.option("--split-version", help="Of the test labels [default: that of the labels].")
@click.option("--data", metavar="FILE|SHA256", help="The raw data: a file is hashed.")
@click.option("--config", metavar="FILE|SHA256", help="The training configuration, likewise.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="Measured; more is better."
)
@click.option("--base", metavar="MODEL", help="The model that it follows.")
@click.option("--notes", help="Anything else.")
@acting
@as_json
def register(
    *,
    name: str,
    labels: str,
    split_version: str | None,
    data: str | None,
    config: str | None,
    metrics: tuple[str, ...],
    base: str | None,
    notes: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Say that a model was trained. Its name is given once."""
    stamp = Lineage(open_ledger()).register(
        name,
        labels=labels,
        split_version=split_version,
        data=data,
        config=config,
        metrics=_metrics(metrics),
        base=base,
        notes=notes,
        actor=who(actor),
    )
    if as_json:
        print_json(stamp.as_dict())
    else:
        print_fields(_shown(stamp))


@model.command()
@shared
@click.argument("name", required=False)
@as_json
def show(*, name: str | None, as_json: bool) -> None:
    """Show a model's lineage stamp, and what became of its labels since.

    Without NAME, the model that was registered last.
    """
    lineage = Lineage(open_ledger())
    stamp = lineage.stamp(name)
    quality = lineage.quality(stamp.model.name)
    if as_json:
        print_json({**stamp.as_dict(), "label_quality": quality.as_dict()})
        return
    causes = ", ".join(f"{count} by {cause}" for cause, count in quality.by_cause.items())
    changed = f"{quality.labels_changed} of its labels"
    since = [
        ("items", str(quality.items)),
        ("changed since", changed + (f" ({causes})" if causes else "")),
        ("correction rate", f"{quality.correction_rate:.2%} of its items since"),
        ("open corrections", str(quality.open_corrections)),
    ]
    print_fields([*_shown(stamp), *since])


@model.command(name="list")
@shared
@as_json
def list_(*, as_json: bool) -> None:
    """List the models in the order in which they were registered."""
    lineage = Lineage(open_ledger())
    stamps = [lineage.stamp(name) for name in lineage.models()]
    if as_json:
        for each in stamps:
            print_json(each.as_dict())
        return
    if not stamps:
        note("no model is registered")
        return
    rows = [
        (
            each.model.name,
            each.model.label_version,
            each.model.split_version or "-",
            _text(each.model.metrics) or "-",
            each.model.base or "-",
            each.model.actor,
        )
        for each in stamps
    ]
    print_table(rows, ["model", "labels", "test labels", "metrics", "base", "by"])


def _shown(stamp: Stamp) -> list[tuple[str, str]]:
    fields = stamp.as_dict() | {"metrics": _text(stamp.model.metrics)}
    return [(name.replace("_", " "), value) for name, value in fields.items() if value]


def _text(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(metrics.items()))


def _metrics(given: tuple[str, ...]) -> dict[str, float]:
    """Each `name=number`."""
    found: dict[str, float] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not name.strip() or not equals or number is None:
            raise InvalidRequest(f"metric {text!r} is not NAME=NUMBER, such as f1=0.92")
        if name in found:
            raise InvalidRequest(f"metric {name!r} is given twice")
        found[name] = number
    return found
