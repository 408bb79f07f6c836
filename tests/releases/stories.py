"""Histories of releases, in words: what the tests of this folder ask about."""

from __future__ import annotations

from typing import Any

from ledger import Ledger
from ledger.releases import Releases
from tests.events import item, proposal, schema, vote

Fields = dict[str, Any]
CLASSES = ("cat", "dog", "automobile", "bird")


def split_of(number: int) -> str:
    """Seven of ten are for training, two for validation, one for test."""
    return "train" if number % 10 < 7 else "val" if number % 10 < 9 else "test"


def registered(count: int, classes: tuple[str, ...] = CLASSES) -> list[Fields]:
    """So many images, their classes and splits in turn; one of a hundred has no area."""
    return [
        item(
            f"img_{number:04}.jpg",
            classes[number % len(classes)],
            split=split_of(number),
            attributes={"area": number * 3.0} if number % 100 != 1 else {},
        )
        for number in range(count)
    ]


def ids_in(split: str, label: str, count: int, of: int = 600) -> list[str]:
    """The first images of a class in a split, as `registered` gives them."""
    found = [
        f"img_{number:04}.jpg"
        for number in range(of)
        if split_of(number) == split and CLASSES[number % len(CLASSES)] == label
    ]
    return found[:count]


def fixes(name: str, ids: list[str], old: str, new: str, **more: Any) -> list[Fields]:
    """Corrections by sam, accepted by alex."""
    said = [proposal(f"{name}:{each}", each, old, new, actor="sam", **more) for each in ids]
    return [*said, *(vote(f"{name}:{each}", each, actor="alex") for each in ids)]


def patched(name: str, ids: list[str], old: str, new: str) -> list[Fields]:
    """The same as a patch that is settled as one thing."""
    sha256 = name.encode().hex().ljust(64, "0")[:64]
    file = f"edits-{name}.jsonl"
    opening = {"type": "PatchProposed", "patch_id": name, "sha256": sha256, "count": len(ids)}
    return [
        {**opening, "file": file, "actor": "sam", "reason": "found by triage"},
        *fixes(name, ids, old, new, source="patch", patch_id=name, segment="night"),
    ]


def validation_only(book: Ledger) -> None:
    """`labels-v1.5`, then a patch that fixes twenty validation items: `labels-v1.6`."""
    book.append([schema(1, *CLASSES)])
    book.append(registered(600))
    book.tag("labels-v1.5", actor="sam", reviewer="alex", reason="the frozen base")
    start = list(book.resolve().labels)
    dogs, birds = ids_in("val", "dog", 12), ids_in("val", "bird", 8)
    book.append(patched("v1.5-to-v1.6", dogs, "dog", "cat"))
    book.append(fixes("late", birds, "bird", "dog", source="audit"))
    book.append(
        [
            {
                **{"type": "PatchDecided", "patch_id": "v1.5-to-v1.6", "decision": "accept"},
                **{"start": start, "actor": "alex"},
            }
        ]
    )
    book.tag(
        "labels-v1.6",
        actor="sam",
        reviewer="alex",
        reason="Corrected 20 validation labels found by triage",
        guideline="G-2024-07",
    )


def whole_life(book: Ledger) -> None:
    """On top of that: a model, a rename and a split, test fixes, boxes, and a rollback."""
    validation_only(book)
    model: Fields = {"type": "ModelRegistered", "actor": "sam"}
    book.append([{**model, "name": "m5", "label_version": "labels-v1.5", "metrics": {"f1": 0.81}}])
    new = {"name": "m6", "label_version": "labels-v1.6", "base": "m5"}
    book.append([{**model, **new, "metrics": {"f1": 0.84, "recall": 0.9}}])
    box = {"type": "bbox", "coordinates": [0.0, 0.0, 100.0, 50.0]}
    small = {"type": "bbox", "coordinates": [1.0, 1.0, 20.0, 10.0]}
    book.append(
        [
            item("street", None, split="train", attributes={"width": 640.0, "height": 480.0}),
            item("street#1", "dog", geometry=box),
            item("street#2", "dog", geometry=small),
        ]
    )
    change: Fields = {"type": "SchemaChanged", "version": 2, "actor": "sam", "approved_by": "alex"}
    rules = {"dog_small": "area < 800", "dog_large": "area >= 800"}
    book.append([{**change, "rename": {"automobile": "car"}, "split": {"dog": rules}}])
    Releases(book).waive(
        "labels-v2.0", "unresolved", actor="sam", approved_by="alex", reason="dogs wait"
    )
    book.tag("labels-v2.0", actor="sam", reviewer="alex", reason="sizes of dogs")
    policy: Fields = {"type": "PolicyChanged", "version": 3, "actor": "sam"}
    book.append([{**policy, "approved_by": "alex", "thresholds": {"unresolved_max": 0.05}}])
    birds = ids_in("test", "bird", 3)
    book.append(fixes("test", birds, "bird", "cat", source="feedback", segment="<b>day</b>"))
    book.tag("labels-v2.1", actor="sam", reviewer="alex", reason="three test labels")
    book.append(fixes("hasty", ids_in("train", "bird", 5), "bird", "car", source="feedback"))
    book.tag("labels-v2.2", actor="sam", reviewer="alex", reason="hasty")
    book.rollback("labels-v2.1", actor="sam", approved_by="alex", reason="too fast")
    book.append(fixes("slow", ids_in("train", "bird", 2), "bird", "cat", source="annotator"))
    book.tag("labels-v2.3", actor="sam", reviewer="alex", reason="slowly")
