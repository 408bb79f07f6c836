"""The labeling contract as people change it: mapping files, dry runs, history, relabelling.

`Contracting` is the way in; `change_of` and `read` make a change of objects or files. What a change
means is settled in `ledger.core.contract`; here is what may be asked for, and what it would do.
"""

from ledger.contracts.changing import Contracting
from ledger.contracts.files import Change, change_of, read

__all__ = ["Change", "Contracting", "change_of", "read"]
