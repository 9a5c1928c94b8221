"""Tests of the command registry: lazy loading, help texts and suggestions for mistyped commands."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from godocker import cli
from godocker.commands import page
from godocker.commands.common import registry

#: Each takes a large part of a command's run time to import.
HEAVY = {
    "importlib.metadata",
    "pymongo",
    "redis",
    "motor",
    "fastapi",
    "uvicorn",
    "rich.markdown",
    "services",
    "godocker.local.up",
    "godocker.demonstration",
    "httpx",
}
#: Words that begin a relative clause; a help text begins with a noun or a verb.
CLAUSES = re.compile(r"^(What|Who|Whose|Where|Those|That|Which|Whether|Of|With)\b")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, [*arguments])


def commands(command: Any = None, name: str = "") -> list[tuple[str, Any]]:
    """Return every command and group with its full name."""
    command = command or typer.main.get_command(cli.app)
    found = [(name, command)] if name else []
    for word, inner in getattr(command, "commands", {}).items():
        found += commands(inner, f"{name} {word}".strip())
    return found


ALL = dict(commands())


@pytest.mark.parametrize("name", registry.ENTRIES)
def test_a_command_is_what_its_module_registers(name: str) -> None:
    assert registry.Commands()[name].name == name


def test_a_module_registers_nothing_that_is_not_known() -> None:
    registered = {name for entry in registry.ENTRIES.values() for name in registry.load(entry.module)}
    assert registered == {*registry.ENTRIES}


@pytest.mark.parametrize("name", registry.ENTRIES)
def test_the_summary_of_a_command_is_how_its_own_help_begins(name: str) -> None:
    assert " ".join(str(ALL[name].help).split()).startswith(registry.ENTRIES[name].summary)


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["--version"], ["no-such-command"]])
def test_a_command_imports_nothing_that_only_others_need(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom godocker import cli\n"
        f"try: cli.app({arguments!r})\nexcept SystemExit: pass\nprint('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60)
    imported = {*done.stdout.partition("MODULES ")[2].split()}
    assert imported
    help_alone = {"rich.markdown"} if arguments == ["--help"] else {"rich.markdown", "importlib.metadata"}
    assert imported & HEAVY <= help_alone


def test_no_command_imports_a_web_framework() -> None:
    code = (
        "import sys\nfrom godocker.commands.common import registry\n"
        "for name in registry.ENTRIES: registry.Commands()[name]\nprint('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60)
    imported = {*done.stdout.partition("MODULES ")[2].split()}
    assert "godocker.local.up" in imported
    assert not imported & {"fastapi", "starlette", "uvicorn", "services"}


@pytest.mark.parametrize("name", ["config", "export", "reload", "settings", "version"])
def test_a_command_without_a_database_imports_no_driver(name: str) -> None:
    code = (
        "import sys\nfrom godocker.commands.common import registry\n"
        f"registry.Commands()[{name!r}]\nprint('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {*done.stdout.partition("MODULES ")[2].split()} & {"motor", "pymongo", "redis"}


@pytest.mark.parametrize("name", ["", *ALL])
def test_every_command_has_a_short_option_for_its_help(name: str) -> None:
    shown = invoke(*name.split(), "-h")
    assert shown.exit_code == 0, shown.output
    assert "Usage:" in shown.output


@pytest.mark.parametrize("name", ALL)
def test_every_help_is_a_sentence_that_begins_with_its_verb(name: str) -> None:
    command = ALL[name]
    assert command.help, name
    texts = [command.help, *(one.help for one in command.params if one.help)]
    for one in command.params:
        assert one.help, f"{name}: {one.name} has no help"
        assert "{" not in (one.metavar or ""), f"{name}: {one.name}"
        if one.param_type_name == "argument":
            assert one.metavar, f"{name}: {one.name} is shown as {{{one.name}}}"
    for text in texts:
        assert not CLAUSES.match(text), f"{name}: {text}"
        assert text[0].isupper() or text[0] in "`t", f"{name}: {text}"
        assert text.rstrip().endswith((".", "files")), f"{name}: {text}"


def test_every_list_is_a_table_and_has_json() -> None:
    for name, command in ALL.items():
        if name.endswith(" list"):
            assert "--json" in [option for one in command.params for option in one.opts], name


def test_the_version_is_an_option_too() -> None:
    assert invoke("--version").output.strip() == metadata.version("godocker")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["docter"], "doctor"), (["nodes"], "node"), (["user", "ad"], "add"), (["setting"], "settings")],
)
def test_a_mistyped_command_is_told_with_the_nearest_one(typed: list[str], meant: str) -> None:
    answer = invoke(*typed)
    assert answer.exit_code == 2
    assert f"Did you mean '{meant}'" in " ".join(re.sub(r"[│╭╮╰╯─]", " ", answer.output).split())


def test_completion_can_be_shown_for_a_shell() -> None:
    code = "from godocker import cli; cli.app(prog_name='godocker')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={"_GODOCKER_COMPLETE": "complete_bash", "COMP_WORDS": "godocker do", "COMP_CWORD": "1", "PATH": "/usr/bin"},
    )
    assert done.stdout.split() == ["doctor"]


def test_the_page_of_the_commands_of_users_is_made_from_them() -> None:
    assert page.PAGE.read_text() == page.page(), "run: make docs"
