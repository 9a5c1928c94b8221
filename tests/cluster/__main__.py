"""`python -m tests.cluster`: a testbed of three Docker hosts, with commands that disturb them."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import httpx
import psutil
import typer
from rich.console import Console
from rich.table import Table

from tests.cluster import requirements, running, testbed
from tests.cluster.cluster import Cluster
from tests.cluster.commands import ClusterError
from tests.cluster.host import PORT, Host

DOWN_TIMEOUT = 120.0  #: seconds

app = typer.Typer(
    name="python -m tests.cluster",
    help="GoDocker on three Docker hosts in namespaces of this machine, to be cut off, killed and wiped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Signal(StrEnum):
    KILL = "KILL"
    TERM = "TERM"


HostName = Annotated[str, typer.Argument(metavar="HOST", help="node1, node2 or node3.")]
Name = Annotated[str, typer.Option("--name", help="Which cluster, where there are several.")]


@app.callback()
def choose(context: typer.Context, name: Name = testbed.NAME) -> None:
    context.obj = name
    requirements.check()


@app.command()
def up(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the gateway; 0: any.")] = 6543,
) -> None:
    """Start the hosts and GoDocker on them, in the foreground until Ctrl-C."""
    testbed.run(context.obj, port=port)


@app.command()
def down(context: typer.Context) -> None:
    """Remove everything, including leftovers of a killed testbed."""
    if cluster := running.find(context.obj):
        with contextlib.suppress(psutil.NoSuchProcess):
            owner = psutil.Process(cluster.owner)
            owner.send_signal(signal.SIGTERM)
            owner.wait(DOWN_TIMEOUT)
    swept = running.sweep()
    print("nothing was up" if cluster is None and not swept else "all is down")


@app.command()
def status(context: typer.Context) -> None:
    """Print the hosts, their state, and their live containers."""
    table = Table("host", "address", "size", "state", "containers")
    for host in _cluster(context).hosts:
        names = sorted(living.name for living in host.living())
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        size = f"{host.size.cpus:g} cpus, {host.size.memory:g} GB"
        table.add_row(host.name, host.address, size, _state(host), shown or "-")
    Console().print(table)


def _add(name: str, act: Callable[[Host], None], done: str, text: str) -> None:
    def command(context: typer.Context, host: HostName) -> None:
        act(_cluster(context)[host])
        print(f"{host} {done}")

    app.command(name, help=text)(command)


def _wipe(host: Host) -> None:
    host.wipe()
    host.load_images()


def _switch_on(host: Host) -> None:
    host.switch_on()
    host.start()


_add("cut", Host.cut, "is cut off", "Pull its cable: all goes on there, and nobody reaches it.")
_add("mute", Host.mute, "hears and is not heard", "Drop what it sends: it does what it is asked, its answers are lost.")
_add("freeze", Host.freeze, "hangs", "Let its engine hang: connections are taken, nothing is answered.")
_add("heal", Host.heal, "is whole", "Undo cut, mute and freeze.")
_add("restart", Host.restart, "has a new engine", "SIGTERM to its engine where one runs, and start one.")
_add("wipe", _wipe, "has an empty disk, and the image", "Reboot it with an empty disk: containers and images are gone.")
_add("off", Host.switch_off, "is off", "Let the power fail: engine and containers are gone at once, the disk stays.")
_add("on", _switch_on, "is on", "Boot it again.")


@app.command()
def kill(
    context: typer.Context,
    host: HostName,
    number: Annotated[Signal, typer.Option("--signal", help="What its engine gets.")] = Signal.KILL,
) -> None:
    """Kill a host's engine; without live-restore its containers end at its next start at the latest."""
    _cluster(context)[host].stop(signal.Signals[f"SIG{number}"])
    print(f"{host} has no engine any more: bring one back with `restart {host}`")


def _cluster(context: typer.Context) -> Cluster:
    cluster = running.find(context.obj)
    if cluster is None:
        raise ClusterError(f"no cluster {context.obj} is up: start one with `python -m tests.cluster up`")
    return cluster


def _state(host: Host) -> str:
    """Return the first fault, from the machine outwards."""
    if host.machine.first() is None:
        return "off"
    if not host.is_running():
        return "no engine"
    if not host.engine.answers():
        return "engine hangs"
    try:
        httpx.get(f"http://{host.address}:{PORT}/_ping", timeout=1.0, trust_env=False)
    except httpx.HTTPError:
        return "not reached"
    return "up"


def main() -> None:
    """Run a command. Expected failures become one message and exit code 1, without a traceback."""
    try:
        app()
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
