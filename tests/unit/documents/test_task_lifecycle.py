"""The table of docs/task-lifecycle.md has the transitions of `shared/lifecycle.py`."""

from __future__ import annotations

import re
from pathlib import Path

from shared import lifecycle

PAGE = Path(__file__).parents[3] / "docs" / "task-lifecycle.md"
_ROW = re.compile(r"^\| ([a-z, –]+) \| ([a-z, ]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


def test_the_page_lists_every_transition_and_no_other() -> None:
    table = PAGE.read_text().split("| from | to |")[1].split("\n\n")[0]
    listed = {(old, new) for olds, news in _ROW.findall(table) for old in olds.split(", ") for new in news.split(", ")}
    edges = {(old.value, new.value) for old, news in lifecycle.TRANSITIONS.items() for new in news}
    assert {(old, new) for old, new in listed if old != "–"} == edges
