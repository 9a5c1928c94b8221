"""The commands by name, each loaded when somebody asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer import main as typer_main
from typer.core import TyperGroup

#: Command → module of this package, whose `register` adds it to an app. In the order of the help.
MODULES: Mapping[str, str] = {
    "up": "up",
    "api": "services",
    "scheduler": "services",
    "watcher": "services",
    "files": "services",
    "prepare-mongo": "stores",
    "backup": "backup",
    "restore": "backup",
    "doctor": "doctor",
    "demo": "demo",
    "version": "version",
    "user": "user",
    "project": "project",
    "token": "token",
    "maintenance": "maintenance",
    "node": "node",
}


class Commands(Mapping[str, Any]):
    """
    The commands of `MODULES`. Together they import most of this system and its drivers, which takes longer than what one of them
    does, and every service is started by one: only the module of the one that is meant is imported.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded.update(load(MODULES[name]))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class Group(TyperGroup):
    """A group that has `Commands`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]  # nobody adds to it


def load(module: str) -> Mapping[str, Any]:
    """What the module registers, by name."""
    part = typer.Typer()
    importlib.import_module(f"godocker.commands.{module}").register(part)
    return typer_main.get_group(part).commands
