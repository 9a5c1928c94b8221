"""`godocker node`: add, list, drain and remove Docker hosts."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from godocker import nodes
from godocker.checks import findings, hosts
from godocker.commands import options
from shared import clock, errors
from shared.errors import FieldError
from shared.inventory import Origin, Row
from shared.settings import Node

app = typer.Typer(help="Add, list, drain and remove Docker hosts.", no_args_is_help=True)

_GB = 1024**3
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/-]{0,62}=[A-Za-z0-9._:/-]{0,63}")

Name = Annotated[str, typer.Argument(help="The node's name.")]
Tls = Annotated[Path | None, typer.Option(help="A path on the hosts of the services.")]


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="node")


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option(help="tcp://host:2376, or unix:///path of a socket.")],
    tls_ca: Tls = None,
    tls_cert: Tls = None,
    tls_key: Tls = None,
    cpus: Annotated[float | None, typer.Option(min=0.01, help="What tasks may use. Default: all.")] = None,
    memory: Annotated[float | None, typer.Option(min=0.01, help="GB. Default: all.")] = None,
    gpu: Annotated[list[str] | None, typer.Option("--gpu", help="A device by name; once for each.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="key=value; once for each.")] = None,
    check: Annotated[bool, typer.Option(help="Ask its engine from here, and add it if it answers.")] = True,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add a Docker host. Running services use it within seconds; see docs/preparing-a-host.md."""
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
    }
    try:
        node = Node.model_validate(values)
    except ValidationError as error:
        fields = [FieldError(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
        raise errors.InvalidInput(fields) from None
    said = asyncio.run(nodes.add(settings, node, check=check))
    print(f"node {name} is added ({said})")
    warned = hosts.judge_tls(f"node {name}", node)
    if warned.state is not findings.State.WELL:
        print(f"godocker: {name} is {warned.detail}", file=sys.stderr)


@app.command("list")
def list_nodes(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the nodes, those of the configuration too: how each is, what it has and what of that is in use."""
    rows = asyncio.run(nodes.every(options.load(config, data_dir)))
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("node", "from", "state", "tasks", "cpus", "memory (GB)", "gpus", "version", "last answer", "reason")
    now = clock.now()
    for row in rows:
        table.add_row(
            row.name,
            row.origin,
            row.state,
            str(row.tasks),
            f"{row.cpus_used:g} of {row.cpus:g}",
            f"{row.memory_used / _GB:.1f} of {row.memory / _GB:.1f}",
            f"{row.gpus_used} of {row.gpus}" if row.gpus else "",
            row.version,
            f"{now - row.seen_at:.0f} s ago" if row.seen_at else "never",
            escape(row.reason or ""),
        )
    console = Console() if Console().is_terminal else Console(width=200)
    console.print(table)


@app.command()
def show(name: Name, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """All that is known of one node, line by line."""
    rows = asyncio.run(nodes.every(options.load(config, data_dir)))
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        raise errors.NotFound(f"no node {name}")
    for key, value in _shown(row).items():
        print(f"{key}: {value}")


@app.command()
def drain(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Until no task is left there.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Give a node nothing new. What runs there goes on."""
    settings = options.load(config, data_dir)
    asyncio.run(nodes.drain(settings, name, on=True))
    print(f"node {name} is given nothing new")
    if wait:
        asyncio.run(nodes.wait_drained(settings, name, lambda left: print(f"{left} tasks are left", flush=True)))


@app.command()
def undrain(name: Name, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Use a node again."""
    asyncio.run(nodes.drain(options.load(config, data_dir), name, on=False))
    print(f"node {name} is used again")


@app.command()
def remove(
    name: Name,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="With tasks there: they are given up as on a lost node. Its containers are stopped by nobody.",
        ),
    ] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Take a host that was added out of the system, once no task is left there. Those of the configuration stay."""
    left = asyncio.run(nodes.remove(options.load(config, data_dir), name, force=force))
    print(f"node {name} is removed" + (f", and {left} tasks there are given up" if left else ""))


def _labels(words: list[str]) -> dict[str, str]:
    for word in words:
        if not _LABEL.fullmatch(word):
            raise errors.InvalidInput.of("label", f"{word} is not key=value of plain characters")
    return dict(word.split("=", 1) for word in words)


def _shown(row: Row) -> dict[str, object]:
    shown: dict[str, object] = {
        "node": row.name,
        "from": f"{row.origin} (cannot be removed by command)" if row.origin is Origin.CONFIGURED else row.origin,
        "url": row.url or "-",
        "state": row.state,
        "reason": row.reason or "-",
        "cpus": f"{row.cpus_used:g} of {row.cpus:g}",
        "memory": f"{row.memory_used / _GB:.1f} of {row.memory / _GB:.1f} GB",
        "gpus": f"{row.gpus_used} of {row.gpus}",
        "tasks": row.tasks,
        "labels": ", ".join(f"{key}={value}" for key, value in sorted(row.labels.items())) or "-",
        "version": row.version or "-",
    }
    seen = "never" if row.seen_at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(row.seen_at))
    return {**shown, "last answer": seen}
