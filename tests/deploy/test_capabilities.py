"""Tests of the capabilities of services: the three are sufficient, and each is necessary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.test_deployment import OF_ROOT

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can do without a right"
)

UID = 23456

#: A second attempt's directory is prepared, and one removed that its owner has closed and made sticky.
WORK = """
import asyncio, pathlib, sys
from shared.models.task import Place
from shared.storage.directories import TaskDirectories

directories = TaskDirectories(pathlib.Path(sys.argv[1]))
for _ in range(2):
    asyncio.run(directories.prepare(Place(7), uid=23456, gid=23456, script="true"))
asyncio.run(directories.remove(Place(8)))
"""


def works_with(capabilities: list[str], folder: Path) -> bool:
    theirs = folder / "tasks" / "0" / "8"
    (theirs / "below").mkdir(parents=True)
    for path in (theirs / "file", theirs / "below" / "file"):
        path.touch()
    for path in (*theirs.rglob("*"), theirs):
        os.chown(path, UID, UID)
        if path.is_dir():
            path.chmod(0o1700)
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
    command = ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", sys.executable, "-c", WORK, str(folder)]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


def test_three_rights_of_root_are_enough(tmp_path: Path) -> None:
    assert works_with(OF_ROOT, tmp_path)


@pytest.mark.parametrize("without", OF_ROOT)
def test_none_of_them_can_be_left_out(tmp_path: Path, without: str) -> None:
    assert not works_with([name for name in OF_ROOT if name != without], tmp_path)
