"""The demo, step by step: register, propose, review, tag, rename, roll back, rebuild and prove.

Its reviewers are rules, and say so: `alex` accepts what at least 80 % of an item's judges say;
`hasty` accepts everything, which is what the rollback is there for.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ledger.cli import note, print_table, settings, shared
from ledger.errors import InvalidRequest, LedgerError
from ledger.ledger import Ledger
from ledger.reading import Proof
from ledger.settings import Settings
from ledger.snapshot import Snapshot
from producers.demo.data import Data, Example, digits, movie_reviews

CLEAR, SURE = 0.6, 0.8
FOLDER = Path(".errata")
_CACHE = Path.home() / ".cache" / "errata"
Fields = dict[str, Any]


@click.command()
@shared
@click.option("--offline", is_flag=True, help="Use scikit-learn's digits; fetch nothing.")
def demo(*, offline: bool) -> None:
    """Run the main job on real data, and leave a ledger to play with.

    Without --log the ledger is .errata/demo/log.db, made anew.
    """
    data = (None if offline else movie_reviews(_CACHE)) or digits()
    began = time.perf_counter()
    loaded = settings()
    if "log" not in loaded.model_fields_set:
        loaded = _fresh_ledger(loaded)
    with Ledger.create_from(loaded) as ledger:
        if any(ledger.resolve().labels):
            raise InvalidRequest(
                f"dataset {loaded.dataset!r} at {loaded.log} holds events already; the demo wants "
                "an empty one: name another with --dataset"
            )
        _tell(f"{data.title}, judged by {data.judged_by}, on {loaded.log}")
        _run(ledger, data)
    _prove(loaded, time.perf_counter() - began)


def _fresh_ledger(loaded: Settings) -> Settings:
    dataset = loaded.dataset if "dataset" in loaded.model_fields_set else "demo"
    shutil.rmtree(FOLDER / "demo", ignore_errors=True)
    (FOLDER / "demo").mkdir(parents=True)
    return loaded.model_copy(
        update={"log": f"sqlite:///{FOLDER}/demo/log.db", "dataset": dataset, "registry": None}
    )


def _run(ledger: Ledger, data: Data) -> None:
    _step("register", lambda: _register(ledger, data))
    ledger.tag("labels-v1.0", actor="dana", reviewer="alex", reason="as the source has it")

    doubtful = [each for each in data.examples if _best(each)[1] >= CLEAR and _differs(each)]
    clear = [each for each in doubtful if _best(each)[1] >= SURE]
    weak = doubtful[::2]
    _step(
        f"propose {len(doubtful):,} corrections where at least {CLEAR:.0%} of the judges disagree",
        lambda: ledger.append(list(_proposals(doubtful, "round-1", {}))),
    )
    _step(
        f"review: alex accepts the {len(clear):,} that {SURE:.0%} agree on and keeps the rest",
        lambda: ledger.append(list(_decisions(doubtful, "round-1", "alex"))),
    )
    ledger.tag("labels-v1.1", actor="dana", reviewer="alex", reason="first review")

    _step(
        f"rename {', '.join(f'{old} to {new}' for old, new in data.rename.items())}: one event",
        lambda: _rename(ledger, data),
    )
    ledger.tag("labels-v2.0", actor="dana", reviewer="alex", reason="new names")

    hasty = [each for each in weak if _best(each)[1] < SURE]
    _step(
        f"a bad version: hasty accepts {len(hasty):,} corrections that alex had kept",
        lambda: ledger.append(
            [*_proposals(hasty, "round-2", data.rename), *_decisions(hasty, "round-2", "hasty")]
        ),
    )
    ledger.tag("labels-v2.1", actor="dana", reviewer="hasty", reason="second review")
    _step(
        "roll back to labels-v2.0 with one event",
        lambda: ledger.rollback(
            "labels-v2.0", actor="dana", approved_by="alex", reason="hasty reviewed too fast"
        ),
    )


def _register(ledger: Ledger, data: Data) -> None:
    ledger.add_classes(data.classes, actor="dana", approved_by="alex")
    splits = ("train",) * 8 + ("val", "test")
    ledger.append(
        [
            {
                "type": "ItemRegistered",
                "item_id": each.record_id,
                "record_id": each.record_id,
                "label": each.label,
                "split": splits[number % len(splits)],
                "content": each.content,
                "source": data.title,
                "actor": "dana",
            }
            for number, each in enumerate(data.examples)
        ]
    )


def _best(example: Example) -> tuple[str, float]:
    return max(example.shares.items(), key=lambda share: share[1])


def _differs(example: Example) -> bool:
    return _best(example)[0] != example.label


def _proposals(examples: list[Example], round_: str, rename: Any) -> Iterator[Fields]:
    for each in examples:
        label, share = _best(each)
        yield {
            "type": "CorrectionProposed",
            "correction_id": f"{round_}:{each.record_id}",
            "item_id": each.record_id,
            "record_id": each.record_id,
            "from_label": rename.get(each.label, each.label),
            "to_label": rename.get(label, label),
            "reason": f"{share:.0%} of {each.judges} judges say {label}",
            "source": "annotator",
            "confidence": share,
            "actor": "raters",
        }


def _decisions(examples: list[Example], round_: str, reviewer: str) -> Iterator[Fields]:
    for each in examples:
        sure = reviewer == "hasty" or _best(each)[1] >= SURE
        yield {
            "type": "ReviewDecided",
            "correction_id": f"{round_}:{each.record_id}",
            "item_id": each.record_id,
            "record_id": each.record_id,
            "decision": "accept" if sure else "keep",
            "rationale": f"the rule of reviewer {reviewer}",
            "actor": reviewer,
        }


def _rename(ledger: Ledger, data: Data) -> None:
    change = {
        "type": "SchemaChanged",
        "version": ledger.governance.highest_version + 1,
        "rename": dict(data.rename),
        "actor": "dana",
        "approved_by": "alex",
    }
    ledger.append([change])


def _prove(loaded: Settings, spent_s: float) -> None:
    """Open the log afresh, rebuild every version from it, and hold it against its tag."""
    began = time.perf_counter()
    rows: list[tuple[str, ...]] = []
    with Ledger.from_settings(loaded) as ledger:
        proofs = list(ledger.verify())
        proofs.append(Proof("head", proofs[2].tagged_sha256, ledger.snapshot()))
        before: Snapshot | None = None
        for proof in proofs:
            name, snapshot = proof.name, proof.snapshot
            changed = len(list(before.diff(snapshot))) if before else len(snapshot)
            if not proof.proved:
                raise LedgerError(
                    f"{name} rebuilt is {snapshot.sha256}, expected {proof.tagged_sha256}"
                )
            top = sorted(snapshot.labels().items(), key=lambda count: -count[1])[:3]
            shown = ", ".join(f"{label} {count:,}" for label, count in top)
            rows.append(
                (name, f"{len(snapshot):,}", shown, f"{changed:,}", snapshot.sha256[:12], "proved")
            )
            before = snapshot
    click.echo()
    print_table(rows, ["version", "labelled", "labels", "changed", "sha256", "rebuilt"])
    _tell(
        f"\nEvery version was rebuilt from the log alone ({time.perf_counter() - began:.1f} s) and "
        "has the hash of its tag;\nhead, after the rollback, has the hash of labels-v2.0. "
        f"The story before took {spent_s:.1f} s."
    )
    where = f"--log {loaded.log} --dataset {loaded.dataset}"
    where += f" --registry {loaded.registry}" if loaded.registry else ""
    _tell(
        "\nLook around (with the virtual environment's errata on the path):\n"
        + "".join(
            f"  errata {command} {where}\n"
            for command in (
                "status",
                "tag",
                "diff labels-v1.0 labels-v1.1",
                "release labels-v1.1 --out releases",
                "log --type RolledBack",
                "snapshot --at labels-v1.1 -o labels-v1.1.jsonl",
            )
        )
    )


def _step(what: str, act: Callable[[], object]) -> None:
    began = time.perf_counter()
    act()
    note(f"{time.perf_counter() - began:5.1f} s  {what}")


def _tell(text: str) -> None:
    click.echo(text)
