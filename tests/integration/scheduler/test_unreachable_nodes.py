"""An unreachable node keeps its size for tasks, operators and metrics, and after a restart of the scheduler."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.lifecycle import TaskStatus
from shared.models.node import Node
from shared.observe import metrics
from shared.settings import Node as Host
from shared.system import inventory
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores


async def stored(scene: Scene) -> Node | None:
    found = await scene.stores.nodes.list()
    return found[0] if found else None


async def falls_silent(scene: Scene) -> Node:
    scene.executor.faults.down[samples.NODE] = "no answer"

    async def is_not_ready() -> Node | None:
        node = await stored(scene)
        return node if node is not None and not node.ready and node.reason == "no answer" else None

    return await waiting.until(is_not_ready, "it is noted that the node does not answer")


async def test_an_unreachable_node_is_stored_with_its_last_sizes(scene: Scene) -> None:
    scene.executor.reports[samples.NODE] = samples.report(gpus=("a",), labels={"disk": "ssd"}, version="20.10")
    await scene.add(1, cmd="sleep 600", cpu=1.0)
    async with scene.running():
        await scene.broker.enqueue([1])
        await scene.until(TaskStatus.RUNNING, 1)
        before = await waiting.until(lambda: stored(scene), "the node was written down")
        node = await falls_silent(scene)
        assert (node.cpus, node.memory, node.gpus, node.labels, node.version) == (
            *(before.cpus, before.memory, before.gpus, before.labels, before.version),
        )
        assert node.seen_at is not None
        labels = {"node": samples.NODE, "kind": "total"}

        def shown() -> bool:
            ready = metrics.SYSTEM.get_sample_value("godocker_node_ready", {"node": samples.NODE})
            return ready == 0 and metrics.SYSTEM.get_sample_value("godocker_node_cpus", labels) == 8.0

        await waiting.until(shown, "metrics show the size of a node that is not ready")
        scene.settings = scene.settings.model_copy(update={"executor": "docker", "nodes": [Host(name=samples.NODE)]})
        (row,) = await inventory.take(scene.settings, scene.stores, scene.executor.features())
        assert (row.cpus_used, row.cpus, row.memory) == (1.0, 8.0, before.memory)


async def test_a_task_waits_for_the_only_node_that_can_take_it_even_after_a_restart_of_the_scheduler(
    scene: Scene,
) -> None:
    scene.executor.reports = {
        "small": samples.report("small", cpus=1.0),
        samples.NODE: samples.report(labels={"disk": "ssd"}),
    }
    async with scene.running():
        await waiting.until(lambda: stored(scene), "the nodes were written down")
    scene.executor.faults.down[samples.NODE] = "no answer"
    await scene.add(1, cmd="sleep 600", cpu=4.0, labels=["disk==ssd"])
    async with scene.running():

        async def verdict() -> str | None:
            task = await scene.task()
            found = await scene.stores.pending_reasons.get_many([task.shape])
            return found[task.shape].reason if task.shape in found else None

        reason = await waiting.until(verdict, "the task has a pending reason")
        assert "node1 is not ready" in reason
        assert "never" not in reason
        del scene.executor.faults.down[samples.NODE]
        await scene.until(TaskStatus.RUNNING, 1)


async def test_a_node_that_was_never_seen_has_no_size_and_takes_its_task_once_it_answers(
    scene: Scene,
) -> None:
    scene.executor.faults.down[samples.NODE] = "no answer"
    await scene.add(1, cmd="sleep 600", cpu=6.0)
    async with scene.running():
        node = await falls_silent(scene)
        assert (node.cpus, node.seen_at) == (0.0, None)
        scene.executor.reports[samples.NODE] = replace(samples.report(), cpus=6.0)
        del scene.executor.faults.down[samples.NODE]
        await scene.until(TaskStatus.RUNNING, 1)
