"""The folders of the scheduler form floors: a module imports only floors below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import services.scheduler

ROOT = Path(services.scheduler.__file__).parent
PACKAGE = services.scheduler.__name__

#: By folder, the other folders that its modules may import. Modules outside of folders are free.
BELOW = {
    "queue": set(),
    "policies": {"queue"},
    "placement": {"policies", "queue"},
    "start": {"placement"},
    "arrays": {"queue"},
    "why_pending": {"placement", "policies", "queue"},
}
#: These floors import nothing of the scheduler but folders below them.
PURE = ("queue", "policies", "placement")


def _module(file: Path) -> str:
    return ".".join([PACKAGE, *file.relative_to(ROOT).with_suffix("").parts])


MODULES = {_module(file): file for file in ROOT.rglob("*.py") if file.name != "__init__.py"}


def _imports(file: Path) -> set[str]:
    """Return the modules of the scheduler that `file` imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found & MODULES.keys()


GRAPH = {module: _imports(file) for module, file in MODULES.items()}


def _folder(module: str) -> str | None:
    parts = module.removeprefix(f"{PACKAGE}.").split(".")
    return parts[0] if len(parts) > 1 else None


def test_every_folder_has_a_floor() -> None:
    assert {_folder(module) for module in GRAPH} - {None} == BELOW.keys()


@pytest.mark.parametrize("folder", BELOW)
def test_a_folder_imports_only_the_floors_below(folder: str) -> None:
    imported = {_folder(other) for module, others in GRAPH.items() if _folder(module) == folder for other in others}
    assert imported - {None, folder} <= BELOW[folder]


@pytest.mark.parametrize("folder", PURE)
def test_queue_policies_and_placement_know_no_service(folder: str) -> None:
    for module, others in GRAPH.items():
        if _folder(module) == folder:
            assert None not in {_folder(other) for other in others}, module
