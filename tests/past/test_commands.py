"""`rollback --dry-run`, `undo`, `what-if`, `preview` and `bisect` on the command line."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.command import Errata
from tests.events import item, proposal, schema, vote
from tests.past.books import corrected


@pytest.fixture
def busy(book: Errata) -> Errata:
    """Version v1; then Eve's corrections of a, b and c, and Bob's of b, which stands on hers."""
    book("tag", "v1")
    events = [
        *corrected("e-a", "a", "dog", "cat", source="feedback", reason="a cat\x1b[2J, really"),
        *corrected("e-b", "b", "cat", "dog", source="feedback"),
        *corrected("b-b", "b", "dog", "cat", by="bob"),
        *corrected("e-c", "c", "cat", "dog", source="feedback"),
        proposal("open", "a", "cat", "dog"),
    ]
    book("append", book.write("busy.jsonl", events))
    return book


# Rollback


def test_a_rollback_is_tried_first(busy: Errata) -> None:
    """A dry run counts what it takes back and appends nothing; the real one says it in short."""
    before = busy.position()
    said = busy("rollback", "--to", "v1", "--dry-run")
    assert ["CorrectionProposed", "5"] in [line.split() for line in said.out.splitlines()]
    assert "nothing was appended" in said.err
    fields = busy("rollback", "--to", "v1", "--dry-run", "--json").json
    assert fields["events"] == {"CorrectionProposed": 5, "ReviewDecided": 4}
    assert fields["by_class"] == [
        {"before": "cat", "after": "dog", "items": 1},
        {"before": "dog", "after": "cat", "items": 1},
    ]
    assert fields["items"] == 2
    assert busy.position() == before
    done = busy("rollback", "--to", "v1", "--reason", "r", "--approved-by", "bob")
    assert "9 label events taken back" in done.err
    assert busy.labels() == busy.labels("v1")


def test_a_rollback_says_why(busy: Errata) -> None:
    """Without --reason and without --dry-run it is wrong usage; where nobody can go, refused."""
    assert "--reason" in busy.refused("rollback", "--to", "v1", code=2)
    assert "takes two people" in busy.refused("rollback", "--to", "v1", "--reason", "r", code=2)
    assert "where the log ends" in busy.refused("rollback", "--to", "head", "--dry-run")


# Undo


def test_undo(busy: Errata) -> None:
    """Dependants are listed before; what was undone goes back; a second time there is nothing."""
    before = busy.position()
    fields = busy("undo", "--author", "eve", "--dry-run", "--json").json
    assert [each["correction_id"] for each in fields["undone"]] == ["e-a", "e-b", "e-c"]
    assert [each["correction_id"] for each in fields["dependants"]] == ["b-b"]
    assert fields["edits"] == [
        {"id": "a", "from": "cat", "to": "dog"},
        {"id": "c", "from": "dog", "to": "cat"},
    ]
    assert busy.position() == before
    done = busy("undo", "--author", "eve", "--reason", "bad", "--approved-by", "bob")
    assert done.err.index("on what is undone stands 1 correction") < done.err.index("2 items")
    assert busy.labels() == {"a": "dog", "b": "cat", "c": "cat"}
    again = busy("undo", "--author", "eve", "--approved-by", "bob")
    assert "nothing to undo" in again.err
    assert "was applied" not in again.err
    nobody = busy("undo", "--author", "nobody", "--approved-by", "bob").err
    assert nobody == "nothing to undo: no correction that was applied is one of these\n"


def test_undo_takes_two(busy: Errata) -> None:
    """A second person is named, and is another; what to undo is said."""
    assert "--approved-by" in busy.refused("undo", "--author", "eve", code=2)
    words = busy.refused("undo", "--author", "eve", "--approved-by", "ann")
    assert "second person" in words
    for said in (("--approved-by", "bob"), ("--since", "v1", "--approved-by", "bob")):
        assert "which corrections" in busy.refused("undo", *said, code=2)
    window = ("--since", "head", "--until", "v1")
    words = busy.refused("undo", "--author", "eve", *window, "--dry-run")
    assert "ends before it begins" in words


# What if, and preview


def test_what_if(busy: Errata) -> None:
    """Without one reviewer, one author, one source; in a window and at an earlier position."""
    without_eve = busy("what-if", "--without-author", "eve", "--json").json
    assert (without_eve["passed_over"], without_eve["records"]) == (3, 3)
    changes = {
        each["id"]: each["after"] and each["after"]["label"] for each in without_eve["changes"]
    }
    assert changes == {"a": "dog", "c": "cat"}
    assert busy("what-if", "--without-source", "feedback", "--json").json == without_eve
    said = busy("what-if", "--without-reviewer", "ann", "--since", "v1")
    assert [line.split() for line in said.out.splitlines()[2:]] == [
        ["a", "cat", "dog"],
        ["c", "dog", "cat"],
    ]
    then = busy("what-if", "--without-reviewer", "ann", "--at", "v1", "--json").json
    assert [each["id"] for each in then["changes"]] == ["a"]
    assert "say without what" in busy.refused("what-if", code=2)


def test_preview(busy: Errata) -> None:
    """Every open correction taken as accepted."""
    fields = busy("preview", "--json").json
    assert (fields["applied"], fields["stale"], fields["items"]) == (1, 0, 1)
    assert fields["changes"][0]["after"] == {"id": "a", "label": "dog"}
    assert busy("preview").out.splitlines()[-1].split() == ["a", "cat", "dog"]
    assert busy("preview", "--at", "v1").out == ""


# Bisect


def left_behind() -> list[str]:
    """The folders of searches that were not taken away."""
    return [each.name for each in Path(os.environ["TMPDIR"]).glob("errata-bisect-*")]


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command leaves behind is seen."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


HAS = 'import os, sys; sys.exit(\'"c","label":"dog\' in open(sys.argv[1]).read())'


def test_bisect(busy: Errata) -> None:
    """The correction that made a command fail; the file is an argument, or in the environment."""
    said = busy("bisect", "v1", "head", "--", sys.executable, "-c", HAS, "{}")
    assert said.out.splitlines()[-1].split()[:6] == ["c", "cat", "->", "dog", "eve", "ann"]
    script = HAS.replace("sys.argv[1]", "os.environ['ERRATA_SNAPSHOT']")
    found = busy("bisect", "v1", "head", "--json", "--", sys.executable, "-c", script).json
    assert (found["by"], found["steps"]) == ("corrections", 4)
    assert found["runs"] <= 3
    (cause,) = found["first_bad"]["causes"]
    assert cause["proposal"]["correction_id"] == "e-c"
    assert [each["id"] for each in found["changes"]] == ["c"]
    assert left_behind() == []


def test_bisect_by_versions(busy: Errata) -> None:
    """The first bad version, and how to go on from there."""
    busy("append", busy.write("more.jsonl", corrected("x", "c", "dog", "cat")))
    for name in ("v2", "v3", "v4"):
        busy("append", busy.write("more.jsonl", [item(f"new-{name}", "cat")]))
        busy("tag", name)
    code = "import sys; sys.exit('new-v3' in open(sys.argv[1]).read())"
    said = busy("bisect", "v1", "v4", "--", sys.executable, "-c", code, "{}")
    assert said.out.splitlines()[0] == "the first bad version is v3"
    assert "errata bisect --by corrections" in said.err


def test_a_command_that_is_not_monotone(busy: Errata) -> None:
    """Is refused only if that is asked for."""
    code = 'import sys; sys.exit(\'"b","label":"dog\' in open(sys.argv[1]).read())'
    command = ("v1", "head", "--", sys.executable, "-c", code, "{}")
    assert "not monotone" in busy.refused("bisect", "--check", *command)
    assert busy("bisect", *command).out.splitlines()[-1].split()[0] == "b"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("no-such-command",), "No such file"),
        ((sys.executable, "-c", "import sys; sys.exit(126)"), "exited with 126"),
        (
            (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"),
            "was ended by signal 9",
        ),
    ],
)
def test_a_command_that_says_nothing(command: tuple[str, ...], words: str, busy: Errata) -> None:
    """What can't be run, or ends in another way, ends the search, and leaves no file."""
    assert words in busy.refused("bisect", "v1", "head", "--", *command)
    assert left_behind() == []


