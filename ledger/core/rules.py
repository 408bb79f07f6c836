"""The grammar of split rules: which items of a class become which part.

    rule       = conjunction, { "or", conjunction } ;
    conjunction = negation, { "and", negation } ;
    negation   = "not", negation | "(", rule, ")" | comparison ;
    comparison = operand, ( "<" | "<=" | ">" | ">=" | "==" | "!=" ), operand ;
    operand    = number | string in ' or " | attribute name ;

Rules are parsed, never evaluated as code, and their length and depth are bounded. Logic has three
values (Kleene): a comparison with a missing attribute, or of a number with a string, is unknown,
and unknown matches nothing. What parses must never change, so nothing here asks Python's Unicode
tables: digits and spaces are ASCII, and any character beyond ASCII may stand in a name.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

LENGTH_MAX = 2_000
DEPTH_MAX = 32

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?
          (?![A-Za-z0-9_.\x80-\U0010ffff]))
      | (?P<string>'[^']*'|"[^"]*")
      | (?P<compare><=|>=|==|!=|<|>)
      | (?P<bracket>[()])
      | (?P<name>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_.\x80-\U0010ffff]*)""",
    re.VERBOSE,
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """The value of a named attribute of the item."""

    name: str


Operand = float | str | Attribute


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of two operands."""

    left: Operand
    compare: str
    right: Operand


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    inner: Rule


@dataclass(frozen=True, slots=True)
class Junction:
    """Several rules joined by the same word."""

    word: Literal["and", "or"]
    parts: tuple[Rule, ...]


Rule = Comparison | Not | Junction


class RuleError(ValueError):
    """A rule that the grammar refuses; the message names the column, counted from 1."""


def matches(rule: Rule, attributes: Mapping[str, float | str]) -> bool | None:
    """Whether the rule holds for these attributes; None is unknown."""
    match rule:
        case Comparison(left, compare, right):
            return _compare(_value(left, attributes), compare, _value(right, attributes))
        case Not(inner):
            value = matches(inner, attributes)
            return None if value is None else not value
        case Junction(word, parts):
            values = [matches(part, attributes) for part in parts]
            decisive = word == "or"
            if decisive in values:
                return decisive
            return None if None in values else not decisive


def comparisons(rule: Rule) -> Iterator[Comparison]:
    """Every comparison in a rule."""
    match rule:
        case Comparison():
            yield rule
        case Not(inner):
            yield from comparisons(inner)
        case Junction(_, parts):
            for part in parts:
                yield from comparisons(part)


def _value(operand: Operand, attributes: Mapping[str, float | str]) -> float | str | None:
    return attributes.get(operand.name) if isinstance(operand, Attribute) else operand


def _compare(left: float | str | None, compare: str, right: float | str | None) -> bool | None:
    if left is None or right is None or isinstance(left, str) != isinstance(right, str):
        return None
    return _COMPARE[compare](left, right)


@lru_cache(maxsize=4096)
def parse(text: str) -> Rule:
    """Parse a rule.

    Raises:
        RuleError: names the rule, the column and what was expected there.
    """
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over the tokens `(column, kind, text)`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self.next = 0
        if len(text) > LENGTH_MAX:
            raise RuleError(f"rule of {len(text)} characters: at most {LENGTH_MAX} are allowed")
        self.tokens: list[tuple[int, str, str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self.error(at + 1, f"{text[at]!r} is not part of a rule")
            if found.lastgroup != "space":
                self.tokens.append((at + 1, str(found.lastgroup), found.group()))
            at = found.end()
        self.tokens.append((len(text) + 1, "end", "the end"))

    def error(self, column: int, problem: str) -> RuleError:
        return RuleError(f"rule {self.text!r}, column {column}: {problem}")

    def whole(self) -> Rule:
        rule = self.junction("or")
        column, kind, token = self.tokens[self.next]
        if kind == "compare":
            raise self.error(column, f"one comparison at a time; write 'and' before {token!r}")
        if kind != "end":
            raise self.error(column, f"expected 'and', 'or' or the end, found {token!r}")
        return rule

    def take(self, *texts: str) -> bool:
        if self.tokens[self.next][2] in texts and self.tokens[self.next][1] != "string":
            self.next += 1
            return True
        return False

    def junction(self, word: Literal["and", "or"]) -> Rule:
        parts = [self.negation() if word == "and" else self.junction("and")]
        while self.take(word):
            parts.append(self.negation() if word == "and" else self.junction("and"))
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def negation(self) -> Rule:
        column = self.tokens[self.next][0]
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.error(column, f"nested deeper than {DEPTH_MAX}")
        if self.take("not"):
            rule: Rule = Not(self.negation())
        elif self.take("("):
            rule = self.junction("or")
            if not self.take(")"):
                end, _, token = self.tokens[self.next]
                raise self.error(
                    end, f"expected ')' for the '(' in column {column}, found {token!r}"
                )
        else:
            rule = self.comparison()
        self.depth -= 1
        return rule

    def comparison(self) -> Rule:
        left = self.operand()
        column, kind, token = self.tokens[self.next]
        if kind != "compare":
            raise self.error(column, f"expected a comparison (< <= > >= == !=), found {token!r}")
        self.next += 1
        return Comparison(left, token, self.operand())

    def operand(self) -> Operand:
        column, kind, token = self.tokens[self.next]
        self.next += 1
        if kind == "number":
            number = float(token)
            if number in (float("inf"), float("-inf")):
                raise self.error(column, f"{token} is too large for a number")
            return number
        if kind == "string":
            return token[1:-1]
        if kind == "name" and token not in ("and", "or", "not"):
            return Attribute(token)
        raise self.error(column, f"expected an attribute, a number or a string, found {token!r}")
