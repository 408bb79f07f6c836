"""Frozen splits, and the versions of the test labels.

A record's split is the first one that was given to it, and no label event moves it: the fold sees
to that. What may change is what the items of the test split are labelled as. Each time it does, the
test labels get a new name: `test-v1`, `test-v2`, ... A number is never used twice, even when a
rollback brings earlier test labels back, unless the base has the very same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ledger.core.events import VersionTagged
from ledger.tally import Tally

TEST = "test"
"""The split whose labels make a test version."""
_NUMBERED = re.compile(r"test-v([1-9][0-9]{0,8})")


def test_version(
    splits: Mapping[str, int],
    tally: Tally,
    base: VersionTagged | None,
    tagged: Iterable[VersionTagged],
) -> str | None:
    """The name of a version's test labels; None if it has no test item.

    Args:
        splits: how many items each split has.
        tally: what differs from the base, labels mapped forward.
        base: the version before.
        tagged: every version there is: their numbers are taken.
    """
    if not splits.get(TEST):
        return None
    if base is not None and base.test_version is not None and not tally.of_split(TEST):
        return base.test_version
    names = (_NUMBERED.fullmatch(tag.test_version or "") for tag in tagged)
    return f"test-v{max((int(name[1]) for name in names if name), default=0) + 1}"


def test_note(old: VersionTagged, new: VersionTagged) -> str | None:
    """What a comparison of two versions has to say of their test labels; None if it is nothing."""
    if old.test_version == new.test_version:
        return None
    named = [tag.test_version or "no named test labels" for tag in (old, new)]
    return (
        f"{old.name} was tested on {named[0]}, {new.name} on {named[1]}: results on the test split "
        "are not comparable unless both are measured on the same test labels"
    )
