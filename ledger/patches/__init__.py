"""Patches: many corrections from a file, checked, proposed, reviewed and applied as one thing.

from ledger import Ledger
from ledger.patches import Patches, read_patch

with open("edits.jsonl", "rb") as file:
    patch = read_patch(file, "edits.jsonl")
patches = Patches(Ledger.open("sqlite:///reviews.db", dataset="reviews"))
patch_id = patches.propose(patch.edits, problems=patch.problems, actor="ann")
patches.settle(patch_id, "accept", actor="bob")
"""

from ledger.patches.checking import Delta
from ledger.patches.edit import Edit, digest
from ledger.patches.frames import Patches, Settled
from ledger.patches.problems import BadPatch, Problem, Problems
from ledger.patches.reading import PatchFile, read_patch
from ledger.patches.standing import Standing

__all__ = [
    "BadPatch",
    "Delta",
    "Edit",
    "PatchFile",
    "Patches",
    "Problem",
    "Problems",
    "Settled",
    "Standing",
    "digest",
    "read_patch",
]
