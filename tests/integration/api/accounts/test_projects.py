"""Projects through HTTP on real stores: access, changes, tasks, sharing among members."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared import clock
from shared.lifecycle import TaskStatus
from shared.models.project import Project
from shared.models.user import User
from shared.settings import Settings, Volume
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores

WHOLE: dict[str, Any] = {
    "id": "lab",
    "description": "the lab",
    "owner": "olga",
    "members": ["mia", "max"],
    "prio": 60,
    "quota_time": 3600,
    "quota_cpu": 100,
    "quota_ram": 200,
    "quota_gpu": 1,
    "volumes": [{"name": "genomes", "path": "/srv/genomes", "mount": "/mnt/genomes", "acl": "ro"}],
}


@pytest.fixture
async def lab(gateway: Gateway) -> Project:
    return await gateway.add_project("lab", description="the lab", owner="olga", members=["mia"])


@pytest.fixture
async def users(gateway: Gateway) -> dict[str, User]:
    """An admin, the owner, a member, and another user."""
    return {
        "admin": await gateway.add_user("admin", admin=True),
        **{name: await gateway.add_user(name) for name in ("olga", "mia", "otto")},
    }


@pytest.fixture
async def sharing(settings: Settings) -> AsyncIterator[Gateway]:
    """Another gateway of the same system, where members share their tasks."""
    async with gateways.opened(settings.model_copy(update={"share_project_tasks": True})) as made:
        yield made


async def stored(gateway: Gateway, project_id: str = "lab") -> Project:
    project = await gateway.stores.projects.get(project_id)
    assert project is not None
    return project


async def test_an_admin_creates_a_project_as_it_was_sent(gateway: Gateway, users: dict[str, User]) -> None:
    answer = await gateway.ask("POST", "/project", users["admin"], json=WHOLE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    assert answer.json() == WHOLE
    assert (await gateway.ask("GET", "/project/lab", users["admin"])).json() == WHOLE
    assert (await gateway.ask("POST", "/project", users["admin"], json=WHOLE)).status_code == 409
    assert (await gateway.ask("POST", "/project", users["olga"], json={"id": "mine"})).status_code == 403


async def test_an_invalid_project_is_refused(gateway: Gateway, users: dict[str, User]) -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"id": "../x"},
        {"id": {"$gt": ""}},
        {"id": "x", "members": "mia"},
        {"id": "x", "members": [{"$ne": None}]},
        {"id": "x", "members": ["Not A Login"]},
        {"id": "x", "owner": {"$gt": ""}},
        {"id": "x", "prio": 1000},
        {"id": "x", "quota_cpu": "many"},
        {"id": "x", "volumes": [{"name": "etc", "path": "/etc", "mount": "/etc"}]},
        {"id": "x", "volumes": [{"name": "up", "path": "/srv/../etc", "mount": "/mnt/up"}]},
        {"id": "x", "volumes": [{"name": "proc", "path": "/srv", "mount": "/proc/x"}]},
        {
            "id": "x",
            "volumes": [{"name": "a", "path": "/a", "mount": "/m"}, {"name": "b", "path": "/b", "mount": "/m"}],
        },
    ]
    for document in wrong:
        answer = await gateway.ask("POST", "/project", users["admin"], json=document)
        assert answer.status_code == 422, document
    assert await gateway.stores.projects.list() == []


async def test_an_admin_sees_all_projects_others_those_they_own(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    await gateway.add_project("zoo", owner="otto")

    async def seen(name: str) -> list[str]:
        return [project["id"] for project in (await gateway.ask("GET", "/project", users[name])).json()]

    assert await seen("admin") == ["lab", "zoo"]
    assert await seen("olga") == ["lab"]
    assert await seen("mia") == []


async def test_a_project_is_hidden_from_non_members(gateway: Gateway, users: dict[str, User], lab: Project) -> None:
    for path in ("/project/{}", "/project/{}/usage", "/project/{}/billing/2023/11"):
        there = await gateway.ask("GET", path.format("lab"), users["otto"])
        not_there = await gateway.ask("GET", path.format("bal"), users["otto"])
        assert there.status_code == not_there.status_code == 404
        assert there.text.replace("lab", "bal") == not_there.text
    assert (await gateway.ask("GET", "/project/lab", users["mia"])).status_code == 403
    assert (await gateway.ask("GET", "/project/lab", users["olga"])).status_code == 200


async def test_an_owner_changes_description_and_members_and_nothing_else(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    document = {**WHOLE, "description": "other", "members": ["mia", "otto"], "owner": "mia", "_id": "x", "$set": {}}
    answer = await gateway.ask("POST", "/project/lab", users["olga"], json=document)
    assert answer.status_code == 200
    changed = lab.model_copy(update={"description": "other", "members": ["mia", "otto"]})
    assert await stored(gateway) == changed
    assert answer.json() == (await gateway.ask("GET", "/project/lab", users["olga"])).json()


async def test_nobody_but_owner_and_admin_changes_a_project(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    document = {"members": ["mia", "otto"]}
    assert (await gateway.ask("POST", "/project/lab", users["mia"], json=document)).status_code == 403
    assert (await gateway.ask("POST", "/project/lab", users["otto"], json=document)).status_code == 404
    assert await stored(gateway) == lab
    assert (await gateway.ask("POST", "/project/lab", users["admin"], json=WHOLE)).json() == WHOLE


async def test_default_is_everybodys_and_cannot_be_changed(gateway: Gateway, users: dict[str, User]) -> None:
    for method, path in (
        ("POST", "/project/default"),
        ("DELETE", "/project/default"),
        ("DELETE", "/project/default/quota"),
    ):
        answer = await gateway.ask(method, path, users["admin"], **({"json": WHOLE} if method == "POST" else {}))
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await gateway.ask("POST", "/project", users["admin"], json={"id": "default"})).status_code == 409
    shown = (await gateway.ask("GET", "/project/default", users["admin"])).json()
    assert (shown["prio"], shown["quota_time"], shown["owner"]) == (50, 0, None)


async def test_a_project_is_deleted_once_nothing_of_it_runs(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    await gateway.add_task(1, project="lab")
    assert (await gateway.ask("DELETE", "/project/lab", users["olga"])).status_code == 403
    assert (await gateway.ask("DELETE", "/project/lab", users["admin"])).status_code == 409
    await gateway.stores.database["tasks"].update_one({"_id": 1}, {"$set": {"status": "over"}})
    assert (await gateway.ask("DELETE", "/project/lab", users["admin"])).status_code == 200
    assert (await gateway.ask("DELETE", "/project/lab", users["admin"])).status_code == 404


# --- usage ----------------------------------------------------------------------------------------------


async def test_members_see_the_usage_of_their_project_and_an_admin_resets_it(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    now = clock.now()
    await gateway.add_usage(1, user="mia", project="lab", at=now - 60)
    await gateway.add_usage(2, user="olga", project="lab", at=now - 60)
    await gateway.add_usage(3, user="mia", project="other", at=now - 60)
    usage = (await gateway.ask("GET", "/project/lab/usage", users["mia"])).json()
    assert sum(day["cpu"] for day in usage) == 4.0
    assert (await gateway.ask("DELETE", "/project/lab/quota", users["olga"])).status_code == 403
    assert (await gateway.ask("DELETE", "/project/lab/quota", users["admin"])).status_code == 200
    assert (await gateway.ask("GET", "/project/lab/usage", users["mia"])).json() == []


async def test_the_owner_of_a_project_sees_its_bill_by_user(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    november = 1_699_963_200.0
    await gateway.add_usage(1, user="mia", project="lab", at=november)
    await gateway.add_usage(2, user="olga", project="lab", at=november)
    answer = await gateway.ask("GET", "/project/lab/billing/2023/11?force=1", users["olga"])
    assert [row["_id"] for row in answer.json()] == [
        {"user": "mia", "project": "lab"},
        {"user": "olga", "project": "lab"},
    ]
    assert (await gateway.ask("GET", "/project/lab/billing/2023/11", users["mia"])).status_code == 403


# --- tasks in projects --------------------------------------------------------------------------------------


async def test_a_task_goes_into_a_project_that_its_owner_is_in(
    gateway: Gateway, users: dict[str, User], lab: Project
) -> None:
    async def send(name: str, project: str, **changes: Any) -> Any:
        document = samples.submission(**{"user.project": project, **changes})
        return await gateway.ask("POST", "/task", users[name], json=document)

    for name in ("olga", "mia"):
        answer = await send(name, "lab")
        assert answer.status_code == 200
        assert (await gateway.task(answer.json()["id"])).project == "lab"
    refused, unknown = await send("otto", "lab"), await send("otto", "bal")
    assert refused.status_code == unknown.status_code == 422
    assert refused.json()["errors"][0]["path"] == "user.project"
    assert refused.text.replace("lab", "bal") == unknown.text
    # An admin need not be a member, but the owner of the task must be.
    assert (await send("admin", "lab")).status_code == 422
    assert (await send("admin", "lab", **{"user.id": "mia"})).status_code == 200


async def test_the_volumes_of_a_project_are_its_tasks_alone(
    gateway: Gateway, users: dict[str, User], settings: Settings
) -> None:
    volume = {"name": "genomes", "path": "/srv/genomes/$USERID", "mount": "/mnt/genomes", "acl": "ro"}
    assert (
        await gateway.ask("POST", "/project", users["admin"], json={**WHOLE, "volumes": [volume]})
    ).status_code == 200

    async def send(project: str, acl: str = "ro") -> Any:
        volumes = [{"name": "genomes", "acl": acl}]
        document = samples.submission(**{"user.project": project, "container.volumes": volumes})
        return await gateway.ask("POST", "/task", users["mia"], json=document)

    answer = await send("lab")
    (kept,) = (await gateway.task(answer.json()["id"])).spec.volumes
    assert (kept.path, kept.mount, kept.acl) == ("/srv/genomes/mia", "/mnt/genomes", "ro")
    assert (await send("default")).status_code == 422
    assert (await send("lab", "rw")).status_code == 422


async def test_a_configured_volume_wins_over_one_of_a_project(
    users: dict[str, User], gateway: Gateway, settings: Settings
) -> None:
    await gateway.ask("POST", "/project", users["admin"], json=WHOLE)
    configured = [Volume(name="genomes", path="/srv/configured", mount="/mnt/configured")]
    async with gateways.opened(settings.model_copy(update={"volumes": configured})) as later:
        document = samples.submission(**{"user.project": "lab", "container.volumes": [{"name": "genomes"}]})
        answer = await later.ask("POST", "/task", users["mia"], json=document)
        assert (await later.task(answer.json()["id"])).spec.volumes[0].path == "/srv/configured"


async def test_members_see_each_others_tasks_only_where_that_is_configured(
    gateway: Gateway, sharing: Gateway, users: dict[str, User], lab: Project
) -> None:
    await gateway.add_task(1, user="olga", project="lab")
    await gateway.add_task(2, user="mia", project="lab")
    await gateway.add_task(3, user="olga")

    async def listed(where: Gateway, name: str, query: str) -> list[int]:
        return [task["id"] for task in (await where.ask("GET", f"/task/active{query}", users[name])).json()]

    assert (await gateway.ask("GET", "/task/1", users["mia"])).status_code == 404
    assert await listed(gateway, "mia", "?project=lab") == [2]
    assert (await sharing.ask("GET", "/task/1", users["mia"])).status_code == 200
    assert await listed(sharing, "mia", "?project=lab") == [2, 1]
    assert await listed(sharing, "mia", "") == [2]
    assert await listed(sharing, "otto", "?project=lab") == []
    for name, task in (("otto", 1), ("mia", 3)):
        assert (await sharing.ask("GET", f"/task/{task}", users[name])).status_code == 404
    # Everybody is a member of the default project, which shares nothing.
    assert await listed(sharing, "mia", "?project=default") == []


async def test_members_of_a_new_project_do_not_see_the_tasks_of_an_old_one_of_its_name(
    sharing: Gateway, users: dict[str, User]
) -> None:
    await sharing.add_task(1, TaskStatus.OVER, user="olga", project="lab", at=samples.NOW)
    await sharing.add_project("lab", members=["otto"], created_at=samples.NOW + 1)
    assert (await sharing.ask("GET", "/task/1", users["otto"])).status_code == 404
