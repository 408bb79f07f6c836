"""The gate: are the labels at a position good enough to train on, or to deploy a model on?

Each check measures one thing and holds it against a threshold of the contract that is in force now;
what is measured is what stood at the position. "Now" in an overdue correction is the position's
highest timestamp, so that the same question has the same answer whenever it is asked. A check whose
threshold the contract does not set, or that has nothing to compare, passes nothing and fails
nothing. A waiver that was granted for a version lets it pass the check of that name.

After a release the same checks may take it back: where the contract sets `auto_rollback` to 1, a
version that fails is rolled back to its base, if it is the newest one and still stands. The
rollback is an event like any other, and takes the second person that the contract asks for.

    from ledger import Ledger
    from ledger.gating import Gate

    verdict = Gate(Ledger.open("sqlite:///reviews.db", "reviews")).judge("labels-v1.3")
    verdict.passed, [check.name for check in verdict.failed]

Service levels are seconds by state: `proposed` (or `pending`, as people say) and `escalated`.
"""

from ledger.gating.gate import Gate
from ledger.gating.verdict import Check, TakenBack, Verdict

__all__ = ["Check", "Gate", "TakenBack", "Verdict"]
