"""Placement on real stores: devices, ports, labels, reservations, and retries after a taken port."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from services.scheduler import service
from services.scheduler.start import retries
from shared import clock, errors
from shared.executors import types
from shared.lifecycle import Ending, TaskStatus
from shared.models.system.lease import Lease
from shared.models.task import shape_of
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

PENDING, STARTING, RUNNING, OVER = TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER
FIRST_PORT = 10_000


@pytest.fixture(autouse=True)
def _short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for starts that hang on purpose."""
    monkeypatch.setattr(service, "DRAIN", 0.2)


def configure(scene: Scene, *reports: types.NodeReport, **changes: Any) -> None:
    """Configure the nodes and settings of the scene."""
    scene.executor.reports = {report.name: report for report in reports}
    scene.settings = scene.settings.model_copy(update={"port_start": FIRST_PORT, **changes})


async def verdict(scene: Scene, task_id: int, part: str) -> str:
    """Wait until the pending reason of the task contains `part`."""
    shape = (await scene.task(task_id)).shape

    async def shown() -> str | None:
        found = (await scene.stores.pending_reasons.get_many([shape])).get(shape)
        return found.reason if found and part in found.reason else None

    return await waiting.until(shown, f"task {task_id} has the reason: {part}")


async def test_a_task_runs_with_the_devices_and_ports_allocated_to_it(scene: Scene) -> None:
    configure(scene, samples.report(gpus=("a", "b", "c")))
    first = await scene.add(1, cmd="sleep 60", gpus=2, ports=[80, 443], network="public")
    second = await scene.add(2, cmd="sleep 60", gpus=1, ports=[80], network="public")
    async with scene.running(scene.scheduler()):
        await scene.until(RUNNING, 1, 2)
    runs = [scene.executor.runs[handle] for handle in (first, second)]
    assert [run.gpus for run in runs] == [("a", "b"), ("c",)]
    mapped = [[(port.container, port.host) for port in run.ports] for run in runs]
    assert mapped == [[(80, FIRST_PORT), (443, FIRST_PORT + 1)], [(80, FIRST_PORT + 2)]]
    placed = (await scene.task(2)).placement
    assert placed is not None
    assert placed.leases == [f"{samples.NODE}/gpu/c", f"{samples.NODE}/port/{FIRST_PORT + 2}"]


async def test_labels_decide_where_a_task_runs_or_explain_why_it_cannot(scene: Scene) -> None:
    configure(scene, samples.report("n1", labels={"storage": "hdd"}), samples.report("n2", labels={"storage": "ssd"}))
    await scene.add(1, cmd="sleep 60", labels=["storage==ssd"], cpu=6)
    await scene.add(2, cmd="sleep 60", labels=["storage!=ssd"])
    await scene.add(3, cmd="sleep 60", labels=["storage==tape"])
    await scene.add(4, cmd="sleep 60", labels=["storage==ssd"], cpu=4)
    async with scene.running(scene.scheduler()):
        placed = [(await scene.until(RUNNING, number)).placement for number in (1, 2)]
        assert [where and where.node for where in placed] == ["n2", "n1"]
        assert "can never run here" in await verdict(scene, 3, "no node has storage==tape")
        why = "cannot be placed yet: needs 4 cpu, 1 GB and storage==ssd: n2 has 2 of 8 cpu free"
        assert await verdict(scene, 4, "n2") == why


async def test_a_node_that_failed_a_task_does_not_get_it_again(scene: Scene) -> None:
    configure(scene, samples.report("n1"), samples.report("n2"))
    for number, avoid in ((1, ["n1"]), (2, ["n1", "n2"])):
        shape = shape_of(samples.task().spec, avoid=avoid)
        await scene.add(number, cmd="sleep 60", avoid=avoid, shape=shape)
    async with scene.running(scene.scheduler()):
        where = (await scene.until(RUNNING, 1)).placement
        assert where is not None
        assert where.node == "n2"
        await verdict(scene, 2, "n1 and n2, which could take it, failed it before")


@pytest.mark.parametrize(("ranking", "expected"), [("binpack", {2}), ("spread", {1})])
async def test_tasks_are_packed_or_spread_as_configured(scene: Scene, ranking: str, expected: set[int]) -> None:
    configure(scene, samples.report("n1"), samples.report("n2"), placement=ranking)
    for number in (1, 2):
        await scene.add(number, cmd="sleep 60")
    async with scene.running(scene.scheduler()):
        await scene.until(RUNNING, 1, 2)
    assert set(Counter(handle.node for handle in scene.executor.starts).values()) == expected


async def test_a_delayed_task_starts_after_its_delay_without_a_hint(scene: Scene) -> None:
    configure(scene, samples.report(), poll_seconds=3600.0)
    begins = clock.now() + 1.0
    await scene.add(1, cmd="sleep 60", not_before=begins)
    async with scene.running(scene.scheduler()):
        task = await scene.until(RUNNING, 1)
    assert task.history[0]["at"] >= begins


async def test_maintenance_that_no_hint_reported_counts_after_the_next_one(scene: Scene) -> None:
    configure(scene, samples.report(), poll_seconds=3600.0)
    async with scene.running(scene.scheduler()):
        await scene.add(1, cmd="sleep 60")
        await scene.broker.enqueue([1])
        await scene.until(RUNNING, 1)
        await scene.stores.maintenance.put(samples.NODE, on=True, by="admin", at=clock.now())
        await scene.broker._redis.client_kill_filter(_type="pubsub")
        await scene.add(2, cmd="sleep 60")
        await scene.broker.enqueue([2])
        await verdict(scene, 2, "maintenance")


