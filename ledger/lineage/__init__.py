"""Lineage: which model was trained on which labels, and what became of those labels since.

    from ledger import Ledger
    from ledger.lineage import Lineage

    lineage = Lineage(Ledger.open("sqlite:///reviews.db", dataset="reviews"))
    lineage.register("m1", labels="labels-v1.0", metrics={"f1": 0.92}, actor="ann")
    lineage.stamp("m1").content_hash
    lineage.blast_of_correction("c-17").releases

- `models`: registering models, and their lineage stamps.
- `blast`: who saw an old label.
- `changes`: the labels that changed since a version, each with its cause (extra `frames`).
- `evidence`: what that is read from (extra `frames`).
- `retraining`: whether it is time for another model.
"""

from ledger.lineage.blast import Blast
from ledger.lineage.models import Lineage, Stamp
from ledger.lineage.retraining import Cadence

__all__ = ["Blast", "Cadence", "Lineage", "Stamp"]
