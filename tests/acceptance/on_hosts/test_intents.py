"""
Kills, suspends and resumes that race with starts and ends on three Docker hosts: nobody comes back to life, and what was to be
killed is. GODOCKER_LONG_TESTS tries it again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.on_hosts import hosts as several
from tests.acceptance.on_hosts.hosts import PATIENCE, ROUNDS, Hosts, at_once
from tests.cluster.cluster import Cluster
from tests.support import waiting

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(1200)]

EACH = 3  #: tasks of a kind
CODE = 18
KILLED = {"killed": 137}
EITHER = {"killed": 137, "exited": CODE}


@pytest.fixture
def hosts(cluster: Cluster, record_property: Callable[[str, object], None]) -> Iterator[Hosts]:
    with several.running(cluster) as made:
        yield made.begin(record_property)


def test_wishes_that_race_with_starts_and_ends_have_one_of_the_ends_they_may_have(hosts: Hosts) -> None:
    for _ in ROUNDS:
        while_the_scheduler_is_down(hosts)
        acts: list[Callable[[], None]] = []
        for _ in range(EACH):
            started = hosts.submit(exit_code=CODE, ends=EITHER)
            running = hosts.submit(exit_code=CODE, ends=KILLED, gate="never")
            ending = hosts.submit(exit_code=CODE, ends=EITHER, seconds=1)
            gate = f"resumed-{ending}"
            resumed = hosts.submit(exit_code=CODE, gate=gate)
            suspended = hosts.submit(exit_code=CODE, ends=KILLED, gate="never")
            acts += [
                lambda started=started: kill(hosts, started),  # type: ignore[misc]
                lambda running=running: kill_twice(hosts, running),  # type: ignore[misc]
                lambda ending=ending: kill_at_its_end(hosts, ending),  # type: ignore[misc]
                lambda resumed=resumed, gate=gate: suspend_and_resume(hosts, resumed, gate),  # type: ignore[misc]
                lambda suspended=suspended: suspend_and_kill(hosts, suspended),  # type: ignore[misc]
            ]
        at_once(*acts)
        with hosts.recovery():
            hosts.check()
    hosts.end()


def while_the_scheduler_is_down(hosts: Hosts) -> None:
    """Kill a running and a pending task while no scheduler places: both end, and the pending one never begins."""
    running = hosts.submit(exit_code=CODE, ends=KILLED, gate="never")
    hosts.runs_on(running)
    with hosts.system.hanging("scheduler"):
        waiting_task = hosts.submit(exit_code=CODE, ends=KILLED)
        kill(hosts, waiting_task)
        kill(hosts, running)
        hosts.over(waiting_task, running)
    assert waiting_task not in {task for task, _, _ in hosts.ground.witness.lines()}


def kill(hosts: Hosts, task_id: int) -> None:
    """Request it of a task that may be over by now."""
    answer = hosts.client.http.delete(f"/api/1.0/task/{task_id}")
    assert answer.status_code < 500, answer.text


def kill_twice(hosts: Hosts, task_id: int) -> None:
    hosts.runs_on(task_id)
    at_once(lambda: kill(hosts, task_id), lambda: kill(hosts, task_id))


def kill_at_its_end(hosts: Hosts, task_id: int) -> None:
    hosts.stopped(task_id)
    kill(hosts, task_id)


def suspend_and_resume(hosts: Hosts, task_id: int, gate: str) -> None:
    suspend(hosts, task_id)
    ask(hosts, task_id, "resume")
    hosts.ground.witness.open(gate)
    waiting.until_blocking(
        lambda: hosts.client.status(task_id)["primary"] == "over", f"task {task_id} goes on and ends", timeout=PATIENCE
    )


def suspend_and_kill(hosts: Hosts, task_id: int) -> None:
    suspend(hosts, task_id)
    kill(hosts, task_id)


def suspend(hosts: Hosts, task_id: int) -> None:
    hosts.runs_on(task_id)
    hosts.client.wait(task_id, "running", timeout=PATIENCE)
    ask(hosts, task_id, "suspend")
    waiting.until_blocking(
        lambda: hosts.client.status(task_id)["secondary"] == "suspended",
        f"task {task_id} is suspended",
        timeout=PATIENCE,
    )


def ask(hosts: Hosts, task_id: int, what: str) -> None:
    answer = hosts.client.http.get(f"/api/1.0/task/{task_id}/{what}")
    assert answer.status_code == 200, answer.text
