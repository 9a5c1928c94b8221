"""Several Docker hosts on this machine, and actions on all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster.commands import ClusterError
from tests.cluster.host import IMAGE, Host, Size
from tests.cluster.network import Network

DESCRIPTION = "cluster.json"  #: file in the cluster's directory that describes it to other processes

SMALL = (Size(4, 4), Size(2, 8), Size(8, 2))  #: three hosts with different proportions


class Cluster:
    """Hosts `node1`, `node2` and so on. Made by `running.cluster`, or found by `running.find` if another process has it."""

    def __init__(self, name: str, number: int, sizes: Sequence[Size], directory: Path, *, owner: int) -> None:
        """`owner` is the process with which the machines end."""
        self.name = name
        self.number = number
        self.owner = owner
        self.directory = directory
        self._options: tuple[str, ...] = ()
        self.network = Network(number)
        self.hosts = [
            Host(position, size, self.network, self.directory / f"node{position + 1}", owner=owner)
            for position, size in enumerate(sizes)
        ]

    def __getitem__(self, name: str) -> Host:
        """Return the host of that name. Raises `ClusterError`."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise ClusterError(f"there is no host {name}: there are {', '.join(host.name for host in self.hosts)}")

    @property
    def nodes(self) -> str:
        """Return GoDocker's setting `nodes`, as the variable GODOCKER_NODES holds it."""
        return json.dumps([host.node for host in self.hosts])

    def start(self, *options: str) -> None:
        """Start all hosts with additional `options` of dockerd, and load the image on each."""
        self._options = options
        self.directory.mkdir(mode=0o711)
        self._write_down()
        self.network.build()
        for host in self.hosts:
            host.switch_on()
            host.set_options(*options)
        self._on_each(_start)

    def switch_off(self) -> None:
        """Switch off all running hosts. Their disks stay."""
        for host in self.hosts:
            host.switch_off()

    def restore(self) -> None:
        """
        Undo everything that was done to the hosts: all are on and reachable, with their first options, the image and no
        containers.
        """
        self._on_each(lambda host: _restore(host, self._options))

    def _on_each(self, act: Callable[[Host], None]) -> None:
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(act, self.hosts))

    def _write_down(self) -> None:
        """Write the description that `find` reads."""
        sizes = [[host.size.cpus, host.size.memory] for host in self.hosts]
        (self.directory / DESCRIPTION).write_text(json.dumps({"name": self.name, "owner": self.owner, "sizes": sizes}))


def _start(host: Host) -> None:
    host.start()
    host.load_images()


def _restore(host: Host, options: tuple[str, ...]) -> None:
    host.cgroup.thaw()
    if host.machine.first() is None:
        host.switch_on()
    host.heal()
    if host.options != options:
        host.set_options(*options)
        host.stop()
    if not host.is_running():
        host.start()
    if IMAGE not in host.images():
        host.load_images()
    host.engine.remove_containers()
