"""A thousand submissions at once with two schedulers that believe to lead never exceed tight quotas or few ports."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from shared.lifecycle import ACTIVE, Ending
from shared.models.project import Project
from shared.models.quota import Amounts, Scope, ScopeKind
from shared.models.system.lease import Lease
from tests.conftest import FIGURES
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

SUBMITS = 1000
PORTS = 3
USER_CPU, PROJECT_RAM = 30.0, 20.0  #: sums over the window
CPU, RAM = 0.1, 0.1  #: of each task
ALICE, LAB = Scope(ScopeKind.USER, "alice"), Scope(ScopeKind.PROJECT, "lab")


async def test_no_limit_is_exceeded_and_in_the_end_nothing_is_held(
    scene: Scene, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    async def give(name: str, holder: str, *, seconds: float, url: str | None = None) -> Lease:
        return Lease(name, holder, 1, time.monotonic() + 3600)

    monkeypatch.setattr(scene.stores.leases, "acquire", give)
    scene.settings = scene.settings.model_copy(update={"port_range": PORTS})
    await scene.stores.ensure_indexes()
    alice, bob = await gateway.add_user("alice"), await gateway.add_user("bob")
    await scene.stores.users.change("alice", {"usage.quota_cpu": USER_CPU})
    await scene.stores.projects.add(Project(id="lab", members=["alice", "bob"], quota_ram=PROJECT_RAM))
    highest = {"cpu of alice": 0.0, "ram of lab": 0.0, "ports": 0.0, "placed": 0.0}
    done = asyncio.Event()

    async def look() -> None:
        # Nothing of the window passes away meanwhile: what was ever placed is what counts.
        tasks = scene.stores.database["tasks"]
        while not done.is_set():
            alices = await tasks.count_documents({"user.id": "alice", "attempt": {"$gte": 1}})
            labs = await tasks.count_documents({"project": "lab", "attempt": {"$gte": 1}})
            placed = await scene.stores.work.placed()
            held = [port for task in placed for port in task.ports]
            assert len(held) == len(set(held)), "a port is given twice"
            for what, now in (
                ("cpu of alice", alices * CPU),
                ("ram of lab", labs * RAM),
                ("ports", len(held)),
                ("placed", len(placed)),
            ):
                highest[what] = max(highest[what], now)

    async def submit(number: int) -> None:
        project = "lab" if number % 3 == 0 else "default"
        body = samples.submission(
            **{
                "requirements.cpu": CPU,
                "requirements.ram": RAM,
                "requirements.network": None,
                "requirements.ports": [80] if number % 10 == 0 else [],
                "container.network": False,
                "user.project": project,
                "command.cmd": "sleep 0.02",
            }
        )
        answer = await gateway.ask("POST", "/task", alice if number % 2 else bob, json=body)
        assert answer.status_code == 200, answer.text

    async with scene.running(scene.scheduler(), scene.scheduler(), scene.watcher()):
        looking = asyncio.create_task(look(), name="look")
        await asyncio.gather(*(submit(number) for number in range(SUBMITS)))
        await scene.broker.enqueue(await scene.stores.work.pending_ids())
        await waiting.until(lambda: _nothing_is_active(scene), "every task came to its end", timeout=100)
        done.set()
        await looking
        await waiting.until(lambda: _nothing_is_held(scene), "nothing is held any more")
    endings = {
        ending: await scene.stores.database["tasks"].count_documents({"ending": ending})
        for ending in (Ending.EXITED, Ending.QUOTA_REACHED)
    }
    assert sum(endings.values()) == SUBMITS
    finished = {scope: taken.finished for scope, taken in (await _taken(scene)).items()}
    assert finished[ALICE].cpu == pytest.approx(USER_CPU), "the quota is used up, and not passed"
    assert finished[LAB].ram == pytest.approx(PROJECT_RAM)
    assert highest["cpu of alice"] <= USER_CPU + 1e-6
    assert highest["ram of lab"] <= PROJECT_RAM + 1e-6
    assert 0 < highest["ports"] <= PORTS
    assert len(scene.executor.starts) == len(set(scene.executor.starts)) == endings[Ending.EXITED]
    shown = ", ".join(f"{what} at most {most:g}" for what, most in highest.items())
    record_property(FIGURES, f"{SUBMITS} submits, two leaders: {shown}; {endings[Ending.QUOTA_REACHED]} over quota")


async def _nothing_is_active(scene: Scene) -> bool:
    return await scene.stores.database["tasks"].count_documents({"status": {"$in": sorted(ACTIVE)}}) == 0


async def _taken(scene: Scene) -> Any:
    return await scene.stores.quotas.taken(await scene.stores.quotas.limits())


async def _nothing_is_held(scene: Scene) -> bool:
    placed = await scene.stores.work.placed()
    return not placed and all(taken.held == Amounts() for taken in (await _taken(scene)).values())
