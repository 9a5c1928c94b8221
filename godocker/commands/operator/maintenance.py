"""`godocker maintenance`: begin and end maintenance of the system or of a node."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from godocker.commands.common import options, tables
from shared import clock, errors
from shared.broker import broker
from shared.models.node import ALL
from shared.settings import Settings
from shared.store import stores

app = typer.Typer(help="Stop placing tasks on one node or on all nodes for a while.", no_args_is_help=True)

Node = Annotated[
    str,
    typer.Argument(
        metavar="[NODE]", help="Name of a node. Default: `all` nodes; then the gateway also refuses new tasks."
    ),
]


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="maintenance")


@app.command()
def on(node: Node = ALL, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Begin maintenance. Running tasks keep running, pending tasks wait."""
    asyncio.run(_set(options.load(config, data_dir), node, on=True))


@app.command()
def off(node: Node = ALL, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """End maintenance."""
    asyncio.run(_set(options.load(config, data_dir), node, on=False))


@app.command("list")
def list_all(as_json: tables.AsJson = False, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """List the nodes in maintenance; `all` stands for the whole system."""
    names = sorted(asyncio.run(_names(options.load(config, data_dir))))
    if as_json:
        tables.show_json(names)
    else:
        tables.show(("in maintenance",), [(name,) for name in names])


async def _set(settings: Settings, node: str, *, on: bool) -> None:
    async with stores.connect(settings) as store:
        known = {ALL, *(one.id for one in await store.nodes.list()), *await store.maintenance.names()}
        if node not in known:
            raise errors.NotFound(f"there is no node {node}")
        await store.maintenance.put(node, on=on, by="godocker", at=clock.now())
    print(f"maintenance of {node} is {'on' if on else 'off'}")
    try:
        async with broker.connect(settings) as hints:
            await hints.tell_scheduler_maintenance()
    except errors.BrokerUnavailable:
        print("godocker: Redis does not answer; the scheduler notices the change within seconds", file=sys.stderr)


async def _names(settings: Settings) -> set[str]:
    async with stores.connect(settings) as store:
        return await store.maintenance.names()
