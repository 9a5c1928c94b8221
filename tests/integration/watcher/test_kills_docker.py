"""Kills that containers resist, and kills at the memory limit, on a real engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from godocker.docker.local_engine import LocalEngine
from shared import clock
from shared.executors import types
from shared.lifecycle import Ending, TaskStatus
from shared.storage.directories import TaskDirectories
from tests.integration.conftest import Scene, on_docker
from tests.support import freezer, waiting

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.stores, pytest.mark.timeout(600)]

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
MANY = 200 if LONG else 24
TIMEOUT = 120.0
RUNNING, OVER = TaskStatus.RUNNING, TaskStatus.OVER
IGNORES_TERM = "trap '' TERM\nwhile :; do sleep 1; done"


@pytest.fixture
async def docker(scene: Scene, docker_engine: LocalEngine) -> AsyncIterator[Scene]:
    async with on_docker(scene, docker_engine, lifespan_grace=1.5) as running:
        yield running


async def add(docker: Scene, task_id: int, cmd: str, *, ram: float = 0.05, **fields: Any) -> None:
    await docker.add(task_id, cmd=cmd, ram=ram, cpu=0.5, **fields)
    await docker.broker.enqueue([task_id])


async def test_many_that_ignore_sigterm_are_killed_together_and_hold_up_no_other(docker: Scene) -> None:
    many = range(1, MANY + 1)
    for task_id in many:
        await add(docker, task_id, IGNORES_TERM)
    await docker.until(RUNNING, *many, timeout=TIMEOUT)
    await docker.stores.owned.kill_all("alice", at=clock.now())
    await docker.broker.tell_watcher_asked()
    await add(docker, MANY + 1, "exit 3")
    assert (await docker.until(OVER, MANY + 1, timeout=TIMEOUT)).exit_code == 3
    for task_id in many:
        task = await docker.until(OVER, task_id, timeout=TIMEOUT)
        assert (task.ending, task.exit_code) == (Ending.KILLED, 137)
    await docker.settled(*many)


async def test_a_task_that_ran_for_as_long_as_it_may_is_warned_and_then_killed(docker: Scene) -> None:
    await add(docker, 1, "trap 'echo warned' TERM\nwhile :; do sleep 0.2; done", lifespan=1.0)
    task = await docker.until(OVER, timeout=TIMEOUT)
    await docker.settled()
    assert (task.ending, task.exit_code) == (Ending.LIFESPAN_REACHED, 137)
    assert task.reason == "ran for 1 second, the longest it may (maxlifespan)"
    log = TaskDirectories(docker.settings.shared_dir).path(task.place) / "god.log"
    assert log.read_text() == "warned\n"


@pytest.mark.skipif(not freezer.is_there(), reason="no freezer of cgroup v1 here")
async def test_a_frozen_container_is_reported_until_it_can_be_killed(docker: Scene, docker_engine: LocalEngine) -> None:
    await add(docker, 1, "sleep 600")
    await add(docker, 2, IGNORES_TERM)
    await docker.until(RUNNING, 1, 2, timeout=TIMEOUT)
    placement = (await docker.task(1)).placement
    assert placement is not None
    with freezer.frozen(processes_of(docker_engine, types.run_name(1, 1, placement.system))):
        await docker.kill(1)

        async def told() -> bool:
            nodes = await docker.stores.nodes.list()
            return "n1 cannot end it" in ((await docker.task(1)).reason or "") and nodes[0].stuck == 1

        await waiting.until(told, "the task and its node say so", timeout=TIMEOUT)
        await docker.kill(2)
        assert (await docker.until(OVER, 2, timeout=TIMEOUT)).ending is Ending.KILLED
        assert (await docker.task(1)).status is RUNNING
        assert not await docker.stores.unreachable_nodes.list()
    task = await docker.until(OVER, 1, timeout=TIMEOUT)
    await docker.settled(1, 2)
    assert (task.ending, task.exit_code) == (Ending.KILLED, 137)


def processes_of(engine: LocalEngine, name: str) -> list[int]:
    """Return the processes of a container."""
    with engine.client() as client:
        container = str(client.get(f"/containers/{name}/json").raise_for_status().json()["Id"])
    (procs,) = freezer.FREEZER.rglob(f"{container}/cgroup.procs")
    return [int(pid) for pid in procs.read_text().split()]


@pytest.mark.parametrize(
    ("cmd", "ending", "code", "reason"),
    [
        ("exec tail /dev/zero", Ending.OUT_OF_MEMORY, 137, "out of memory"),
        ("tail /dev/zero\nexit 3", Ending.OUT_OF_MEMORY, 3, "out of memory"),
        ("tail /dev/zero\nexit 0", Ending.EXITED, 0, "a process of it was killed at its memory limit"),
    ],
)
async def test_out_of_memory_is_reported_by_the_command_s_end(
    docker: Scene, cmd: str, ending: Ending, code: int, reason: str
) -> None:
    await add(docker, 1, cmd, ram=0.032)
    task = await docker.until(OVER, timeout=TIMEOUT)
    assert (task.ending, task.exit_code) == (ending, code)
    assert reason in (task.reason or "")
    await docker.settled()
