"""A system on three Docker hosts, with its submitted tasks, for tests of faults."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.conftest import GID, UID, SeveralHosts, folder
from tests.acceptance.use.client import Client
from tests.cluster.cluster import Cluster
from tests.conftest import FIGURES
from tests.support import history, waiting
from tests.support.harness.system import System

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
ROUNDS = range(5 if LONG else 1)
PATIENCE = 120.0
SETTINGS = {
    "GODOCKER_PLACEMENT": "spread",
    "GODOCKER_RECONCILE_SECONDS": "0.5",
    "GODOCKER_FAILURE_POLICY": json.dumps({"strategy": 3, "delay": 0.5}),
}


@dataclass
class Hosts:
    """The system and all tasks submitted so far."""

    ground: SeveralHosts
    system: System
    client: Client
    exit_codes: dict[str, history.Expected] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)
    figures: history.Figures = field(default_factory=history.Figures)
    recoveries: list[float] = field(default_factory=list)  #: seconds, of this story
    record: Callable[[str, object], None] = field(default=lambda name, value: None)
    _before: history.Figures = field(default_factory=history.Figures)

    @property
    def cluster(self) -> Cluster:
        return self.ground.cluster

    def begin(self, record: Callable[[str, object], None]) -> Hosts:
        """Begin the next fault, for `record`."""
        self.record, self._before, self.recoveries = record, self.figures, []
        return self

    def submit(
        self,
        *,
        exit_code: int | None = 0,
        ends: Mapping[str, int] | None = None,
        restarts: int = 2,
        seconds: float = 0,
        gate: str | None = None,
        command: str = ":",
        **requirements: object,
    ) -> int:
        """
        A task that runs for `seconds`, in its first attempt not before `gate` is opened, and then `command`. `exit_code` None:
        its node will fail it. `ends`: the exit code by how it may end, where that is not by itself.
        """
        name = f"task-{len(self.acknowledged)}"
        self.exit_codes[name] = exit_code if ends is None else ends
        script = self.ground.witness.script(seconds=seconds, exit_code=exit_code or 0, gate=gate, command=command)
        task_id = self.client.submit(self.ground.task(name, script, failure_policy=restarts, **requirements))
        self.acknowledged.append(task_id)
        return task_id

    def node_of(self, task_id: int) -> str | None:
        """Return the host on which the task's command runs now."""
        started = [
            attempt for found, attempt, what in self.ground.witness.lines() if (found, what) == (task_id, "start")
        ]
        meta = self.client.task(task_id)["container"]["meta"] or {}
        return str(meta["Node"]["Name"]) if started and "Node" in meta else None

    def on_every_host(self, send: Callable[[], int]) -> dict[str, list[int]]:
        """Submit tasks until each host runs one, and return them by host."""
        sent: list[int] = []
        placed: dict[str, list[int]] = {}
        while len(placed) < len(self.cluster.hosts):
            assert len(sent) < 12, f"{len(sent)} tasks are on {sorted(placed)} only"
            sent += [send() for _ in range(3)]
            nodes = {task_id: self.runs_on(task_id) for task_id in sent}
            placed = {node: [task for task in sent if nodes[task] == node] for node in sorted(set(nodes.values()))}
        return placed

    def runs_on(self, task_id: int) -> str:
        return str(waiting.until_blocking(lambda: self.node_of(task_id), f"task {task_id} runs", timeout=PATIENCE))

    def over(self, *task_ids: int) -> list[dict[str, Any]]:
        return [self.client.wait(task_id, timeout=PATIENCE)["status"] for task_id in task_ids]

    def stopped(self, *task_ids: int) -> None:
        """Wait until the commands of these tasks report their end to the witness."""

        def written() -> bool:
            ended = {task for task, _, what in self.ground.witness.lines() if what == "stop"}
            return ended >= set(task_ids)

        waiting.until_blocking(written, f"tasks {task_ids} ended", timeout=PATIENCE)

    @contextmanager
    def recovery(self) -> Iterator[None]:
        """Measure the time of the block as the system's recovery time."""
        began = time.monotonic()
        yield
        self.recoveries.append(time.monotonic() - began)

    def check(self) -> None:
        """Wait until all tasks are over, and compare everything with the witness."""
        waiting.until_blocking(self._is_settled, "all ends are settled", timeout=PATIENCE)
        waiting.until_blocking(lambda: self.ground.runs(self.system) == [], "no container is left", timeout=PATIENCE)
        self.figures = history.check(
            self.system.settings(), self.ground.witness, acknowledged=self.acknowledged, exit_codes=self.exit_codes
        )

    def end(self) -> None:
        """End the fault: `check`, and record the results."""
        self.check()
        times = self.recoveries
        self.record(
            FIGURES,
            f"{len(ROUNDS)} rounds, {self.figures.since(self._before)}; recovery median {statistics.median(times):.1f} s, "
            f"max {max(times):.1f} s",
        )

    def _is_settled(self) -> bool:
        return history.unsettled(self.system.settings()) == 0


@contextmanager
def running(cluster: Cluster, settings: Mapping[str, str] | None = None) -> Iterator[Hosts]:
    """Start a system on the hosts, with the user alice logged in."""
    with folder() as witness:
        ground = SeveralHosts(cluster, witness)
        with ground.system(**{**SETTINGS, **(settings or {})}) as system:
            key = system.add_user("alice", "--uid", str(UID), "--gid", str(GID))
            with system.client(system.token("alice", key)) as http:
                yield Hosts(ground, system, Client(http))


def at_once(*acts: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(act) for act in acts]:
            done.result()
