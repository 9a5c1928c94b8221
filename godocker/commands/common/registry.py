"""Registry of all commands, which are imported only when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer import main as typer_main
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. The summary is repeated here, so that the help needs no import of the command."""

    module: str  #: below `godocker.commands`; its `register` adds the command to an app
    summary: str  #: the beginning of the command's own help
    panel: str


_TASKS = "Your tasks"
_SERVER = "Your server"
_RUN = "Run a system"
_LOOK = "Check and configure"
_MANAGE = "Manage"
_DATABASE = "Database"
_SERVICES = "Single services"

#: In the order of the help page.
ENTRIES: Mapping[str, Entry] = {
    "login": Entry("user.login", "Log in to a server, and use it from now on.", _SERVER),
    "logout": Entry("user.login", "Forget the API key and the token of the current context.", _SERVER),
    "whoami": Entry("user.login", "Print the login and the server that commands use.", _SERVER),
    "context": Entry("user.login", "List the contexts, or switch to one.", _SERVER),
    "usage": Entry("user.resources", "List used and total resources of each node.", _SERVER),
    "projects": Entry("user.resources", "List your projects.", _SERVER),
    "images": Entry("user.resources", "List the images that the server offers.", _SERVER),
    "recipes": Entry("user.resources", "List the recipes of the marketplace that you may use.", _SERVER),
    "submit": Entry("user.submit", "Send a task and print its id.", _TASKS),
    "run": Entry("user.submit", "Send a task, print its output while it runs, and exit with its exit code.", _TASKS),
    "ls": Entry("user.looking", "List your tasks, newest first, or the files of one.", _TASKS),
    "show": Entry("user.looking", "Show everything about a task.", _TASKS),
    "explain": Entry(
        "user.looking", "Explain why a task waits, or how it ended. Exits with 5 if it can never run.", _TASKS
    ),
    "logs": Entry("user.looking", "Print the output of a task.", _TASKS),
    "wait": Entry(
        "user.looking",
        "Wait until tasks are over. Exits with the exit code of the first that did not end with 0.",
        _TASKS,
    ),
    "kill": Entry("user.acting", "Kill tasks.", _TASKS),
    "suspend": Entry("user.acting", "Suspend running tasks.", _TASKS),
    "resume": Entry("user.acting", "Resume suspended tasks.", _TASKS),
    "release": Entry("user.acting", "Release held tasks.", _TASKS),
    "archive": Entry("user.acting", "Archive tasks that are over: deletes their files, keeps their records.", _TASKS),
    "rm": Entry("user.acting", "Delete tasks that are over, with their files and records.", _TASKS),
    "cp": Entry("user.filing", "Copy a file of a task here, or a local file into your personal storage.", _TASKS),
    "share": Entry("user.filing", "Share a task and its files; prints the token that opens it.", _TASKS),
    "up": Entry(
        "operator.up",
        "Run the whole system on this machine. Starts MongoDB and Redis unless you configured your own.",
        _RUN,
    ),
    "reload": Entry(
        "operator.reload",
        "Make a running `godocker up` read its settings again, and print the result of each service.",
        _RUN,
    ),
    "demo": Entry("operator.demo", "Start a temporary system, run a few tasks in it, show them, and remove it.", _RUN),
    "doctor": Entry(
        "operator.doctor",
        "Check the installation and list its problems. Exits with 1 if there is a problem; warnings do not count.",
        _LOOK,
    ),
    "config": Entry("operator.config", "Check a configuration before anything starts.", _LOOK),
    "settings": Entry("operator.settings", "List all settings, or describe one.", _LOOK),
    "node": Entry("operator.node", "Add, list, drain and remove Docker hosts.", _MANAGE),
    "user": Entry("operator.user", "Add, list, activate and delete users, and replace their API keys.", _MANAGE),
    "project": Entry("operator.project", "Add, list and delete projects, and manage their members.", _MANAGE),
    "token": Entry("operator.token", "Add, list and delete application tokens.", _MANAGE),
    "maintenance": Entry(
        "operator.maintenance", "Stop placing tasks on one node or on all nodes for a while.", _MANAGE
    ),
    "backup": Entry(
        "operator.backup",
        "Write a snapshot of the database to one file while the system runs, and print the name of the file.",
        _DATABASE,
    ),
    "restore": Entry("operator.backup", "Load a backup into an empty database while no service runs.", _DATABASE),
    "identity": Entry(
        "operator.identity",
        "Print the identity of the system.",
        _DATABASE,
    ),
    "prepare-mongo": Entry(
        "operator.stores", "Make the mongod on this machine a replica set of one, and create its users.", _DATABASE
    ),
    "api": Entry("operator.services", "Run the gateway, which serves the Web API.", _SERVICES),
    "scheduler": Entry("operator.services", "Run the scheduler, which decides what runs next and where.", _SERVICES),
    "watcher": Entry(
        "operator.services", "Run the watcher, which follows running tasks and carries out kills.", _SERVICES
    ),
    "files": Entry(
        "operator.services", "Run the file service, which transfers the files of tasks and users.", _SERVICES
    ),
    "export": Entry("operator.export", "Copy files shipped with GoDocker into a directory.", "Other"),
    "version": Entry("operator.version", "Print the version of GoDocker.", "Other"),
}


class Commands(Mapping[str, Any]):
    """
    The commands of `ENTRIES`, each imported at its first use. All of them together import most of the system and its drivers,
    which would slow down every command and the start of every service.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded.update(load(ENTRIES[name].module))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in ENTRIES

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)


class Group(TyperGroup):
    """Command group that lists `Commands` without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]  # read-only
        self._lists = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(ENTRIES)  # the inherited method would import every command

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._lists and cmd_name in ENTRIES:
            return _listed(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._lists = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._lists = False

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        self._lists = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._lists = False


def load(module: str) -> Mapping[str, Any]:
    """Import a module and return the commands that it registers, by name."""
    part = typer.Typer()
    importlib.import_module(f"godocker.commands.{module}").register(part)
    return typer_main.get_group(part).commands


def _listed(name: str) -> TyperCommand:
    """Return a placeholder with the name and summary of a command."""
    entry = ENTRIES[name]
    return TyperCommand(name, help=entry.summary, short_help=entry.summary, rich_help_panel=entry.panel)
