"""What is wrong with a patch: every bad line is counted, and the first ones are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ledger.errors import InvalidRequest

SHOWN_MAX = 20
_KEPT_MAX = 50 * SHOWN_MAX


class Problem(NamedTuple):
    """One bad line: its number (0 where the edit comes from no file), the item, and the rule with
    what it expects and what was found.
    """

    line: int
    item_id: str
    text: str

    def told(self, name: str) -> str:
        """In words, with the file's name in front."""
        where = f"{name}, line {self.line}" if self.line else name
        return (
            f"{where}, id {self.item_id!r}: {self.text}"
            if self.item_id
            else (f"{where}: {self.text}")
        )


class BadPatch(InvalidRequest):
    """A patch that can't be: `problems` are the first `SHOWN_MAX` of `count` bad lines."""

    def __init__(self, name: str, problems: list[Problem], count: int) -> None:
        more = f"; {count - 1} more lines are bad" if count > 1 else ""
        super().__init__(f"{problems[0].told(name)}{more}. Nothing was appended")
        self.name = name
        self.problems = problems
        self.count = count


class Problems:
    """Gathers what is wrong, in bounded memory.

    Args:
        name: what the edits come from, such as a file's name.
        lines: the line of each item, where they come from a file.
    """

    def __init__(self, name: str = "the patch", lines: Mapping[str, int] | None = None) -> None:
        self.name = name
        self.lines: Mapping[str, int] = {} if lines is None else lines
        self.count = 0
        self.items: set[str] = set()
        """The items that something is wrong with."""
        self._first: list[Problem] = []

    def add(self, text: str, item_id: str = "", line: int | None = None) -> None:
        """One more bad line; by default the item's."""
        self.count += 1
        if item_id:
            self.items.add(item_id)
        number = self.lines.get(item_id, 0) if line is None else line
        self._first.append(Problem(number, item_id, text))
        if len(self._first) > _KEPT_MAX:
            self._trim()

    @property
    def first(self) -> list[Problem]:
        """The first of them, by line."""
        self._trim()
        return list(self._first)

    def refuse(self) -> None:
        """Raise what was gathered, if anything was.

        Raises:
            BadPatch: names the first bad lines and counts all.
        """
        if self.count:
            raise BadPatch(self.name, self.first, self.count)

    def _trim(self) -> None:
        self._first.sort(key=lambda each: each.line)  # stable: without lines the order found
        del self._first[SHOWN_MAX:]
