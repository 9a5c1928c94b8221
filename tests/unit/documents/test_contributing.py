"""CONTRIBUTING.md and tests/README.md name files, tests and make targets that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md"]
_FILE = re.compile(r"(?:[a-z_]+/)+[a-z_]+\.(?:py|md|json)")
_TEST = re.compile(r"\btest_\w+(?!\w*\.py)\b(?!\.)")
_TARGETS = re.compile(r"\bmake ((?:[a-z]+(?:-[a-z]+)?\b ?)+)(?=[`#\n]| +#|K=|ARGS)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_exists(page: Path) -> None:
    named = {*_FILE.findall(page.read_text())}
    homes = [ROOT, ROOT / "tests", ROOT / "services" / "scheduler"]
    assert len(named) > 10
    assert [name for name in sorted(named) if not any((home / name).exists() for home in homes)] == []


@pytest.mark.parametrize("page", PAGES[:1], ids=lambda page: page.name)
def test_each_test_exists(page: Path) -> None:
    named = {*_TEST.findall(page.read_text())}
    code = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 5
    assert [name for name in sorted(named) if f"def {name}(" not in code] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_target_exists(page: Path) -> None:
    named = {target for group in _TARGETS.findall(page.read_text()) for target in group.split()}
    rules = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
    assert "unit" in named
    assert named <= rules
