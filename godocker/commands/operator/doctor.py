"""`godocker doctor`: check an installation and list its problems."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from godocker.checks import findings, hosts, machine, stores
from godocker.checks.findings import State
from godocker.commands.common import options, tables
from godocker.local import readiness
from shared.config import loading
from shared.settings import Settings

_COLOURS = {State.WELL: "green", State.WARNING: "yellow", State.BAD: "bold red"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    problems: Annotated[bool, typer.Option("--problems", help="List only warnings and problems.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Check the installation and list its problems. Exits with 1 if there is a problem; warnings do not count."""
    settings, system = options.system(config, data_dir)
    results = asyncio.run(_check(settings))
    listed = [finding for finding in results if not problems or finding.state is not State.WELL]
    if as_json:
        tables.show_json(_report(system, results, listed))
    else:
        if listed:
            tables.show(("part", "state", "detail"), _rows(listed))
        print(summary(system, results))
    if _count(results, State.BAD):
        raise typer.Exit(1)


def summary(system: str, results: Sequence[findings.Finding]) -> str:
    """Return the last line of the report: the system and the numbers of checks, warnings and problems."""
    warnings, problems = _count(results, State.WARNING), _count(results, State.BAD)
    return (
        f"checked {system}: {_many(len(results), 'check')}, {_many(warnings, 'warning')}, {_many(problems, 'problem')}"
    )


async def _check(settings: Settings) -> list[findings.Finding]:
    added = await stores.added_hosts(settings)
    mongo, redis, host_findings, services = await asyncio.gather(
        stores.mongo(settings),
        stores.redis(settings),
        asyncio.to_thread(hosts.check, settings, added),
        asyncio.to_thread(_services, settings),
    )
    config = os.environ.get(loading.CONFIG_VARIABLE)
    files = [settings.data_dir / "secrets.json", settings.data_dir / "run" / "environment.json"]
    if config:
        files.append(Path(config))
    return [
        *mongo,
        *redis,
        *host_findings,
        *machine.shared_dir(settings),
        *machine.secrets(settings, *files),
        *machine.versions(),
        *services,
    ]


def _services(settings: Settings) -> list[findings.Finding]:
    services = readiness.health_urls(settings)
    unready = readiness.unready(services)
    return [
        findings.warning("services", f"{name}: {unready[name]}")
        if name in unready
        else findings.well("services", f"{name} answers")
        for name in services
    ]


def _report(system: str, results: Sequence[findings.Finding], listed: Sequence[findings.Finding]) -> dict[str, Any]:
    return {
        "system": system,
        "checks": len(results),
        "warnings": _count(results, State.WARNING),
        "problems": _count(results, State.BAD),
        "findings": [{"part": one.part, "state": one.state, "detail": one.detail} for one in listed],
    }


def _rows(results: Sequence[findings.Finding]) -> Iterator[tuple[object, ...]]:
    before = None
    for finding in results:
        part = finding.part if finding.part != before else ""
        yield part, tables.plain(finding.state, _COLOURS[finding.state]), finding.detail
        before = finding.part


def _count(results: Sequence[findings.Finding], state: State) -> int:
    return sum(finding.state is state for finding in results)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
