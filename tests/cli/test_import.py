"""`errata import`: items from JSON lines and CSV, checked whole."""

from __future__ import annotations

import json
import os
import threading

import pytest

from tests.cli.command import Errata

BAD_CSV: dict[str, tuple[bytes | str, str]] = {
    "too few cells": ("id,label\na1,cat\na2\n", "line 3: the row has 1 cells and the header 2"),
    "too many": ("id,label\na1,cat\na2,cat,x\n", "line 3: the row has 3 cells and the header 2"),
    "no id": ("id,label\na1,cat\n\n,cat\n", "line 4: 'id' must be the item's id"),
    "no id column": ("name,label\na1,cat\n", "line 1: there is no column 'id', the columns are 'n"),
    "semicolons": ("id;label\na1;cat\n", "or with --delimiter what stands between cells"),
    "column twice": ("id,label,id\na1,cat,a2\n", "line 1: the column 'id' stands twice"),
    "column without meaning": (
        "id,label,x\na1,cat,1\n",
        "line 2: 'x' has no meaning here; keep it",
    ),
    "unclosed quote": ('id,label\na1,cat\n"a2,cat\n', "line 3: not CSV: unexpected end of data"),
    "text after a quote": ('id,label\na1,cat\n"a"2,cat\n', "line 3: not CSV: ',' expected"),
    "not UTF-8": (b"id,label\na1,cat\n\xe9,cat\n", "line 3: not UTF-8: byte 0 is 0xe9"),
    "bad id": ('id,label\na1,cat\n"a b#",cat\n', "line 3: ItemRegistered: item_id 'a b#' must be"),
    "id twice": ("id,label\na1,cat\na1,dog\n", "line 3: item 'a1' stands on line 2 too"),
    "unknown class": ("id,label\na1,cat\na2,emu\n", "line 3: the label 'emu' is no class of"),
    "bad coordinates": (
        'id,geometry_type,coordinates\na1,bbox,"[1,2"\n',
        "line 2: coordinates is no JSON: '[1,2'",
    ),
    "bad attributes": ('id,attributes\na1,"[1]"\n', "line 2: attributes must be an object"),
    "after a cell of two lines": ('id,content\na1,"x\ny"\na2\n', "line 4: the row has 1 cells"),
}
BAD_JSONL: dict[str, tuple[bytes | str, str]] = {
    "not JSON": ('{"id":"a1"}\n\n{"id"\n', "line 3: not JSON"),
    "two on a line": ('{"id":"a1"}{"id":"a2"}\n', "line 1: not JSON: Extra data"),
    "a list": ('[{"id":"a1"}]', "line 1: not a JSON object"),
    "id is a number": ('{"id":"a1"}\n{"id":2}', "line 2: 'id' must be the item's id, a text in"),
    "label is a number": ('{"id":"a1"}\n{"id":"a2","label":5}', "line 2: ItemRegistered: label is"),
    "label is a list": ('{"id":"a1"}\n{"id":"a2","label":["cat"]}', "line 2: ItemRegistered: labe"),
    "label is empty": ('{"id":"a1","label":""}', "line 1: ItemRegistered: label is empty"),
    "attributes is a list": ('{"id":"a1","attributes":[1]}', "line 1: attributes must be an obje"),
    "attributes is a text": ('{"id":"a1","attributes":"x"}', "line 1: attributes must be an obje"),
    "an attribute is a list": ('{"id":"a1","attributes":{"x":[1]}}', "line 1: ItemRegistered: att"),
    "another record": ('{"id":"a1","record":"z"}', "line 1: ItemRegistered: item_id 'a1' must be"),
    "geometry is a list": ('{"id":"a1","geometry":[1]}', "line 1: ItemRegistered: geometry is [1]"),
    "unknown key": ('{"id":"a1","colour":1}', "line 1: 'colour' has no meaning here; keep it"),
    "too big": (
        json.dumps({"id": "a1", "content": "x" * 1_000_000}),
        "line 1: the ItemRegistered has",
    ),
}
BAD = {
    **{f"csv {kind}": ("x.csv", *value) for kind, value in BAD_CSV.items()},
    **{f"jsonl {kind}": ("x.jsonl", *value) for kind, value in BAD_JSONL.items()},
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file(book: Errata, kind: str) -> None:
    """The refusal names file, line and rule, and nothing of the file is registered."""
    name, content, rule = BAD[kind]
    before = book.position()
    file = book.write(name, content)
    told = book.refused("import", file)
    assert told.startswith(f"{file}, line ")
    assert rule in told
    assert told.endswith(". Nothing was appended")
    assert book.position() == before


def test_json_lines(book: Errata) -> None:
    """Every key that an item can have; attributes, also from keys of their own."""
    box = {"type": "bbox", "coordinates": [1.0, 2.0, 3.0, 4.0]}
    lines = [
        {"id": "r", "content": "text", "split": "test", "attributes": {"n": 1}, "lang": "ä"},
        {"id": "r#1", "record": "r", "label": "dog", "geometry": box, "secret": "?"},
    ]
    file = book.write("x.jsonl", lines)
    book("import", file, "--attribute", "lang", "--ignore", "secret")
    shown = book("show", "r", "--json").json
    assert shown["attributes"] == {"n": 1.0, "lang": "ä"}
    assert (shown["content"], shown["split"], shown["label"]) == ("text", "test", None)
    assert shown["source"] == "x.jsonl"
    assert book("show", "r#1", "--json").json["geometry"] == box


def test_csv(book: Errata) -> None:
    """Quotes, new lines, unicode, formulas and huge cells arrive as they are."""
    ids = ['say "hi"', "two words", "Grüße 🎉", "=1+1", "@cmd|x", "a,b", "two\nlines"]
    rows = [[each, "cat", "x" * 300_000 if each == "a,b" else f"{each}\r\n"] for each in ids]
    cells = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    said = book("import", book.write("x.csv", "\r\n".join(["id,label,content", *cells, ""])))
    assert said.err == "7 registered\n"
    for each in ids:
        shown = book("show", each, "--json").json
        assert shown["label"] == "cat"
        assert shown["content"] == ("x" * 300_000 if each == "a,b" else f"{each}\r\n")


def test_csv_of_other_programs(book: Errata) -> None:
    """A byte order mark, other column names, another delimiter."""
    text = "\ufeffNr;Class;Text;Lang\nn1;cat;hello;en\n"
    names = ("--id", "Nr", "--label", "Class", "--content", "Text", "--attribute", "Lang")
    book("import", book.write("x.csv", text), "--delimiter", ";", *names)
    assert book("show", "n1", "--json").json["attributes"] == {"Lang": "en"}
    book("import", book.folder / "x.csv", "--delimiter", "||", code=2)


def test_numbers_in_csv(book: Errata) -> None:
    """An attribute is a number only if JSON would write it so; a zip code stays a text."""
    cells = {"12": 12.0, "-1.5e3": -1500.0, "007": "007", "nan": "nan", "1_0": "1_0", " 1": " 1"}
    text = "id,n\n" + "".join(f"n{i},{cell}\n" for i, cell in enumerate(cells))
    book("import", book.write("x.csv", text), "--attribute", "n")
    for i, value in enumerate(cells.values()):
        assert book("show", f"n{i}", "--json").json["attributes"] == {"n": value}


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_nothing_to_import(book: Errata, name: str) -> None:
    """An empty file says so."""
    at = book.position()
    file = book.write(name, "")
    said = book("import", file)
    assert (said.out, said.err) == (f"{at}\n", f"{file} holds no item\n")


def test_classes_are_added_on_request(book: Errata) -> None:
    """In one contract change, each once."""
    file = book.write("x.jsonl", [{"id": f"n{i}", "label": f"c{i % 2}"} for i in range(4)])
    assert "give --add-classes. Nothing was appended" in book.refused("import", file)
    said = book("import", file, "--add-classes", "--json").json
    assert said["outcomes"] == {"registered": 4}
    assert said["position_text"] == book.position()
    status = book("status", "--json").json
    assert (status["contract_version"], status["classes"]) == (2, ["c0", "c1", "cat", "dog"])


def test_importing_again(book: Errata) -> None:
    """Items that are there stay as they are; one that differs is named, with exit code 1."""
    file = book.write("x.jsonl", [{"id": "n1", "label": "cat"}, {"id": "n2", "label": "cat"}])
    book("import", file)
    assert book("import", file).err == "2 duplicate\n"
    other = book.write("y.jsonl", [{"id": "n1", "label": "dog"}, {"id": "n3", "label": "dog"}])
    told = book.refused("import", other)
    assert told == (
        f"1 of the items of {other} are refused and stay what they were: 'n1' (id_conflict). "
        "Change an item with `errata correct`"
    )
    assert (book.labels()["n1"], book.labels()["n3"]) == ("cat", "dog")


def test_from_a_pipe(book: Errata) -> None:
    """Standard input and named pipes are imported although they can be read only once."""
    assert book("import", "-", stdin='{"id":"p1","label":"cat"}\n').err == "1 registered\n"
    pipe = book.folder / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("id,label\np2,dog\n",))
    writer.start()
    assert book("import", pipe).err == "1 registered\n"
    writer.join()
    assert book.labels()["p2"] == "dog"


def test_roles(book: Errata) -> None:
    """Once roles are named, classes are added by an admin and approved by another."""
    roles = {"admin": ["ann", "amy"]}
    change = {"type": "PolicyChanged", "version": 2, "roles": roles, "actor": "ann"}
    book("append", book.write("p.jsonl", [change]))
    file = book.write("x.jsonl", [{"id": "n1", "label": "emu"}])
    assert "not_permitted" in book.refused("import", file, "--add-classes")
    book("import", file, "--add-classes", "--approved-by", "amy")
    assert "not_permitted" in book.refused("init", "--partitions", "3", "--class", "owl")
    book("init", "--partitions", "3", "--class", "owl", "--approved-by", "amy")
    assert book("status", "--json").json["classes"] == ["cat", "dog", "emu", "owl"]
