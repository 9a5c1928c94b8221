"""Nodes through HTTP: origin, state and resources."""

from __future__ import annotations

from typing import Any

import pytest

from shared.lifecycle import TaskStatus
from shared.models.node import Node
from shared.models.user import User
from shared.settings import Node as Host
from shared.units.sizes import GB
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores


async def listed(gateway: Gateway, by: User) -> dict[str, dict[str, Any]]:
    answer = await gateway.ask("GET", "/admin/node", by)
    assert answer.status_code == 200, answer.text
    return {row["name"]: row for row in answer.json()}


async def add(gateway: Gateway, *names: str) -> None:
    for name in names:
        await gateway.stores.hosts.add(Host(name=name, url=f"tcp://{name}.test:2376"), by="admin", at=1.0)
    seen = [
        Node(id=name, executor="docker", ready=True, cpus=8, memory=4 * GB, checked_at=1.0, seen_at=1.0)
        for name in names
    ]
    await gateway.stores.nodes.put_many(seen)


async def test_a_node_is_listed_with_where_it_comes_from_and_what_is_in_use(gateway: Gateway, admin: User) -> None:
    await add(gateway, "n1", "n2")
    placement = {"node": "n1", "executor": "docker", "at": 1.0, "epoch": 1}
    await gateway.add_task(1, status=TaskStatus.RUNNING, attempt=1, placement=placement, cpu=2, ram=1)
    rows = await listed(gateway, admin)
    first = rows["n1"]
    assert (first["origin"], first["state"], first["url"]) == ("added", "ready", "tcp://n1.test:2376")
    assert (first["cpus"], first["cpus_used"], first["memory_used"], first["tasks"]) == (8, 2, GB, 1)
    assert rows["n2"]["tasks"] == 0
    assert "configured" in {row["origin"] for row in rows.values()}


async def test_a_node_is_drained_once_nothing_is_left_there(gateway: Gateway, admin: User) -> None:
    await add(gateway, "n1", "n2")
    placement = {"node": "n1", "executor": "docker", "at": 1.0, "epoch": 1}
    await gateway.add_task(1, status=TaskStatus.RUNNING, attempt=1, placement=placement)
    for name in ("n1", "n2"):
        await gateway.stores.maintenance.put(name, on=True, by="admin", at=1.0)
    rows = await listed(gateway, admin)
    assert (rows["n1"]["state"], rows["n2"]["state"]) == ("draining", "drained")


async def test_a_node_is_listed_as_silent_or_not_seen_yet(gateway: Gateway, admin: User) -> None:
    await add(gateway, "n1")
    await gateway.stores.unreachable_nodes.note("n1", "no answer", unheard=3600.0, gap=3600.0)
    await gateway.stores.hosts.add(Host(name="new", url="tcp://new.test:2376"), by="admin", at=1.0)
    rows = await listed(gateway, admin)
    assert (rows["n1"]["state"], rows["n1"]["reason"]) == ("silent", "no answer")
    assert (rows["new"]["state"], rows["new"]["seen_at"]) == ("not seen yet", None)


async def test_a_node_that_was_removed_is_listed_while_tasks_are_there(gateway: Gateway, admin: User) -> None:
    placement = {"node": "lost", "executor": "docker", "at": 1.0, "epoch": 1}
    await gateway.add_task(1, status=TaskStatus.RUNNING, attempt=1, placement=placement)
    assert (await listed(gateway, admin))["lost"]["origin"] == "gone"


async def test_only_an_admin_sees_addresses_of_nodes(gateway: Gateway) -> None:
    assert (await gateway.ask("GET", "/admin/node", await gateway.add_user("alice"))).status_code == 403
