from __future__ import annotations

import json

import pytest

from ledger.core.canonical import derived_id, line
from ledger.core.events import Geometry
from tests.core.history import History, box


def test_a_record_has_no_record_key():
    """`record` stands only where it differs from `id`; empty keys are absent."""
    assert line("r", "r", "cat", None, None) == b'{"id":"r","label":"cat"}\n'


def test_a_region_has_every_key_in_order():
    """id, record, label, geometry (type, coordinates), split; no spaces; a newline at the end."""
    assert line("r#1", "r", "cat", box(2, 0.5, 1, -0.0), "train") == (
        b'{"id":"r#1","record":"r","label":"cat",'
        b'"geometry":{"type":"bbox","coordinates":[1.0,-0.0,2.0,0.5]},"split":"train"}\n'
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, b"1.0"),
        (0.1, b"0.1"),
        (1e16, b"1e+16"),
        (1e-7, b"1e-07"),
        (2**53, b"9007199254740992.0"),
    ],
)
def test_numbers_are_repr_of_float(number: float, text: bytes):
    """However a number was written, its line holds Python's `repr(float)`."""
    assert b"[" + text + b",0.0]" in line("r", "r", "x", Geometry("span", (number, 0)), None)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ('"', rb"\""),
        ("\\", rb"\\"),
        ("\n\r\t\b\f", rb"\n\r\t\b\f"),
        ("\x00\x1f", rb"\u0000\u001f"),
        ("/", b"/"),
        ("\x7f", b"\x7f"),
        ("é", "é".encode()),
        ("\u2028", "\u2028".encode()),
        ("😀", "😀".encode()),
    ],
)
def test_strings_are_plain_utf8(text: str, escaped: bytes):
    """Only JSON's necessary escapes; everything else is UTF-8 as it is."""
    assert line(text, text, text, None, text) == (
        b'{"id":"%b","label":"%b","split":"%b"}\n' % (escaped, escaped, escaped)
    )
    assert json.loads(line(text, text, text, None, text))["id"] == text


def test_lines_are_sorted_by_utf8_bytes():
    """By bytes: an astral character after the end of the BMP, '#' before digits and letters."""
    history = History.of_classes("x", partitions=3)
    for item_id in ("\U0001f600", "\uffee", "r1", "r#1", "r", "R", "é"):
        history.item(item_id, "x")
    ids = [json.loads(each)["id"] for each in history.at().canonical().splitlines()]
    assert ids == ["R", "r", "r#1", "r1", "é", "\uffee", "\U0001f600"]


def test_derived_ids():
    """The same parts give the same id, on any day; other parts, or the same text in other parts,
    give another.
    """
    parts = [("p", "vote", "a"), ("p", "votea", ""), ("p", "vote", "b"), ("p1:a", ""), ("p", "1:a")]
    ids = [derived_id(*each) for each in parts]
    assert len(set(ids)) == len(parts)
    assert ids == [derived_id(*each) for each in parts]
    assert derived_id("p", "vote", "é") == "4555971fa27a24e7e34189722afeff91"