def test_skipped_everywhere(busy: Errata) -> None:
    """A command that can't tell leaves every step a candidate."""
    code = "import sys; sys.exit(125)"
    found = busy("bisect", "v1", "head", "--json", "--", sys.executable, "-c", code).json
    assert len(found["candidates"]) == found["steps"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_its_files_away(number: signal.Signals, busy: Errata) -> None:
    """Whoever ends it."""
    code = "import time; print('running', flush=True); time.sleep(60)"
    process = busy.start("bisect", "v1", "head", "--", sys.executable, "-c", code)
    assert process.stderr is not None
    assert b"running" in process.stderr.readline()
    assert left_behind() != []
    process.send_signal(number)
    assert process.wait(20) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    process.stderr.close()
    assert process.stdout is not None
    process.stdout.close()
    assert left_behind() == []


def test_the_same_answers_in_any_number_of_partitions(errata: Errata) -> None:
    """What is undone, what would be and what did it do not depend on where the log puts events."""
    said: list[list[str]] = []
    for partitions in (1, 2, 5):
        book = errata.on("--dataset", f"p{partitions}")
        book("init", "--partitions", str(partitions))
        events = [schema(1, "cat", "dog"), *(item(name, "cat") for name in "abcdefgh")]
        book("append", book.write("start.jsonl", events))
        book("tag", "v1")
        for i, name in enumerate("abcdefgh"):
            lines = corrected(str(i), name, "cat", "dog", by="eve" if i % 2 else "bob")
            book("append", book.write("next.jsonl", lines))
        book("append", book.write("open.jsonl", [proposal("o", "a", "dog", "cat"), vote("o", "a")]))
        code = 'import sys; sys.exit(\'"d","label":"dog\' in open(sys.argv[1]).read())'
        search = book("bisect", "v1", "head", "--", sys.executable, "-c", code, "{}")
        said.append(
            [
                book("undo", "--author", "eve", "--dry-run").out,
                book("what-if", "--without-author", "bob").out,
                book("preview").out,
                _without_time(search.out),
                book("undo", "--author", "eve", "--approved-by", "max").out,
                book("snapshot").out,
            ]
        )
    assert said[0] == said[1] == said[2]


def _without_time(table: str) -> str:
    return " ".join(each for each in table.split() if ":" not in each and "-" not in each)