async def test_the_head_of_the_queue_gets_a_reservation_that_others_see(scene: Scene) -> None:
    configure(scene, samples.report())
    await scene.add(1, cmd="sleep 60", cpu=4, lifespan=3600)
    async with scene.running(scene.scheduler()):
        await scene.until(RUNNING, 1)
        await scene.add(2, cmd="sleep 60", cpu=8)
        await verdict(scene, 2, f"{samples.NODE} is reserved for task 2, it is expected to start at ")
        await scene.add(3, cmd="sleep 60")
        await scene.add(4, cmd="sleep 60", lifespan=60)
        await scene.until(RUNNING, 4)
        assert "is reserved for task 2" in await verdict(scene, 3, "reserved")
        assert (await scene.task(3)).status is PENDING


# --- starts that are tried again ------------------------------------------------------------------


async def test_a_task_whose_port_is_taken_gets_another(scene: Scene) -> None:
    configure(scene, samples.report())
    first = await scene.add(1, cmd="sleep 60", ports=[80], network="public")
    taken = errors.PortTaken(f"port {FIRST_PORT} is in use on {samples.NODE}", port=FIRST_PORT)
    scene.executor.faults.refuse_start[first.name] = taken
    async with scene.running(scene.scheduler()):
        task = await scene.until(RUNNING, 1)
        await scene.add(2, cmd="sleep 60", ports=[80], network="public")
        second = await scene.until(RUNNING, 2)
    assert task.attempt == 2
    assert [entry["status"] for entry in task.history] == ["starting", "pending", "starting", "running"]
    assert task.history[1]["note"] == str(taken)
    assert [held.placement.ports for held in (task, second) if held.placement] == [[FIRST_PORT + 1], [FIRST_PORT + 2]]


async def test_a_task_that_never_gets_a_free_port_ends_with_the_reason(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MOST", 2)
    configure(scene, samples.report(), port_range=10)
    await scene.add(1, cpu=8, ports=[80], network="public")
    for attempt in range(1, 4):
        name = types.run_name(1, attempt)
        scene.executor.faults.refuse_start[name] = errors.PortTaken("a port is in use", port=None)
    async with scene.running():
        task = await scene.until(OVER, 1)
        assert (task.ending, task.reason, task.attempt) == (Ending.START_FAILED, "tried 3 times: a port is in use", 3)
        await scene.add(2, cpu=8)
        await scene.until(OVER, 2)  # the room is free again


async def test_a_task_delayed_by_a_registry_is_retried_and_holds_nothing_meanwhile(scene: Scene) -> None:
    configure(scene, samples.report())
    first = await scene.add(1, cmd="sleep 60", cpu=8)
    scene.executor.faults.refuse_prepare[first.name] = errors.ImageThrottled("too many requests", retry_after=300.0)
    async with scene.running():
        await waiting.until(lambda: scene.executor.calls, "it was tried")
        await scene.until(PENDING, 1)
        await scene.add(2, cpu=8)
        await scene.until(OVER, 2)
    task = await scene.task(1)
    undone = task.history[1]
    assert (task.status, undone["note"], task.placement) == (PENDING, "too many requests", None)
    assert task.not_before == undone["at"] + 300.0


# --- two leaders ------------------------------------------------------------------------------------


async def test_two_schedulers_that_believe_to_lead_give_no_device_or_port_twice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each plans without knowing the placements of the other: the unique index on leases decides."""

    async def give(name: str, holder: str, *, seconds: float, url: str | None = None) -> Lease:
        return Lease(name, holder, 1, time.monotonic() + 3600)

    monkeypatch.setattr(scene.stores.leases, "acquire", give)
    reports = [samples.report(name, cpus=64.0, gb=640.0, gpus=("a", "b")) for name in ("n1", "n2")]
    configure(scene, *reports, port_range=3)
    twice: list[str] = []
    begin = scene.executor.start

    async def start(run: types.Run) -> float:
        node = run.handle.node
        mine = {*run.gpus, *(port.host for port in run.ports)}
        for other in scene.executor.alive:
            held = scene.executor.runs[other]
            if other.node == node and other != run.handle:
                shared = mine & {*held.gpus, *(port.host for port in held.ports)}
                twice.extend(f"{node}/{lease}" for lease in shared)
        return await begin(run)

    monkeypatch.setattr(scene.executor, "start", start)
    numbers = range(1, 31)
    for number in numbers:
        gpus, ports = number % 2, [80] if number % 3 else [80, 81]
        await scene.add(number, cmd="sleep 0.05", cpu=0.1, ram=0.01, gpus=gpus, ports=ports, network="public")
    async with scene.running(scene.scheduler(), scene.scheduler(), scene.watcher()):
        await scene.broker.enqueue(list(numbers))
        await scene.until(OVER, *numbers, timeout=60)
        await scene.settled(*numbers)
    assert twice == []
    assert len(scene.executor.starts) == len(set(scene.executor.starts)) == len(numbers)
    for number in numbers:
        task = await scene.task(number)
        assert (task.attempt, task.ending, task.exit_code) == (1, Ending.EXITED, 0)
