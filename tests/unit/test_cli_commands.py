"""The command line knows its commands by name, and loads the one that is meant."""

from __future__ import annotations

import subprocess
import sys

import pytest

from godocker.commands import known

#: Each of them takes a good part of a service's start to import.
HEAVY = {"motor", "fastapi", "uvicorn", "rich.markdown", "services", "godocker.up", "godocker.demonstration"}


@pytest.mark.parametrize("name", known.MODULES)
def test_a_command_is_what_its_module_registers(name: str) -> None:
    assert known.Commands()[name].name == name


def test_a_module_registers_nothing_that_is_not_known() -> None:
    registered = {name for module in set(known.MODULES.values()) for name in known.load(module)}
    assert registered == {*known.MODULES}


def test_a_command_imports_nothing_that_only_others_need() -> None:
    code = "import sys; from godocker import cli; cli.app(['version'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert HEAVY & {*done.stdout.split()} == set()
