"""GoDocker on three Docker hosts of this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

from godocker.local import parent_death
from tests.cluster import running
from tests.cluster.cluster import Cluster
from tests.cluster.commands import ClusterError
from tests.cluster.host import IMAGE

NAME = "testbed"
STOP_TIMEOUT = 60.0  #: seconds for `godocker up` to end

_READY = re.compile(r"^GoDocker is ready at (http://\S+)$")
_KEY = re.compile(r"^API key of the user admin, shown only once: (\S+)$")

_HINTS = """
Three Docker hosts: {hosts}. All of it goes with Ctrl-C. A first task, from another terminal:

    API={url}/api/1.0
    TOKEN=$(curl -s $API/authenticate -H 'Content-Type: application/json' \\
        -d '{{"user": "admin", "apikey": "{key}"}}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
    curl -s $API/task -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{
        "meta": {{"name": "first"}}, "requirements": {{"cpu": 1, "ram": 0.5}},
        "container": {{"image": "{image}"}}, "command": {{"cmd": "echo on $(hostname); sleep 60"}}}}'
    curl -s $API/task/1 -H "Authorization: Bearer $TOKEN"

Users and projects: {python} -m godocker user add LOGIN --data-dir {data_dir}
Then let something happen to a host:

    {cli} status              what there is
    {cli} cut node2           pull its cable; mute: it hears and is not heard; freeze: its engine hangs
    {cli} heal node2          undo these
    {cli} kill node2          SIGKILL its engine (--signal TERM); restart brings it back
    {cli} wipe node2          reboot it with an empty disk, and the image; off and on: the power fails
    {cli} down                the same as Ctrl-C here
"""


def run(name: str, *, port: int) -> None:
    """Run the testbed. Raises `ClusterError` if it cannot start, or if `godocker up` ends by itself."""
    if other := running.find(name):
        raise ClusterError(f"the cluster {name} is up already: process {other.owner}")
    # As after Ctrl-C: everything is taken down on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    print("Starting three Docker hosts …", flush=True)
    try:
        with running.cluster(name) as cluster:
            try:
                _serve(cluster, port)
            finally:
                # A second Ctrl-C must not leave half of it behind.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                print("Taking the hosts down …", flush=True)
    except KeyboardInterrupt:
        pass


def _serve(cluster: Cluster, port: int) -> None:
    data_dir = cluster.directory / "godocker"
    up = [sys.executable, "-P", "-m", "godocker", "up", "--data-dir", str(data_dir), "--port", str(port)]
    process = subprocess.Popen(
        # It ends with us, however we end.
        [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *up, "--executor", "docker"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GODOCKER_NODES": cluster.nodes},
        start_new_session=True,  # Ctrl-C is for us
    )
    key = "THE KEY"
    assert process.stdout is not None
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := _KEY.match(line):
                key = found[1]
            if found := _READY.match(line):
                print(_hints(cluster, found[1], key, str(data_dir)), flush=True)
        raise ClusterError(f"`godocker up` ended with exit code {process.wait(STOP_TIMEOUT)}")
    finally:
        _end(process)


def _hints(cluster: Cluster, url: str, key: str, data_dir: str) -> str:
    hosts = ", ".join(
        f"{host.name} ({host.size.cpus:g} cpus, {host.size.memory:g} GB) at {host.address}" for host in cluster.hosts
    )
    cli = f"{sys.executable} -m tests.cluster" + (f" --name {cluster.name}" if cluster.name != NAME else "")
    return _HINTS.format(hosts=hosts, url=url, key=key, image=IMAGE, data_dir=data_dir, python=sys.executable, cli=cli)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT)
    if process.stdout is not None:
        process.stdout.close()
