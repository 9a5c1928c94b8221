"""What is installed is pinned to a version and to its content, and no file says where from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = re.compile(r"^([\w.-]+)==[^ ]+(?: ; .*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_line_of_the_lock_file_is_a_version_with_hashes() -> None:
    rest = PINNED.sub("", LOCK)
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []


def test_everything_that_is_asked_for_is_in_the_lock_file() -> None:
    wanted = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    names = {plain(re.split(r"[^\w.-]", one)[0]) for one in wanted}
    assert names <= {plain(match[1]) for match in PINNED.finditer(LOCK)}


def test_no_file_names_an_index() -> None:
    for file in (
        ROOT / "requirements.lock",
        ROOT / "pyproject.toml",
        ROOT / ".ci" / "setup",
        ROOT / "deploy" / "Dockerfile",
    ):
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host", file.read_text()), file
