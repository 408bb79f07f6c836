"""Going back, and asking why: what a rollback takes back, what the labels would be without some
events or with every open correction accepted, undoing some corrections and keeping every later
good one, and looking for the change that broke something.
"""

from ledger.past.past import Past
from ledger.past.selection import Selection

__all__ = ["Past", "Selection"]
