"""Explanations of tasks on a real engine: pauses from outside, and limits that the engine lowers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from godocker.docker.local_engine import LocalEngine
from shared import clock, lifecycle
from shared.executors import types
from shared.lifecycle import ACTIVE, Intent, IntentResult, TaskStatus
from tests.integration.conftest import Scene, on_docker
from tests.support import waiting
from tests.support.harness.gateway import Gateway

pytestmark = [pytest.mark.docker, pytest.mark.stores]

TIMEOUT = 120.0


@pytest.fixture
async def docker(scene: Scene, docker_engine: LocalEngine) -> AsyncIterator[Scene]:
    async with on_docker(scene, docker_engine, reconcile_seconds=0.5) as running:
        yield running


async def _started(docker: Scene, **fields: Any) -> str:
    """Start a task and return the name of its container."""
    await docker.add(1, cmd="sleep 600", **{"cpu": 0.5, "ram": 0.05, **fields})
    await docker.broker.enqueue([1])
    task = await docker.until(TaskStatus.RUNNING, timeout=TIMEOUT)
    assert task.placement is not None
    return types.run_name(1, 1, task.placement.system)


async def _texts(gateway: Gateway) -> dict[str, str]:
    answer = await gateway.ask("GET", "/task/1/explain", await gateway.user("alice"))
    assert answer.status_code == 200, answer.text
    return {reason["code"]: reason["text"] for reason in answer.json()["reasons"]}


async def test_a_pause_from_outside_is_reported_while_it_lasts(
    docker: Scene, docker_engine: LocalEngine, gateway: Gateway
) -> None:
    await gateway.add_user("alice")
    name = await _started(docker)

    async def reported() -> bool:
        return (await _texts(gateway))["running"] == lifecycle.PAUSED_BY_OTHERS

    async def not_reported() -> bool:
        return not await reported()

    with docker_engine.client() as client:
        client.post(f"/containers/{name}/pause").raise_for_status()
        await waiting.until(reported, "the pause is reported", timeout=TIMEOUT)
        status = (await gateway.ask("GET", "/task/1", await gateway.user("alice"))).json()["status"]
        assert (status["primary"], status["reason"]) == ("running", lifecycle.PAUSED_BY_OTHERS)
        # After its owner suspends it, the pause does not count as one from outside.
        await docker.stores.tasks.ask(1, Intent.SUSPEND, at=clock.now(), statuses=sorted(ACTIVE))
        await docker.broker.tell_watcher_asked()
        await waiting.until(not_reported, "it is its owner's pause", timeout=TIMEOUT)
        assert (await docker.task()).remark is IntentResult.SUSPENDED
        await docker.stores.tasks.ask(1, Intent.RESUME, at=clock.now(), statuses=sorted(ACTIVE))
        await docker.broker.tell_watcher_asked()

        async def resumed() -> bool:
            return (await docker.task()).remark is IntentResult.RESUMED

        await waiting.until(resumed, "it continues", timeout=TIMEOUT)
        client.post(f"/containers/{name}/pause").raise_for_status()
        await waiting.until(reported, "another pause is reported", timeout=TIMEOUT)
        client.post(f"/containers/{name}/unpause").raise_for_status()
        await waiting.until(not_reported, "the pause is reported no longer", timeout=TIMEOUT)
    assert (await docker.task()).status is TaskStatus.RUNNING


async def test_limits_that_the_engine_lowers_are_reported(
    docker: Scene, docker_engine: LocalEngine, gateway: Gateway
) -> None:
    await gateway.add_user("alice")
    with docker_engine.client() as client:
        cores = client.get("/info").json()["NCPU"]
    await _started(docker, cpu=cores + 6)

    async def reported() -> str | None:
        return (await _texts(gateway)).get("limited")

    text = await waiting.until(reported, "the limit is reported", timeout=TIMEOUT)
    assert text == f"limited to the {cores} cores that the engine of n1 has"
