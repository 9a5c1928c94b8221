"""Sample all hosts of a cluster from outside: the resources promised to containers, and the runs."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from shared.units.sizes import GB
from tests.cluster.host import Host, Size
from tests.cluster.questions import NoAnswer

INTERVAL = 0.05  #: seconds between two samples
END_TIMEOUT = 60.0  #: seconds

_RUN = re.compile(r"god-(?:[a-z0-9]+-)?(\d+)-\d+")


@dataclass(slots=True)
class Seen:
    """Results of one host, over all samples."""

    looks: int = 0
    missed: int = 0  #: samples in which its engine did not answer
    cpus: float = 0.0  #: most promised at one moment
    memory: float = 0.0  #: GB, likewise
    containers: set[str] = field(default_factory=set)  #: names of all that ran


class Sampler:
    """
    `with Sampler(cluster.hosts) as sampler: …`, then `sampler.hosts["node1"]` and `sampler.wrong`. Engines are asked past
    the network for their containers, the kernel for live processes: two runs of one task are noticed whatever an engine
    reports.
    """

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = {host.name: Seen() for host in hosts}
        #: Violations: more promised than a host has, or two runs of one task at once.
        self.wrong: list[str] = []
        self._hosts = hosts
        self._sizes: dict[str, Size | None] = {}
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(END_TIMEOUT)
        if error is None and self._error is not None:
            raise self._error

    def __str__(self) -> str:
        return "; ".join(
            f"{host.name} {len(seen.containers)} containers, at most {seen.cpus:g} of {host.size.cpus:g} cpus and "
            f"{seen.memory:.2f} of {host.size.memory:g} GB in {seen.looks} looks"
            for host in self._hosts
            if (seen := self.hosts[host.name])
        )

    def _watch(self) -> None:
        try:
            while not self._stop.wait(INTERVAL):
                for host in self._hosts:
                    self._look(host)
                self._look_for_doubles()
        except BaseException as error:
            self._error = error

    def _look(self, host: Host) -> None:
        seen = self.hosts[host.name]
        try:
            containers = host.ask("/containers/json")
            sizes = {item["Names"][0].lstrip("/"): self._promised(host, item["Id"]) for item in containers}
        except NoAnswer:
            seen.missed += 1
            return
        cpus = sum(size.cpus for size in sizes.values() if size)
        memory = sum(size.memory for size in sizes.values() if size)
        seen.looks += 1
        seen.cpus, seen.memory = max(seen.cpus, cpus), max(seen.memory, memory)
        seen.containers |= sizes.keys()
        # Requests have few decimals, so a sum is off by less than this.
        if cpus > host.size.cpus + 1e-6 or memory > host.size.memory + 1e-6:
            self.wrong.append(f"{host.name} ran {cpus:g} cpus and {memory:g} GB: {sorted(sizes)}")

    def _promised(self, host: Host, container_id: str) -> Size | None:
        """Return the resources that the container may use; None if it is gone."""
        if container_id not in self._sizes:
            found = host.ask(f"/containers/{container_id}/json")
            if found is None:
                return None
            limits = found["HostConfig"]
            self._sizes[container_id] = Size(limits["NanoCpus"] / 1e9, limits["Memory"] / GB)
        return self._sizes[container_id]

    def _look_for_doubles(self) -> None:
        first = self._runs()
        suspects = [task for task, runs in first.items() if len(runs) > 1]
        if not suspects:
            return
        # Hosts are sampled one after the other: only a pair seen in two samples existed at one moment.
        second = self._runs()
        for task in suspects:
            both = first[task] & second.get(task, set())
            if len(both) > 1:
                self.wrong.append(f"task {task} ran twice at once: {sorted(both)}")

    def _runs(self) -> dict[int, set[str]]:
        """Return the live runs of each task, with their hosts."""
        found: dict[int, set[str]] = {}
        for host in self._hosts:
            for living in host.living():
                if run := _RUN.fullmatch(living.name):
                    found.setdefault(int(run[1]), set()).add(f"{living.name} on {host.name}")
        return found
