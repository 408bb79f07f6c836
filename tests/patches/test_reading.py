"""Patch files: what they say, how they are known, and how a bad one is refused."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ledger import InvalidRequest
from ledger.core.events import Geometry
from ledger.patches import Edit, read_patch
from ledger.patches import reading as limits
from ledger.patches.edit import broken, line
from tests.patches.material import BOX, read

SOUND: dict[str, Any] = {"id": "a", "from": "cat", "to": "dog", "reason": "ears"}


def told(*lines: dict[str, Any] | bytes) -> list[str]:
    """What is wrong with the lines, as far as they can be judged alone."""
    problems = read(*lines).problems
    return [each.told("edits.jsonl") for each in problems.first]


def test_lines_as_they_stand_in_the_wild() -> None:
    """A reason may be left out, null adds or removes, empty lines and a byte order mark are none of
    ours, and the edits come sorted by the id's bytes.
    """
    file = read(
        b'\xef\xbb\xbf{"id":"\xc3\xa9","from":"cat","to":"dog"}\r',
        b"",
        {"id": "b", "from": None, "to": "dog", "reason": None},
        {"id": "a", "from": "cat", "to": None, "reason": "no cat"},
    )
    assert not file.problems.count
    assert file.edits == [
        Edit("a", "cat", None, reason="no cat"),
        Edit("b", None, "dog"),
        Edit("é", "cat", "dog"),
    ]
    assert file.problems.lines == {"é": 1, "b": 3, "a": 4}


def test_richer_lines() -> None:
    """A geometry may change with the class or alone."""
    bigger = {"type": "bbox", "coordinates": [1, 2, 3, 4]}
    file = read(
        {"id": "a#1", "from": "dog", "to": "dog", "from_geometry": BOX, "to_geometry": bigger}
    )
    assert file.edits[0].from_geometry == Geometry("bbox", (1.0, 2.0, 30.0, 40.0))
    assert file.edits[0].to_geometry == Geometry("bbox", (1.0, 2.0, 3.0, 4.0))


def test_a_patch_is_known_by_what_it_says() -> None:
    """Order, spaces and keys' order change nothing; a reason or a class does."""
    lines: list[dict[str, Any]] = [{**SOUND, "id": f"r{n}"} for n in range(50)]
    digest = read(*lines).digest()
    shuffled = [dict(reversed(each.items())) for each in lines]
    random.Random(1).shuffle(shuffled)
    assert read(*shuffled).digest() == digest
    assert read(*lines[:-1]).digest() != digest
    assert read(*lines[:-1], {**lines[-1], "reason": "tail"}).digest() != digest


def test_the_canonical_line() -> None:
    """The bytes that are hashed are written down, so that anybody can hash them."""
    box = Geometry("bbox", (1, 2, 30, 40.5))
    edit = Edit('é"', "cat", None, None, box, "no cat")
    assert (
        line(edit)
        == (
            '{"id":"é\\"","from":"cat","to":null,"to_geometry":{"type":"bbox","coordinates":'
            '[1.0,2.0,30.0,40.5]},"reason":"no cat"}\n'
        ).encode()
    )


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b'{"id": "\xff"}', "not UTF-8: byte 8 is 0xff"),
        (b"[1]", "not a JSON object"),
        (b"{", "not JSON"),
        (b'{"id": "a", "id": "b"}', "the key 'id' stands twice"),
        ({**SOUND, "too": "x"}, "id 'a': expected the keys id, from, to, reason,"),
        ({"from": "cat", "to": "dog"}, "expected the key 'id'"),
        ({"id": "a", "to": "dog"}, "id 'a': expected the key 'from' (null adds), found none"),
        ({"id": "a", "from": "cat"}, "expected the key 'to' (null removes), found none"),
        ({**SOUND, "id": 7}, "expected the item's id as a text, found 7"),
        ({**SOUND, "id": ""}, 'expected the item\'s id as a text, found ""'),
        ({**SOUND, "from": ["cat"]}, 'expected a class or null in `from`, found ["cat"]'),
        ({**SOUND, "to": ""}, 'expected a class or null in `to`, found ""'),
        ({**SOUND, "reason": 1}, "expected a text in `reason`, found 1"),
        ({**SOUND, "to_geometry": [1]}, "in `to_geometry`, found [1]"),
        ({**SOUND, "to_geometry": {"type": "circle"}}, "expected a geometry in `to_geometry`"),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_with_its_place(bad: dict[str, Any] | bytes, problem: str) -> None:
    """File, line, id, what is expected and what was found."""
    (text,) = told({**SOUND, "id": "sound"}, bad)
    assert text.startswith("edits.jsonl, line 2")
    assert problem in text


