"""`godocker node`: add, list, drain and remove Docker hosts."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from godocker.admin import nodes
from godocker.checks import findings, hosts
from godocker.commands.common import options, tables
from shared import clock, errors
from shared.settings import Node
from shared.system.inventory import Origin, Row
from shared.units.sizes import GB
from shared.wording import validation

app = typer.Typer(help="Add, list, drain and remove Docker hosts.", no_args_is_help=True)

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/-]{0,62}=[A-Za-z0-9._:/-]{0,63}")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the node.")]


def _tls(what: str) -> object:
    return typer.Option(metavar="FILE", help=f"{what}, as an absolute path on the hosts of scheduler and watcher.")


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="node")


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option(metavar="URL", help="tcp://HOST:2376 or unix:///PATH of the engine's socket.")],
    tls_ca: Annotated[Path | None, _tls("CA certificate of the engine")] = None,
    tls_cert: Annotated[Path | None, _tls("Client certificate of GoDocker")] = None,
    tls_key: Annotated[Path | None, _tls("Key of the client certificate")] = None,
    cpus: Annotated[
        float | None, typer.Option(min=0.01, metavar="NUMBER", help="Cores that tasks may use. Default: all.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.01, metavar="GB", help="Memory that tasks may use, in GB. Default: all.")
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", metavar="NAME", help="Name of a GPU that tasks may use. Repeat for several."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Label of the node. Repeat for several.")
    ] = None,
    public_address: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Host name or address at which users reach ports of tasks, shown in `urls`."),
    ] = None,
    check: Annotated[bool, typer.Option(help="Check from this machine that the engine answers.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Add the host even if the engine has less than the options say.")
    ] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add a Docker host. Running services use it within seconds. See docs/preparing-a-host.md."""
    settings = options.load(config, data_dir)
    values = {
        "name": name,
        "url": url,
        "tls_ca": tls_ca,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "cpus": cpus,
        "memory": memory,
        "gpus": gpu or [],
        "labels": _labels(label or []),
        "public_address": public_address,
    }
    try:
        node = Node.model_validate(values)
    except ValidationError as error:
        raise errors.InvalidInput(validation.problems(error.errors(), Node)) from None
    report = asyncio.run(nodes.add(settings, node, check=check, force=force))
    print(f"added node {name} ({report.version})")
    for sentence in report.missing:
        print(f"godocker: {name}: {sentence}", file=sys.stderr)
    tls = hosts.check_tls(f"node {name}", node)
    if tls.state is not findings.State.WELL:
        print(f"godocker: {name} is {tls.detail}", file=sys.stderr)


@app.command("list")
def list_nodes(as_json: tables.AsJson = False, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """List all nodes, added and configured, with their state, size and usage."""
    rows = asyncio.run(nodes.every(options.load(config, data_dir)))
    if as_json:
        tables.show_json([asdict(row) for row in rows])
        return
    now = clock.now()
    columns = ("node", "from", "state", "tasks", "cpus", "memory (GB)", "gpus", "version", "last answer", "reason")
    tables.show(columns, [_cells(row, now) for row in rows])


@app.command()
def show(name: Name, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Show the details of one node."""
    rows = asyncio.run(nodes.every(options.load(config, data_dir)))
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        raise errors.NotFound(f"there is no node {name}")
    for key, value in _details(row).items():
        print(f"{key}: {tables.plain(value)}")


@app.command()
def drain(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until no task is left on the node.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Stop placing tasks on a node. Its running tasks keep running."""
    settings = options.load(config, data_dir)
    asyncio.run(nodes.drain(settings, name, on=True))
    print(f"node {name} drained: no new tasks will start there")
    if wait:
        asyncio.run(nodes.wait_drained(settings, name, lambda left: print(f"{left} tasks left", flush=True)))


@app.command()
def undrain(name: Name, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Place tasks on a drained node again."""
    asyncio.run(nodes.drain(options.load(config, data_dir), name, on=False))
    print(f"node {name} accepts tasks again")


@app.command()
def remove(
    name: Name,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Remove the host even if it has tasks. They count as lost; their containers are NOT stopped.",
        ),
    ] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """
    Remove a host added with `node add`, once it has no tasks. Remove configured hosts from the configuration file.
    """
    left = asyncio.run(nodes.remove(options.load(config, data_dir), name, force=force))
    print(f"removed node {name}" + (f"; its {left} tasks count as lost" if left else ""))


def _labels(words: list[str]) -> dict[str, str]:
    for word in words:
        if not _LABEL.fullmatch(word):
            raise errors.InvalidInput.of("label", f"{word!a} is not KEY=VALUE with letters, digits and . _ : / -")
    return dict(word.split("=", 1) for word in words)


def _cells(row: Row, now: float) -> tuple[object, ...]:
    return (
        row.name,
        row.origin,
        row.state,
        row.tasks,
        f"{row.cpus_used:g} of {row.cpus:g}",
        f"{row.memory_used / GB:.1f} of {row.memory / GB:.1f}",
        f"{row.gpus_used} of {row.gpus}" if row.gpus else None,
        row.version,
        f"{now - row.seen_at:.0f} s ago" if row.seen_at else "never",
        row.reason,
    )


def _details(row: Row) -> dict[str, object]:
    details: dict[str, object] = {
        "node": row.name,
        "from": f"{row.origin} (remove it in the configuration file)"
        if row.origin is Origin.CONFIGURED
        else row.origin,
        "url": row.url or "-",
        "public address": row.public_address or "-",
        "state": row.state,
        "reason": row.reason or "-",
        "cpus": f"{row.cpus_used:g} of {row.cpus:g}",
        "memory": f"{row.memory_used / GB:.1f} of {row.memory / GB:.1f} GB",
        "gpus": f"{row.gpus_used} of {row.gpus}",
        "tasks": row.tasks,
        "labels": ", ".join(f"{key}={value}" for key, value in sorted(row.labels.items())) or "-",
        "version": row.version or "-",
    }
    seen = "never" if row.seen_at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(row.seen_at))
    return {**details, "last answer": seen}
