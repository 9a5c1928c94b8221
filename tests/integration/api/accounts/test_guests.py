"""Guests through HTTP: activated by an admin, running as the bound user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.models.user import User
from shared.settings import Settings, Volume
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

OPEN: dict[str, Any] = {
    "guest_allow": True,
    "guest_bind": "visitor",
    "guest_home_root": Path("/srv/guests"),
    "allow_root": True,
    "volumes": [Volume(name="home", acl="rw")],
}


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that allows guests, who run as `visitor`."""
    async with gateways.opened(settings.model_copy(update=OPEN)) as made:
        await made.add_user("visitor", uid=31000, gid=31001, sgids=[1, 2])
        yield made


@pytest.fixture
async def guest(house: Gateway) -> User:
    return await house.add_user("gast", guest=True, uid=20009)


async def send(where: Gateway, by: User, **changes: Any) -> Any:
    return await where.ask("POST", "/task", by, json=samples.submission(**changes))


async def test_a_guests_task_runs_as_the_user_that_is_configured(house: Gateway, guest: User) -> None:
    answer = await send(house, guest, **{"container.volumes": [{"name": "home", "acl": "rw"}]})
    assert answer.status_code == 200
    task = await house.task(answer.json()["id"])
    assert (task.user.id, task.user.uid, task.user.gid, task.user.groups) == ("gast", 31000, 31001, [])
    assert task.spec.volumes[0].path == "/srv/guests/gast"
    assert (await house.ask("GET", f"/task/{task.id}", guest)).status_code == 200


async def test_a_task_that_an_admin_sends_for_a_guest_runs_the_same_way(house: Gateway, guest: User) -> None:
    admin = await house.add_user("admin", admin=True)
    answer = await send(house, admin, **{"user.id": "gast"})
    assert (await house.task(answer.json()["id"])).user.uid == 31000


async def test_a_guest_is_root_only_where_guests_may_be(house: Gateway, guest: User, settings: Settings) -> None:
    answer = await send(house, guest, **{"container.root": True})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "container.root")
    async with gateways.opened(settings.model_copy(update={**OPEN, "guest_allow_root": True})) as generous:
        assert (await send(generous, guest, **{"container.root": True})).status_code == 200


async def test_guests_submit_nothing_if_they_are_not_allowed(gateway: Gateway) -> None:
    guest = await gateway.add_user("gast", guest=True)
    assert (await send(gateway, guest)).status_code == 403


async def test_a_guest_is_refused_if_the_user_to_run_as_does_not_exist(house: Gateway, guest: User) -> None:
    await house.stores.database["users"].delete_one({"_id": "visitor"})
    assert (await send(house, guest)).status_code == 403


async def test_an_admin_activates_and_deactivates_a_guest(house: Gateway) -> None:
    admin = await house.add_user("admin", admin=True)
    guest = await house.add_user("gast", guest=True, active=False)
    assert (await house.ask("GET", "/user/gast", guest)).status_code == 401
    answer = await house.ask("POST", "/guest/status", admin, json={"id": "gast", "active": True})
    assert (answer.status_code, answer.json()["active"]) == (200, True)
    assert (await house.ask("GET", "/user/gast", guest)).status_code == 200
    assert (await house.ask("POST", "/guest/status", guest, json={"id": "gast", "active": True})).status_code == 403
    await house.ask("POST", "/guest/status", admin, json={"id": "gast", "active": False})
    assert (await house.ask("GET", "/user/gast", guest)).status_code == 401


async def test_only_guests_are_activated_this_way(house: Gateway) -> None:
    admin = await house.add_user("admin", admin=True)
    for wrong in ("admin", "nobody"):
        assert (await house.ask("POST", "/guest/status", admin, json={"id": wrong, "active": False})).status_code == 404
    for document in ({}, {"id": {"$gt": ""}, "active": True}, {"id": "gast"}, {"id": "gast", "active": {"$ne": 1}}):
        assert (await house.ask("POST", "/guest/status", admin, json=document)).status_code == 422, document
    assert (await house.user("admin")).active
