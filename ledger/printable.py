"""Somebody's words as one line that nobody can mistake for a line of ours."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, and what turns the reading direction.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text on one line, with every control character escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
