"""Folders stay small, and the unit tests have the folders of what they test."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import PurePosixPath

from tests.unit.architecture.sources import ROOT

MOST = 20  #: entries of a folder, files and folders alike
#: Folders of unit tests that are about the repository itself or about a folder without Python.
ABOUT_OTHERS = {"architecture", "deploy", "documents"}


def files() -> list[PurePosixPath]:
    """Return the files of the repository: those that git knows, or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [PurePosixPath(line) for line in done.stdout.splitlines() if (ROOT / line).exists()]


def test_no_folder_has_more_than_twenty_entries() -> None:
    entries = defaultdict[PurePosixPath, set[PurePosixPath]](set)
    for file in files():
        for path in (file, *file.parents[:-1]):
            entries[path.parent].add(path)
    assert len(entries) > 50
    assert {str(folder): len(found) for folder, found in entries.items() if len(found) > MOST} == {}


def test_a_unit_test_stands_in_the_folder_of_the_package_that_it_tests() -> None:
    tests = [file for file in files() if file.is_relative_to("tests/unit") and file.name.startswith("test_")]
    folders = {file.parent.relative_to("tests/unit") for file in tests}
    assert len(folders) > 20
    mirrored = {folder for folder in folders if folder.parts and folder.parts[0] not in ABOUT_OTHERS}
    homes = [ROOT, ROOT / "services"]
    assert {str(one) for one in mirrored if not any((home / one / "__init__.py").exists() for home in homes)} == set()
