"""Maintenance through HTTP and in the scheduler: nothing new starts, running tasks continue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.scheduler.service import SchedulerService
from shared.executors.fake import FakeExecutor
from shared.lifecycle import TaskStatus
from shared.models.node import Node
from shared.models.user import User
from tests.support import samples, waiting
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores


@pytest.fixture
async def nodes(gateway: Gateway) -> None:
    found = [Node(id=name, executor="fake", ready=True, cpus=4, memory=2**30, checked_at=1.0) for name in ("n1", "n2")]
    await gateway.stores.nodes.put_many(found)


async def switch(gateway: Gateway, by: User | None, node: str, status: str) -> Any:
    return await gateway.ask("POST", f"/admin/maintenance/{node}/{status}", by)


async def test_the_system_is_listed_first_and_then_each_node(gateway: Gateway, admin: User, nodes: None) -> None:
    answer = await gateway.ask("GET", "/admin/maintenance", admin)
    assert answer.headers["content-type"] == JSON
    assert answer.json() == [{"node": name, "status": "off"} for name in ("all", "n1", "n2")]
    answer = await switch(gateway, admin, "n2", "on")
    assert answer.json() == [
        {"node": "all", "status": "off"},
        {"node": "n1", "status": "off"},
        {"node": "n2", "status": "on"},
    ]
    assert (await switch(gateway, admin, "n2", "on")).json() == answer.json()
    assert (await switch(gateway, admin, "n2", "off")).json()[2]["status"] == "off"


async def test_in_maintenance_new_tasks_are_refused_until_it_ends(gateway: Gateway, admin: User) -> None:
    alice = await gateway.add_user("alice")
    await gateway.add_task(1)
    await switch(gateway, admin, "all", "on")
    for user in (alice, admin):
        answer = await gateway.ask("POST", "/task", user, json=samples.submission())
        assert (answer.status_code, answer.json()["code"]) == (503, "in_maintenance")
        assert int(answer.headers["retry-after"]) > 0
    assert (await gateway.ask("GET", "/task/1", alice)).status_code == 200
    assert (await gateway.ask("DELETE", "/task/1", alice)).status_code == 200
    await switch(gateway, admin, "all", "off")
    assert (await gateway.ask("POST", "/task", alice, json=samples.submission())).status_code == 200


async def test_only_an_admin_switches_the_maintenance_of_existing_nodes(
    gateway: Gateway, admin: User, nodes: None
) -> None:
    alice = await gateway.add_user("alice")
    assert (await switch(gateway, alice, "all", "on")).status_code == 403
    assert (await switch(gateway, None, "all", "on")).status_code == 401
    assert (await gateway.ask("GET", "/admin/maintenance", alice)).status_code == 403
    for node in ("n3", "$ne", "a%00"):
        assert (await switch(gateway, admin, node, "on")).status_code == 404
    assert (await switch(gateway, admin, "all", "maybe")).status_code == 422
    assert await gateway.stores.maintenance.names() == set()


async def test_maintenance_of_a_node_that_is_gone_can_be_ended(gateway: Gateway, admin: User) -> None:
    await gateway.stores.maintenance.put("gone", on=True, by="admin", at=1.0)
    assert (await switch(gateway, admin, "gone", "off")).json() == [{"node": "all", "status": "off"}]


@pytest.mark.parametrize("name", ["all", samples.NODE])
async def test_pending_tasks_wait_while_the_scheduler_knows_of_maintenance(
    gateway: Gateway, admin: User, name: str
) -> None:
    """On a real scheduler: pending tasks have a reason, running ones continue, and all proceed afterwards."""
    executor = FakeExecutor()
    await gateway.stores.ensure_indexes()
    node = executor.node_names()[0]
    target = name if name == "all" else node
    await gateway.stores.maintenance.put(target, on=True, by="admin", at=1.0)
    await gateway.add_task(1, ram=0.5)
    service = SchedulerService(gateway.settings, gateway.stores, gateway.context.broker, executor)
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop), name="scheduler")
    try:

        async def why() -> bool:
            status = (await gateway.ask("GET", "/task/1/status", admin)).json()["status"]
            return "in maintenance" in (status["reason"] or "")

        await waiting.until(why, "the task says that it waits for maintenance to end")
        assert (await gateway.task(1)).status is TaskStatus.PENDING
        await switch(gateway, admin, target, "off")

        async def started() -> bool:
            return (await gateway.task(1)).status is TaskStatus.RUNNING

        await waiting.until(started, "the task runs")
        await switch(gateway, admin, "all", "on")
        await gateway.add_task(2, ram=0.5)
        await gateway.context.broker.enqueue([2])

        async def waits() -> bool:
            status = (await gateway.ask("GET", "/task/2/status", admin)).json()["status"]
            return "in maintenance" in (status["reason"] or "")

        await waiting.until(waits, "the second task waits")
        assert (await gateway.task(1)).status is TaskStatus.RUNNING
    finally:
        stop.set()
        await running
