"""A module that calls itself pure loads no driver, no server and no event loop."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.unit.architecture import sources

FORBIDDEN = ("aiodocker", "aiohttp", "asyncio", "bson", "motor", "pymongo", "redis")
#: Imports each module in a child of its own. The clean ones are then imported in the parent, too: that spares later children
#: most of the work and cannot make them unclean.
PROGRAM = """
import importlib, json, os, sys

names, forbidden, sys.path[:0] = (json.loads(argument) for argument in sys.argv[1:])
for name in names:
    child = os.fork()
    if not child:
        importlib.import_module(name)
        loaded = sorted({*forbidden} & {*sys.modules})
        if loaded:
            print(name, *loaded, flush=True)
        os._exit(bool(loaded))
    if os.waitpid(child, 0)[1] == 0:
        importlib.import_module(name)
"""


def pure_modules() -> list[str]:
    return [
        module.name for module in sources.modules() if re.search(r"\bpure\b", module.first_paragraph, re.IGNORECASE)
    ]


def loaded_by(names: Sequence[str], path: Path = sources.ROOT) -> dict[str, list[str]]:
    """Import each module in a process of its own; return what each that is not pure loaded of `FORBIDDEN`."""
    arguments = [json.dumps(argument) for argument in (names, FORBIDDEN, [str(path)])]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {name: loaded for name, *loaded in map(str.split, done.stdout.splitlines())}


def test_a_pure_module_loads_no_driver_and_no_event_loop() -> None:
    names = pure_modules()
    assert "services.scheduler.placement.planning" in names
    assert loaded_by(names) == {}


def test_a_module_that_loads_one_by_way_of_another_is_found_and_its_neighbours_are_not(tmp_path: Path) -> None:
    (tmp_path / "direct.py").write_text("import asyncio\n")
    (tmp_path / "indirect.py").write_text("import json\nimport direct\n")
    (tmp_path / "clean.py").write_text("import json\n")
    assert loaded_by(["direct", "clean", "indirect"], tmp_path) == {"direct": ["asyncio"], "indirect": ["asyncio"]}
