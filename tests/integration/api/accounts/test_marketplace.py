"""The marketplace through HTTP: public and own recipes, with the specification of a task."""

from __future__ import annotations

from typing import Any

import pytest

from shared.models.user import User
from tests.support import samples
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores


async def make(gateway: Gateway, by: User, recipe_id: str, **changes: Any) -> Any:
    document = {"description": f"what {recipe_id} does", "task": 1, "public": False, **changes}
    return await gateway.ask("POST", f"/marketplace/recipe/{recipe_id}", by, json=document)


async def ids(gateway: Gateway, by: User | None) -> list[str]:
    return [recipe["id"] for recipe in (await gateway.ask("GET", "/marketplace/recipe", by)).json()]


async def test_a_recipe_keeps_what_its_task_was_made_from(gateway: Gateway, alice: User) -> None:
    sent = samples.submission()
    task = (await gateway.ask("POST", "/task", alice, json=sent)).json()["id"]
    answer = await make(gateway, alice, "align", task=task, public=True)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    recipe = answer.json()
    assert (recipe["id"], recipe["task"], recipe["owner"], recipe["public"]) == ("align", task, "alice", True)
    assert recipe["spec"]["command"] == sent["command"]
    assert recipe["spec"]["container"]["image"] == sent["container"]["image"]
    assert (await gateway.ask("GET", "/marketplace/recipe/align")).json() == recipe

    # Sent as a task, it creates one like the first.
    again = (await gateway.ask("POST", "/task", alice, json=recipe["spec"])).json()["id"]
    assert (await gateway.task(again)).spec == (await gateway.task(task)).spec


async def test_a_recipe_reveals_nothing_about_the_hosts(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1, placement=samples.placement("secret-node"), attempt=1, started_at=samples.NOW)
    text = (await make(gateway, alice, "align", public=True)).text
    for word in ("secret-node", str(gateway.settings.shared_dir), "20001", "cmd.sh"):
        assert word not in text


async def test_a_list_shows_public_recipes_and_ones_own(gateway: Gateway, alice: User, bob: User) -> None:
    await gateway.add_task(1)
    await gateway.add_task(2, user="bob")
    await make(gateway, alice, "open", public=True)
    await make(gateway, alice, "closed")
    await make(gateway, bob, "bobs", task=2)
    assert await ids(gateway, None) == ["open"]
    assert await ids(gateway, alice) == ["closed", "open"]
    assert await ids(gateway, bob) == ["bobs", "open"]
    first = (await gateway.ask("GET", "/marketplace/recipe")).json()[0]
    assert first == {"id": "open", "description": "what open does"}


async def test_a_recipe_that_is_not_public_is_not_there_for_others(
    gateway: Gateway, alice: User, bob: User, admin: User
) -> None:
    await gateway.add_task(1)
    await make(gateway, alice, "closed")
    for caller in (None, bob):
        assert (await gateway.ask("GET", "/marketplace/recipe/closed", caller)).status_code == 404
    for method in ("PUT", "DELETE"):
        body = {"json": {"public": True}} if method == "PUT" else {}
        assert (await gateway.ask(method, "/marketplace/recipe/closed", bob, **body)).status_code == 404
    assert (await gateway.ask("GET", "/marketplace/recipe/closed", admin)).status_code == 200


async def test_owner_and_admin_change_and_delete_a_recipe(
    gateway: Gateway, alice: User, bob: User, admin: User
) -> None:
    await gateway.add_task(1, cmd="first")
    await gateway.add_task(2, cmd="second")
    await make(gateway, alice, "open", public=True)
    path = "/marketplace/recipe/open"
    assert (await gateway.ask("PUT", path, bob, json={"description": "mine"})).status_code == 403
    assert (await gateway.ask("DELETE", path, bob)).status_code == 403
    sent = {"description": "better", "task": "2", "owner": "bob", "spec": {"command": {"cmd": "evil"}}, "id": "x"}
    changed = (await gateway.ask("PUT", path, alice, json=sent)).json()
    assert (changed["id"], changed["description"], changed["owner"]) == ("open", "better", "alice")
    assert changed["spec"]["command"]["cmd"] == "second"
    assert (await gateway.ask("PUT", path, admin, json={"public": False})).json()["public"] is False
    assert (await gateway.ask("DELETE", path, admin)).status_code == 200
    assert (await gateway.ask("GET", path, alice)).status_code == 404


async def test_nobody_makes_a_recipe_of_a_task_they_may_not_see(gateway: Gateway, alice: User, bob: User) -> None:
    await gateway.add_task(1, user="bob")
    assert (await make(gateway, alice, "stolen")).status_code == 404
    assert (await make(gateway, alice, "stolen", task=99)).status_code == 404
    await gateway.add_task(2)
    await make(gateway, alice, "mine", task=2)
    answer = await gateway.ask("PUT", "/marketplace/recipe/mine", alice, json={"task": 1})
    assert answer.status_code == 404
    assert await ids(gateway, alice) == ["mine"]


async def test_a_name_that_is_taken_is_a_conflict(gateway: Gateway, alice: User, bob: User) -> None:
    await gateway.add_task(1)
    await gateway.add_task(2, user="bob")
    await make(gateway, alice, "align")
    assert (await make(gateway, bob, "align", task=2)).status_code == 409
    assert (await make(gateway, bob, "align", task=2)).json()["code"] == "conflict"


async def test_an_invalid_recipe_is_refused(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    wrong: list[dict[str, Any]] = [
        {"task": {"$gt": 0}},
        {"task": "one"},
        {"task": True},
        {"description": {"$ne": ""}},
        {"description": None},
        {"description": "x" * 10_001},
        {"public": {"$ne": 1}},
    ]
    for changes in wrong:
        assert (await make(gateway, alice, "align", **changes)).status_code == 422, changes
    for name in ("$x", ".x", "a b", "x" * 65, "a%0a"):
        assert (await make(gateway, alice, name)).status_code == 422, name
    assert await ids(gateway, alice) == []


async def test_a_void_token_is_refused_even_where_none_is_needed(gateway: Gateway) -> None:
    headers = {"Authorization": "Bearer nonsense"}
    assert (await gateway.ask("GET", "/marketplace/recipe", headers=headers)).status_code == 401
