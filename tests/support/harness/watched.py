"""A running system that a real Prometheus watches, and faults for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.conftest import FIGURES
from tests.support import expositions, hanging, waiting
from tests.support.harness.system import System, running_system
from tests.support.servers import prometheus
from tests.support.servers.prometheus import Prometheus

TIMEOUT = 90.0
TASK = {
    "meta": {"name": "watched"},
    "requirements": {"cpu": 1, "ram": 1},
    "container": {"image": "busybox"},
    "command": {"cmd": "true"},
}
#: Accelerated, as the rules are.
QUICK = {
    "GODOCKER_MONGO_TIMEOUT": "1.5",
    "GODOCKER_REDIS_TIMEOUT": "0.3",
    "GODOCKER_POLL_SECONDS": "0.5",
    "GODOCKER_RECONCILE_SECONDS": "0.5",
    "GODOCKER_LEASE_SECONDS": "2",
    "GODOCKER_LEADER_LEASE_SECONDS": "2",
}


@dataclass
class Watched:
    system: System
    prometheus: Prometheus
    token: str
    loud: set[str] = field(default_factory=set)  #: alerts that fired at the last query
    record: Callable[[str, object], None] = field(default=lambda name, value: None)

    def client(self) -> httpx.Client:
        return self.system.client(self.token)

    def submit(self, **fields: object) -> httpx.Response:
        """Submit a task over a new connection, whichever worker takes it."""
        with self.client() as client:
            return client.post("/api/1.0/task", json={**TASK, **fields})

    def shown(self, job: str) -> expositions.Shown:
        return expositions.shown(expositions.addresses(self.system)[job])

    # --- alerts -----------------------------------------------------------------------------

    def until_fires(self, *alerts: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until each of these has fired, repeating `meanwhile`."""
        began, after = time.monotonic(), dict[str, float]()

        def fired() -> bool:
            meanwhile()
            for alert in self.prometheus.firing() & {*alerts} - {*after}:
                after[alert] = round(time.monotonic() - began, 1)
            return {*after} == {*alerts}

        waiting.until_blocking(fired, f"each of {sorted(alerts)} fired", timeout=TIMEOUT, interval=0.2)
        self.record(FIGURES, f"fired after seconds: {after}")

    def until_rests(self, *alerts: str) -> None:
        """Wait until none of these fires."""
        waiting.until_blocking(
            lambda: not self.prometheus.firing() & {*alerts}, f"{sorted(alerts)} rest", timeout=TIMEOUT, interval=0.3
        )

    def until_quiet(self, *, but: Collection[str] = ()) -> None:
        """Wait until no alert fires except those in `but`."""

        def quiet() -> bool:
            self.loud = self.prometheus.firing() - {*but}
            return not self.loud

        try:
            waiting.until_blocking(quiet, "no alert fires", timeout=TIMEOUT, interval=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: {sorted(self.loud)}") from None

    # --- what is done to it -----------------------------------------------------------------

    @contextmanager
    def stuttering(self, service: str, *, stopped: float, going: float) -> Iterator[None]:
        """Let a service or store run only at intervals (seconds)."""
        pid, over = self.system.pid(service), threading.Event()

        def stutter() -> None:
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait(stopped)
                os.kill(pid, signal.SIGCONT)
                over.wait(going)

        thread = threading.Thread(target=stutter, name=f"stutter-{service}")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def dead(self, service: str) -> Iterator[None]:
        """End a service until the end of the context, without a restart."""
        hanging.stop(self.system.up_pid)
        try:
            self.system.kill(service)
            yield
        finally:
            os.kill(self.system.up_pid, signal.SIGCONT)

    @contextmanager
    def forgotten(self, job: str) -> Iterator[None]:
        """Make Prometheus find no process of this job: its name resolves to nothing."""
        self.prometheus.look_at(job, [])
        try:
            yield
        finally:
            self.prometheus.look_at(job, [expositions.addresses(self.system)[job]])


@contextmanager
def watched_system(
    *arguments: str, environment: Mapping[str, str] | None = None, executor: str = "process"
) -> Iterator[Watched]:
    """Run a system as `running_system` does, with shorter intervals, and watch it."""
    prometheus.program("prometheus")
    with running_system(*arguments, environment={**QUICK, **(environment or {})}, executor=executor) as system:
        targets = {job: [address] for job, address in expositions.addresses(system).items()}
        with prometheus.running(targets) as server:
            yield Watched(system, server, system.token())
