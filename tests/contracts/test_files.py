"""Mapping and policy files, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import InvalidRequest
from ledger.contracts import change_of, read


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_several_files_are_one_change(tmp_path: Path) -> None:
    """Keys of all of them are joined, in the order of their steps."""
    split = write(tmp_path, "split.json", '{"split": {"dog": {"a": "x < 1", "b": "x >= 1"}}}')
    first = write(tmp_path, "rename.json", '\ufeff{"add": ["ox"], "rename": {"automobile": "car"}}')
    more = write(tmp_path, "more.json", '{"rename": {"hound": "wolf"}, "deprecate": ["cow"]}')
    change = read([split, first, more], add=["bee"])
    assert change.fields == {
        "rename": {"automobile": "car", "hound": "wolf"},
        "split": {"dog": {"a": "x < 1", "b": "x >= 1"}},
        "add": [{"name": "ox"}, {"name": "bee"}],
        "deprecate": ["cow"],
    }
    assert list(change.fields) == ["rename", "split", "add", "deprecate"]
    assert not change.of_policy


WRONG = [
    ("rename: {automobile: car}", "map.json: not JSON: Expecting value at line 1, column 1"),
    ('{"rename": {\n"a" "b"}}', "not JSON: Expecting ':' delimiter at line 2, column 5"),
    (b'{"rename": {"a\xff": "b"}}', "not UTF-8"),
    ('{"rename": {"a": "b", "a": "c"}}', "the key 'a' stands twice"),
    ('["rename"]', "not a JSON object"),
    ("{}", "nothing is to change"),
    ('{"rename": {}}', "nothing is to change"),
    ('{"renames": {"a": "b"}}', "'renames' is no key of a contract change"),
    ('{"rename": ["a"]}', "rename is"),
    ('{"rename": {"a": ""}}', "rename of 'a' is"),
    ('{"merge": {"car": ["sedan"]}}', "merge of 'car' is"),
    ('{"split": {"dog": {}}}', "split of 'dog' names no part"),
    ('{"split": {"dog": {"a": "x <"}}}', "split of 'dog' into 'a': rule 'x <', column 4"),
    ('{"split": {"dog": {"a": "__import__(1)"}}}', "column 11"),
    ('{"split": {"dog": {"a": 1}}}', "split of 'dog' into 'a' is 1"),
    ('{"add": ["a", "a"]}', "add names 'a' twice"),
    ('{"add": [{"name": "a", "colour": "red"}]}', "add has 'colour'"),
    ('{"add": [{"meaning": "a"}]}', "add of a class is null"),
    ('{"add": [{"name": "a", "meaning": "\\ud800"}]}', 'add meaning is "\\ud800": a lone'),
    ('{"rename": {"\\ud800": "b"}}', "rename of a class is"),
    ('{"approvals_required": 0}', "approvals_required is 0"),
    ('{"approvals_required": true}', "approvals_required is true"),
    ('{"thresholds": {"agreement_min": "high"}}', "thresholds of 'agreement_min' is"),
    ('{"thresholds": {"retrain_after": 1' + "0" * 400 + "}}", "larger than any number may be"),
    ('{"roles": {"admin": "ann"}}', "roles is"),
    ('{"add": ["a"], "approvals_required": 2}', "these are two changes"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, expected: str) -> None:
    """File, key, rule and value."""
    with pytest.raises(InvalidRequest) as error:
        read([write(tmp_path, "map.json", text)])
    assert expected in str(error.value)


def test_a_file_that_is_no_file_too_long_or_yaml(tmp_path: Path) -> None:
    """Each in a sentence, and none is read into memory whole."""
    yaml = write(tmp_path, "map.yaml", "rename:\n  a: b\n")
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    for path, expected in (
        (yaml, "mapping files are JSON, not YAML"),
        (large, "longer than 16,777,216 bytes"),
        (tmp_path / "none.json", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(InvalidRequest, match=expected):
            read([path])


def test_two_files_that_disagree() -> None:
    """One class can't be renamed to two; saying the same twice is fine."""
    one, two = ("one", {"rename": {"a": "b"}}), ("two", {"rename": {"a": "c"}})
    with pytest.raises(InvalidRequest, match=r"two: rename names 'a' twice.*also in one"):
        change_of([one, two])
    assert change_of([one, one]).fields == {"rename": {"a": "b"}}
