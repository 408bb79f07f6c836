"""Releases: a position is checked, named, and explained (see `releases`).

candidate, corrections           what differs from the version before, and who made it so
checks, geometry, sample         what has to hold before a tag
tagging, splits                  the tag, its waivers, and the names of test labels
facts, words                     what is to be known of a version, and how it is said
changelog, notes, page, charts   documents made from the facts
files, releases                  a folder of them, and all of this from Python
"""

from ledger.releases.releases import Releases

__all__ = ["Releases"]
