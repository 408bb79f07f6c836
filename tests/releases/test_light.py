"""Releases without the extras: tags work, and what needs an extra says which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
for name in ("polars", "pyarrow", "numpy", "shapely", "nltk", "jinja2"):
    sys.modules[name] = None
from pathlib import Path
from ledger import ConfigurationError, Ledger
from ledger.releases import Releases
from tests.events import item, proposal, schema, vote

folder = Path(sys.argv[1])
book = Ledger.create(f"sqlite:///{folder}/log.db", "light")
releases = Releases(book)
book.append([schema(1, "cat", "dog"), item("a", "cat", split="test"), item("b", "cat")])
book.tag("v1", actor="ann")
book.append([proposal("c", "a", "cat", "dog"), vote("c", "a")])
releases.waive("v2", "boxes", actor="bob", approved_by="ann", reason="r")
tag = book.tag("v2", actor="ann")
assert (tag.class_deltas, tag.test_version) == ({"cat": -1, "dog": 1}, "test-v2"), tag
assert releases.facts("v2").corrections.applied == 1
book.append([item(f"n{number}", "cat") for number in range(3_000)])
assert book.tag("many", actor="ann").class_deltas == {"cat": 3_000}
assert "changed_items: 1" in releases.changelog()
polygon = {"type": "polygon", "coordinates": [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]}
book.append([item("p", "cat", geometry=polygon)])
(folder / "s.jsonl").write_text(
    '{"id": "a", "annotator": "x", "label": "cat"}\\n{"id": "a", "annotator": "y", "label": "dog"}'
)
for act in (
    lambda: book.tag("v3", actor="ann"),
    lambda: releases.check("v2", sample=folder / "s.jsonl"),
    lambda: releases.write("v2", folder / "out"),
):
    try:
        act()
        raise SystemExit("an extra was not missed")
    except ConfigurationError as error:
        assert "pip install 'errata[releases]'" in str(error), error
assert not (folder / "out").exists()
"""


def test_the_core_tags_without_the_extras(tmp_path: Path) -> None:
    """Only polygons, agreement and the page need libraries, and each names its extra."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.returncode == 0, done.stderr
