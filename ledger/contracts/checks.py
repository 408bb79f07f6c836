"""What a contract change may not ask for, though the fold would do something with it.

The fold takes a change at its word: a key that is no class does nothing, a target that is missing
is made. A person who writes that has made a mistake, and is told before anything is written. What
a later change can put right is a remark; what it can't, or what means two things, is refused.

Settled here:

- In one step no name is both old and new (`{"rename": {"a": "b", "b": "c"}}`, or two that swap):
  whether the steps follow each other or not, readers differ. Two changes say it plainly.
- A rename onto a class that stays is a merge and must say so; a merge goes into a class that is
  there, or is added in the same change.
- A part of a split is a new class, or the class itself.
- Roles name two admins, for governing takes two once roles are named.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import dropwhile
from typing import Any

from ledger.contracts import coverage
from ledger.contracts.files import Change
from ledger.core import rules
from ledger.core.contract import EVERYBODY, ROLES, Contract
from ledger.errors import InvalidRequest
from ledger.service_levels import NAMES as SERVICE_LEVELS
from ledger.thresholds import THRESHOLDS

_SHOWN_MAX = 12


def check(change: Change, contract: Contract) -> None:
    """Refuse a change that a person can't mean.

    Args:
        change: what is asked for.
        contract: what it changes, the one in force.

    Raises:
        InvalidRequest: names what is wrong and what to write instead.
    """
    problems = _of_policy(change, contract) if change.of_policy else _of_schema(change, contract)
    for problem in problems:
        raise InvalidRequest(f"{', '.join(change.names)}: {problem}" if change.names else problem)


def _of_schema(change: Change, contract: Contract) -> Iterator[str]:
    fields = change.fields
    rename, merge = fields.get("rename", {}), fields.get("merge", {})
    added = {each["name"] for each in fields.get("add", ())}
    yield from _circles(rename, merge)
    yield from _renames(rename, contract)
    classes = dict.fromkeys(rename.get(name, name) for name in contract.classes)
    yield from _merges(merge, classes, rename, added)
    classes = dict.fromkeys([*(name for name in classes if name not in merge), *merge.values()])
    moved = {**rename, **merge}
    split: Mapping[str, Mapping[str, str]] = fields.get("split", {})
    yield from _splits(split, classes, moved)
    classes = dict.fromkeys(
        [
            *(name for name in classes if name not in split),
            *(part for parts in split.values() for part in parts),
        ]
    )
    yield from _adds(fields.get("add", ()), contract, {*rename, *merge, *split}, classes)
    classes |= dict.fromkeys(added)
    yield from _deprecates(fields.get("deprecate", ()), contract, classes, moved)
    for name in added & set(fields.get("deprecate", ())):
        yield f"{name!r} is added and deprecated in one change"


def _circles(rename: Mapping[str, str], merge: Mapping[str, str]) -> Iterator[str]:
    """Names that lead back to where they started, over both steps."""
    follow = {**merge, **rename}
    seen = set[str]()
    for start in [*rename, *merge]:
        way, name = dict[str, None](), start  # each name is passed once, however long the ways are
        while name in follow and name not in seen:
            seen.add(name)
            way[name] = None
            name = follow[name]
        if name in way:
            circle = [*dropwhile(lambda each, first=name: each != first, way), name]
            shown = " -> ".join(map(repr, circle))
            yield f"the mapping goes in a circle: {shown}; say what each class becomes at last"


def _renames(rename: Mapping[str, str], contract: Contract) -> Iterator[str]:
    by_target: dict[str, str] = {}
    for old, new in rename.items():
        if old not in contract.classes:
            yield f"rename of {old!r}: {_no_class(old, contract.classes)}"
        if new in rename:
            yield _both("rename", new)
        if new in contract.classes:
            yield f"rename of {old!r} to {new!r}, which is a class already: that is a merge; " + (
                f'write {{"merge": {{"{old}": "{new}"}}}}'
            )
        if new in by_target:
            other = by_target[new]
            yield f"rename of both {other!r} and {old!r} to {new!r}: that is a merge"
        by_target[new] = old


def _merges(
    merge: Mapping[str, str], classes: Collection[str], rename: Mapping[str, str], added: set[str]
) -> Iterator[str]:
    for old, new in merge.items():
        if old not in classes:
            yield f"merge of {old!r}: {_no_class(old, classes, rename)}"
        if new in merge:
            yield _both("merge", new)
        if new not in classes and new not in added:
            yield (
                f'merge of {old!r} into {new!r}: to make it, add it in the same change, {{"add": '
                f'["{new}"]}}; as it is, {_no_class(new, classes, rename)}'
            )


def _splits(
    split: Mapping[str, Mapping[str, str]], classes: Collection[str], moved: Mapping[str, str]
) -> Iterator[str]:
    known, made_by = classes, dict[str, str]()
    for label, parts in split.items():
        if label not in known:
            yield f"split of {label!r}: {_no_class(label, classes, moved)}"
        for part in parts:
            if part in known and part != label:
                yield (
                    f"split of {label!r} into {part!r}, which is a class already and means "
                    "something else: give the part a new name, and merge it in a later change"
                )
            if part in made_by:
                yield f"split of both {made_by[part]!r} and {label!r} into {part!r}: name two parts"
            made_by[part] = label
        unsound = coverage.problem({part: rules.parse(rule) for part, rule in parts.items()})
        if unsound is not None:
            yield f"split of {label!r}: {unsound}"


def _adds(
    add: Iterable[Mapping[str, Any]],
    contract: Contract,
    gone: Collection[str],
    classes: Collection[str],
) -> Iterator[str]:
    for each in add:
        name = each["name"]
        state = contract.classes.get(name)
        if name in gone and name not in classes:
            yield f"{name!r} goes in this change and is added in it: name the new class otherwise"
        elif state is not None and name in classes and not state.deprecated:
            same = all(
                each.get(key) in (None, getattr(state, key)) for key in ("meaning", "anchor")
            )
            if same:
                yield f"add of {name!r}: it is a class already"


def _deprecates(
    deprecate: Iterable[str], contract: Contract, classes: Collection[str], moved: Mapping[str, str]
) -> Iterator[str]:
    for name in deprecate:
        if name not in classes:
            yield f"deprecate of {name!r}: {_no_class(name, classes, moved)}"
        elif name in contract.classes and contract.classes[name].deprecated:
            yield f"deprecate of {name!r}: it is deprecated already"


def _both(step: str, name: str) -> str:
    return (
        f"{name!r} is an old and a new name of one {step}: make two changes, of which the first "
        "frees the name"
    )


def _no_class(name: str, classes: Iterable[str], moved: Mapping[str, str] | None = None) -> str:
    """That there is no such class, and what may be meant."""
    known = list(dict.fromkeys(classes))
    if moved and name in moved:
        return f"the same change makes {name!r} {moved[name]!r} before that: name it so"
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"there is no class {name!r}; is {close[0]!r} meant?"
    shown = ", ".join(map(repr, known[:_SHOWN_MAX])) or "none yet"
    more = len(known) - _SHOWN_MAX
    return f"there is no class {name!r}; there are: {shown}{f' and {more} more' * (more > 0)}"


def _of_policy(change: Change, contract: Contract) -> Iterator[str]:
    fields = change.fields
    if "roles" in fields:
        yield from _roles(fields["roles"])
    for name in fields.get("expert_classes", ()):
        if name not in contract.classes:
            yield f"expert_classes: {_no_class(name, contract.classes)}"
    for name, value in fields.get("thresholds", {}).items():
        if name not in THRESHOLDS:
            close = difflib.get_close_matches(name, list(THRESHOLDS), 1)
            meant = f"is {close[0]!r} meant? " if close else ""
            yield f"thresholds: {name!r} is none; {meant}they are {', '.join(THRESHOLDS)}"
        elif THRESHOLDS[name].meaning.startswith("the share") and not 0 <= value <= 1:
            yield f"thresholds: {name} is {value:g}; it bounds a share, between 0 and 1"
        elif not value >= -1 or (value < 0 and name != "agreement_min"):
            yield f"thresholds: {name} is {value:g}, which is below 0"
    for name, value in fields.get("service_levels", {}).items():
        if name not in SERVICE_LEVELS:
            known = ", ".join(SERVICE_LEVELS)
            yield f"service_levels: {name!r} is no state that a correction waits in: {known}"
        elif value <= 0:
            yield f"service_levels: {name} is {value:g}; give seconds, more than 0"
    if all(_present(contract, key) == _comparable(key, value) for key, value in fields.items()):
        yield "this is the policy in force: nothing is to change"


def _roles(roles: Mapping[str, list[str]]) -> Iterator[str]:
    for role in roles:
        if role not in ROLES:
            yield f"roles: {role!r} is none; the roles are {', '.join(ROLES)}"
    admins = dict.fromkeys(roles.get("admin", ()))
    if roles and EVERYBODY not in admins and len(admins) < 2:
        who = f"only {next(iter(admins))!r}" if admins else "no one"
        yield (
            f"roles: {who} is an admin, and once roles are named governing takes two: nobody could "
            "change the contract, tag or roll back ever again. Name two admins"
        )


def _present(contract: Contract, key: str) -> Any:
    return _comparable(key, getattr(contract, key))


def _comparable(key: str, value: Any) -> Any:
    if key == "expert_classes":
        return frozenset(value)
    if key == "roles":
        return {role: sorted(set(actors)) for role, actors in value.items()}
    return value


def remarks(change: Change, contract: Contract, after: Contract) -> list[str]:
    """What a change brings about that its author may not have in mind.

    Args:
        change: what is asked for; it was checked.
        contract: the one in force.
        after: the one that the change makes.
    """
    return [*_about_schema(change, contract), *_about_policy(change, contract, after)]


def _about_schema(change: Change, contract: Contract) -> Iterator[str]:
    for old, new in change.fields.get("merge", {}).items():
        state = contract.classes.get(new)
        if state is not None and state.deprecated:
            yield f"{new!r} is deprecated, and items of {old!r} get it; none may be given it later"
    gone = [name for name in change.fields.get("deprecate", ()) if name in contract.expert_classes]
    for name in gone:
        yield f"{name!r} stays an expert class: corrections away from it take an expert"
    gone = [name for name in change.fields.get("split", ()) if contract.expert(name)]
    for name in gone:
        yield f"every part of {name!r} is an expert class, as it is"


def _about_policy(change: Change, contract: Contract, after: Contract) -> Iterator[str]:
    if not change.of_policy:
        return
    for key in ("thresholds", "service_levels", "roles"):
        gone = sorted(getattr(contract, key).keys() - getattr(after, key).keys())
        if gone and (key != "roles" or after.names_roles):
            yield f"{key} are replaced as a whole: {', '.join(gone)} is no longer among them"
    if "roles" in change.fields and not after.names_roles:
        yield "no roles are named any more: everybody may review and govern"
        return
    if not after.names_roles:
        return
    experts, reviewers = (after.roles.get(role, ()) for role in ("expert", "reviewer"))
    deciding = {*experts, *reviewers}
    if not experts:
        what = "corrections of expert classes and " if after.expert_classes else ""
        yield f"there is no expert: {what}escalated corrections can't be settled"
        if EVERYBODY not in deciding and len(deciding) < after.approvals_required:
            yield (
                f"{len(deciding)} may review and {after.approvals_required} must agree: no "
                "correction can be accepted"
            )
    if after.roles.get("proposer") == ():
        yield "nobody is a proposer: no item can be registered and no correction made"
