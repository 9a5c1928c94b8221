"""`godocker doctor`: what is well with this installation, and what is not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from godocker import readiness
from godocker.checks import findings, hosts, machine, stores
from godocker.commands import options
from shared import settings as settings_module
from shared.settings import Settings

_COLOURS = {findings.State.WELL: "green", findings.State.WARNING: "yellow", findings.State.BAD: "bold red"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Say of each part what is well and what is not. Exit code 1 if anything is not; warnings do not count."""
    settings = options.load(config, data_dir)
    found = asyncio.run(_look(settings))
    # Wide enough not to break lines where nobody watches: a log is searched for whole ones.
    console = Console() if Console().is_terminal else Console(width=200)
    console.print(_table(found))
    if any(finding.state is findings.State.BAD for finding in found):
        raise typer.Exit(1)


async def _look(settings: Settings) -> list[findings.Finding]:
    added = await stores.added_hosts(settings)
    mongo, redis, of_hosts, services = await asyncio.gather(
        stores.mongo(settings),
        stores.redis(settings),
        asyncio.to_thread(hosts.look, settings, added),
        asyncio.to_thread(_services, settings),
    )
    config = os.environ.get(settings_module.CONFIG_VARIABLE)
    files = [settings.data_dir / "secrets.json", settings.data_dir / "run" / "environment.json"]
    if config:
        files.append(Path(config))
    return [
        *mongo,
        *redis,
        *of_hosts,
        *machine.shared_dir(settings),
        *machine.secrets(settings, *files),
        *machine.versions(),
        *services,
    ]


def _services(settings: Settings) -> list[findings.Finding]:
    asked = readiness.questions(settings)
    unready = readiness.unready(asked)
    return [
        findings.warning("services", f"{name}: {unready[name]}")
        if name in unready
        else findings.well("services", f"{name} answers")
        for name in asked
    ]


def _table(found: list[findings.Finding]) -> Table:
    table = Table("part", "state", "detail")
    before = None
    for finding in found:
        part = finding.part if finding.part != before else ""
        table.add_row(part, f"[{_COLOURS[finding.state]}]{finding.state}[/]", _plain(finding.detail))
        before = finding.part
    return table


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