def test_an_item_has_one_line() -> None:
    """The second is refused and says where the first is."""
    (text,) = told(SOUND, {**SOUND, "id": "b"}, {**SOUND, "to": "cow"})
    assert text == ("edits.jsonl, line 3, id 'a': expected each id once, found it on line 1 too")


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit("a", "cat", "cat"), "nothing changes"),
        (Edit("a", None, None), "found null in both"),
        (Edit("a", "cat", "dog", Geometry("span", (1, 2))), "expected `to_geometry` beside"),
        (Edit("a", "cat", "dog", None, Geometry("bbox", (1, 2))), "takes 4 numbers, not 2"),
        (Edit("a#", "cat", "dog"), "must be the record id"),
        (Edit("\ud800", "cat", "dog"), "lone surrogate"),
        (Edit("a", "cat", "dog", reason="x" * 950_000), "expected at most 900,000 bytes"),
        (Edit("a" * 500_000, None, "dog"), "found 1,000,003"),  # as the record's id too
    ],
)
def test_an_edit_that_can_not_be(edit: Edit, problem: str) -> None:
    """Whatever the labels are."""
    assert problem in str(broken(edit))


class Endless(io.RawIOBase):
    """A pipe that never ends: as many bytes of `x` as are asked for, a newline now and then."""

    def __init__(self, line_bytes: int) -> None:
        self.given = 0
        self.line_bytes = line_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        buffer[:] = b"x" * size
        for at in range(self.line_bytes - self.given % self.line_bytes, size, self.line_bytes):
            buffer[at] = ord("\n")
        self.given += size
        return size


def pipe(line_bytes: int) -> BinaryIO:
    return io.BufferedReader(Endless(line_bytes))  # pyright: ignore[reportReturnType]


def test_a_gibibyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """By its size; a file with holes takes no room here."""
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with path.open("rb") as file, pytest.raises(InvalidRequest, match="268,435,456 bytes"):
        read_patch(file, "huge.jsonl")


def test_what_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is read up to the limits: of bytes, be it one line, and of lines."""
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 5 << 20)
    with pytest.raises(InvalidRequest, match="more than the 5,242,880 bytes"):
        read_patch(pipe(1 << 40), "pipe")
    with pytest.raises(InvalidRequest, match="more than the 5,242,880 bytes"):
        read_patch(pipe(1 << 21), "pipe")
    monkeypatch.setattr(limits, "LINES_MAX", 1000)
    with pytest.raises(InvalidRequest, match="more than 1,000 lines"):
        read_patch(pipe(50), "pipe")


def test_a_line_that_is_too_long_is_one_bad_line() -> None:
    """What follows it is read as usual."""
    long = {**SOUND, "id": "long", "reason": "x" * limits.LINE_BYTES_MAX}
    file = read(SOUND, long, {**SOUND, "id": "b"})
    assert [each.item_id for each in file.edits] == ["a", "b"]
    assert [each.told("f") for each in file.problems.first] == [
        "f, line 2: expected at most 1,048,576 bytes, found more"
    ]


def test_an_empty_file_is_no_patch() -> None:
    with pytest.raises(InvalidRequest, match="holds no line"):
        read(b"", b" ")
