"""
Every route for every kind of caller, with the routes taken from the OpenAPI document: a new route without a row fails.

What a route gives a role is written twice, as a status here and as an action in `shared/auth/permissions.py`: both must
agree.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest
from jose import jwt

from services.api import app
from shared.auth import app_tokens, permissions, share_tokens
from shared.auth.permissions import Action, Role
from shared.lifecycle import TaskStatus
from shared.models.app_token import AppToken
from shared.models.recipe import Recipe
from shared.models.user import User
from shared.settings import Settings
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores


class Caller(StrEnum):
    """A caller: a role, and for a member whether members share their tasks."""

    ANONYMOUS = "anonymous"
    SHARED = "holder of a share token"
    OTHER = "other user"
    APART = "member where nothing is shared"
    MEMBER = "member where tasks are shared"
    OWNER = "owner"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Row:
    """
    The answers of a route to each caller. `statuses` is in the order of `Caller`. `path` has other words in the places
    where `{…}` stand, `body` is sent. `ok` is what tells that it was allowed, where that is not 200.
    """

    action: Action
    statuses: tuple[int, int, int, int, int, int, int]
    path: str
    body: Any = None
    ok: int = 200


# In the order of `Caller`:        nobody share other apart member owner admin
EVERYBODY = (200, 200, 200, 200, 200, 200, 200)
USERS = (401, 401, 200, 200, 200, 200, 200)
SEES_TASK = (401, 200, 404, 404, 200, 200, 200)
MANAGES_TASK = (401, 401, 404, 404, 200, 200, 200)
SHARES_TASK = (401, 401, 404, 404, 403, 200, 200)
ADMINS = (401, 401, 403, 403, 403, 403, 200)
USER_OR_ADMIN = (401, 401, 403, 403, 403, 200, 200)
PROJECT_OWNER = (401, 401, 404, 403, 403, 200, 200)
PROJECT_TEAM = (401, 401, 404, 200, 200, 200, 200)
OWN_RECIPE = (401, 401, 404, 404, 404, 200, 200)
#: Routes of own objects only: those of others do not exist for the caller.
OWN_TOKEN = (401, 401, 404, 404, 404, 200, 404)


def ok(statuses: tuple[int, ...], status: int) -> Any:
    """The same row with another word for "allowed": the task is in no state for it, or a service is not there."""
    return tuple(status if value == 200 else value for value in statuses)


NEW_TASK = samples.submission()
RECIPE = {"description": "x", "task": "{task}", "public": False}

ROWS: dict[tuple[str, str], Row] = {
    # --- public
    ("GET", "/api/1.0/ping"): Row(Action.SEE_PUBLIC, EVERYBODY, "/ping"),
    ("GET", "/api/1.0/config"): Row(Action.SEE_PUBLIC, EVERYBODY, "/config"),
    ("GET", "/api/1.0/image"): Row(Action.SEE_PUBLIC, EVERYBODY, "/image"),
    ("GET", "/api/1.0/image/{image}"): Row(Action.SEE_PUBLIC, EVERYBODY, "/image/group/image:tag"),
    ("GET", "/api/1.0/usage"): Row(Action.SEE_PUBLIC, EVERYBODY, "/usage"),
    ("GET", "/api/1.0/task/status/{status}/count"): Row(Action.SEE_PUBLIC, EVERYBODY, "/task/status/all/count"),
    # No files service runs here.
    ("GET", "/health"): Row(Action.SEE_PUBLIC, ok(EVERYBODY, 503), "/health", ok=503),
    ("POST", "/api/1.0/authenticate"): Row(
        Action.SEE_PUBLIC, ok(EVERYBODY, 401), "/authenticate", {"user": "x", "apikey": "y"}, ok=401
    ),
    ("POST", "/api/1.0/prometheus"): Row(Action.SEE_PUBLIC, ok(EVERYBODY, 404), "/prometheus", {"key": "x"}, ok=404),
    ("GET", "/api/1.0/marketplace/recipe"): Row(Action.SEE_PUBLIC, EVERYBODY, "/marketplace/recipe"),
    ("GET", "/api/1.0/marketplace/recipe/{recipe_id}"): Row(
        Action.SEE_PUBLIC, EVERYBODY, "/marketplace/recipe/{public_recipe}"
    ),
    # The bearer token is the application's, whoever the caller is.
    ("GET", "/api/1.0/app/token/{token}/user"): Row(Action.SEE_PUBLIC, EVERYBODY, "/app/token/{app_secret}/user"),
    # --- one's own
    ("POST", "/api/1.0/task"): Row(Action.ACT_FOR_ONESELF, USERS, "/task", NEW_TASK),
    ("POST", "/api/1.0/task/batch"): Row(Action.ACT_FOR_ONESELF, USERS, "/task/batch", [NEW_TASK]),
    ("GET", "/api/1.0/task/active"): Row(Action.ACT_FOR_ONESELF, USERS, "/task/active"),
    ("GET", "/api/1.0/task/over"): Row(Action.ACT_FOR_ONESELF, USERS, "/task/over"),
    ("POST", "/api/1.0/task/over/{skip}/{limit}"): Row(Action.ACT_FOR_ONESELF, USERS, "/task/over/0/0"),
    ("GET", "/api/1.0/archive/{days}"): Row(Action.ACT_FOR_ONESELF, USERS, "/archive/9000"),
    ("POST", "/api/1.0/archive/{days}"): Row(Action.ACT_FOR_ONESELF, USERS, "/archive/9000"),
    ("DELETE", "/api/1.0/archive/{days}"): Row(Action.ACT_FOR_ONESELF, USERS, "/archive/9000"),
    ("GET", "/api/1.0/project"): Row(Action.ACT_FOR_ONESELF, USERS, "/project"),
    ("GET", "/api/1.0/app/token"): Row(Action.ACT_FOR_ONESELF, USERS, "/app/token"),
    ("POST", "/api/1.0/app/token"): Row(Action.ACT_FOR_ONESELF, USERS, "/app/token", {"name": "x"}),
    ("DELETE", "/api/1.0/app/token/{token_id}"): Row(Action.CHANGE_USER, OWN_TOKEN, "/app/token/{app_token}"),
    # --- tasks
    ("GET", "/api/1.0/task/active/all"): Row(Action.SEE_ALL_TASKS, ADMINS, "/task/active/all"),
    ("GET", "/api/1.0/task/over/all"): Row(Action.SEE_ALL_TASKS, ADMINS, "/task/over/all"),
    ("POST", "/api/1.0/task/over/all/{skip}/{limit}"): Row(Action.SEE_ALL_TASKS, ADMINS, "/task/over/all/0/1"),
    ("GET", "/api/1.0/task/{task_id}"): Row(Action.SEE_TASK, SEES_TASK, "/task/{task}"),
    ("GET", "/api/1.0/task/{task_id}/status"): Row(Action.SEE_TASK, SEES_TASK, "/task/{task}/status"),
    ("GET", "/api/1.0/task/{task_id}/token"): Row(Action.SEE_TASK, SEES_TASK, "/task/{task}/token"),
    ("GET", "/api/1.0/task/{task_id}/monitor"): Row(Action.SEE_TASK, SEES_TASK, "/task/{ran}/monitor"),
    ("GET", "/api/1.0/task/{task_id}/explain"): Row(Action.SEE_TASK, SEES_TASK, "/task/{ran}/explain"),
    ("GET", "/api/1.0/task/{task_id}/attempts"): Row(Action.SEE_TASK, SEES_TASK, "/task/{ran}/attempts"),
    ("GET", "/api/1.0/task/{task_id}/log"): Row(Action.SEE_TASK, ok(SEES_TASK, 503), "/task/{ran}/log", ok=503),
    ("PUT", "/api/1.0/task/{task_id}"): Row(
        Action.MANAGE_TASK, ok(MANAGES_TASK, 422), "/task/{task}", {"name": "x", "value": "y"}, ok=422
    ),
    ("DELETE", "/api/1.0/task/{task_id}"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{task}"),
    ("GET", "/api/1.0/task/{task_id}/pending"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{task}/pending"),
    ("GET", "/api/1.0/task/{task_id}/suspend"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{task}/suspend"),
    ("GET", "/api/1.0/task/{task_id}/resume"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{task}/resume"),
    ("GET", "/api/1.0/task/{task_id}/reschedule"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{task}/reschedule"),
    ("GET", "/api/1.0/task/{task_id}/archive"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{ran}/archive"),
    ("POST", "/api/1.0/task/{task_id}/archive"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{ran}/archive"),
    ("DELETE", "/api/1.0/task/{task_id}/archive"): Row(Action.MANAGE_TASK, MANAGES_TASK, "/task/{ran}/archive"),
    ("GET", "/api/1.0/task/{task_id}/share"): Row(Action.SHARE_TASK, SHARES_TASK, "/task/{task}/share"),
    ("GET", "/api/1.0/task/{task_id}/unshare"): Row(Action.SHARE_TASK, SHARES_TASK, "/task/{task}/unshare"),
    # --- files: what is allowed is forwarded to nobody
    ("GET", "/api/1.0/task/{task_id}/files"): Row(Action.SEE_TASK, ok(SEES_TASK, 503), "/task/{task}/files", ok=503),
    ("GET", "/api/1.0/task/{task_id}/share/{token}/files"): Row(
        Action.SEE_PUBLIC, ok(EVERYBODY, 503), "/task/{task}/share/{share}/files", ok=503
    ),
    ("GET", "/api/1.0/user/{user_id}/files"): Row(Action.SEE_USER, ok(USER_OR_ADMIN, 503), "/user/olga/files", ok=503),
    ("GET", "/api/1.0/task/{task_id}/files/{path}"): Row(
        Action.SEE_TASK, ok(SEES_TASK, 503), "/task/{task}/files/god.log", ok=503
    ),
    ("GET", "/api/1.0/task/{task_id}/share/{token}/files/{path}"): Row(
        Action.SEE_PUBLIC, ok(EVERYBODY, 503), "/task/{task}/share/{share}/files/god.log", ok=503
    ),
    ("GET", "/api/1.0/user/{user_id}/files/{path}"): Row(
        Action.SEE_USER, ok(USER_OR_ADMIN, 503), "/user/olga/files/x", ok=503
    ),
    ("PUT", "/api/1.0/user/{user_id}/files/{path}"): Row(
        Action.CHANGE_USER, ok(USER_OR_ADMIN, 503), "/user/olga/files/x", "content", ok=503
    ),
    ("DELETE", "/api/1.0/user/{user_id}/files/{path}"): Row(
        Action.CHANGE_USER, ok(USER_OR_ADMIN, 503), "/user/olga/files/x", ok=503
    ),
    # --- users
    ("GET", "/api/1.0/user"): Row(Action.ADMINISTER_USER, ADMINS, "/user"),
    ("GET", "/api/1.0/user/{user_id}"): Row(Action.SEE_USER, USER_OR_ADMIN, "/user/olga"),
    ("PUT", "/api/1.0/user/{user_id}"): Row(
        Action.CHANGE_USER, USER_OR_ADMIN, "/user/olga", {"email": "o@example.org"}
    ),
    ("DELETE", "/api/1.0/user/{user_id}"): Row(Action.ADMINISTER_USER, ADMINS, "/user/olga"),
    ("DELETE", "/api/1.0/user/{user_id}/apikey"): Row(Action.CHANGE_USER, USER_OR_ADMIN, "/user/olga/apikey"),
    ("GET", "/api/1.0/user/{user_id}/project"): Row(Action.SEE_USER, USER_OR_ADMIN, "/user/olga/project"),
    ("GET", "/api/1.0/user/{user_id}/usage"): Row(Action.SEE_USER, USER_OR_ADMIN, "/user/olga/usage"),
    ("GET", "/api/1.0/user/{user_id}/billing/{year}/{month}"): Row(
        Action.SEE_USER, USER_OR_ADMIN, "/user/olga/billing/2023/11"
    ),
    ("DELETE", "/api/1.0/user/{user_id}/task"): Row(Action.CHANGE_USER, USER_OR_ADMIN, "/user/olga/task"),
    ("POST", "/api/1.0/guest/status"): Row(
        Action.ADMINISTER_USER, ADMINS, "/guest/status", {"id": "gast", "active": True}
    ),
    # --- projects
    ("POST", "/api/1.0/project"): Row(Action.ADMINISTER_PROJECT, ADMINS, "/project", {"id": "new-{serial}"}),
    ("GET", "/api/1.0/project/{project_id}"): Row(Action.SEE_PROJECT, PROJECT_OWNER, "/project/lab"),
    ("POST", "/api/1.0/project/{project_id}"): Row(Action.CHANGE_PROJECT, PROJECT_OWNER, "/project/lab", {"prio": 1}),
    ("DELETE", "/api/1.0/project/{project_id}"): Row(Action.ADMINISTER_PROJECT, ADMINS, "/project/empty"),
    ("GET", "/api/1.0/project/{project_id}/usage"): Row(Action.SEE_PROJECT_USAGE, PROJECT_TEAM, "/project/lab/usage"),
    ("DELETE", "/api/1.0/project/{project_id}/quota"): Row(Action.ADMINISTER_PROJECT, ADMINS, "/project/lab/quota"),
    ("GET", "/api/1.0/project/{project_id}/billing/{year}/{month}"): Row(
        Action.SEE_PROJECT, PROJECT_OWNER, "/project/lab/billing/2023/11"
    ),
    # --- marketplace: a recipe is made of a task that one may see, and changed where it is one's own
    ("POST", "/api/1.0/marketplace/recipe/{recipe_id}"): Row(
        Action.MANAGE_TASK, MANAGES_TASK, "/marketplace/recipe/new-{serial}", RECIPE
    ),
    ("PUT", "/api/1.0/marketplace/recipe/{recipe_id}"): Row(
        Action.CHANGE_RECIPE, OWN_RECIPE, "/marketplace/recipe/{recipe}", {"description": "y"}
    ),
    ("DELETE", "/api/1.0/marketplace/recipe/{recipe_id}"): Row(
        Action.CHANGE_RECIPE, OWN_RECIPE, "/marketplace/recipe/{recipe}"
    ),
    # --- the system
    ("GET", "/admin/maintenance"): Row(Action.ADMINISTER_SYSTEM, ADMINS, "/admin/maintenance"),
    ("GET", "/admin/node"): Row(Action.ADMINISTER_SYSTEM, ADMINS, "/admin/node"),
    ("POST", "/admin/maintenance/{node}/{status}"): Row(Action.ADMINISTER_SYSTEM, ADMINS, "/admin/maintenance/all/off"),
}

#: Routes that are stricter than the action in the table: only for own objects.
ONES_OWN = {("DELETE", "/api/1.0/app/token/{token_id}")}


def documented() -> list[tuple[str, str]]:
    paths = app.document().openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_every_route_has_a_row() -> None:
    assert [route for route in documented() if route not in ROWS] == []


def test_every_row_has_a_route() -> None:
    routes = documented()
    assert [route for route in ROWS if route not in routes] == []


@pytest.mark.parametrize("route", ROWS, ids=" ".join)
def test_a_row_says_what_the_table_of_permissions_says(route: tuple[str, str]) -> None:
    row = ROWS[route]
    for caller, status in zip(Caller, row.statuses, strict=True):
        role = _role(caller, row.action)
        if route in ONES_OWN and caller is Caller.ADMIN:
            continue
        assert (status == row.ok) == permissions.allows(role, row.action), caller


def _role(caller: Caller, action: Action) -> Role:
    """A member is one for the project's own matters, and for its tasks where they are shared."""
    of_project = action in (Action.SEE_PROJECT, Action.SEE_PROJECT_USAGE, Action.CHANGE_PROJECT)
    if caller is Caller.APART:
        return Role.MEMBER if of_project else Role.OTHER
    return Role[caller.name]


class World:
    """A system with one of everything, all of it olga's, and a way to ask as each kind of caller."""

    def __init__(self, apart: Gateway, sharing: Gateway, users: dict[Caller, User]) -> None:
        self._gateways = {Caller.APART: apart}
        self._sharing = sharing
        self._users = users
        self._serial = itertools.count(1)

    async def ask(self, caller: Caller, method: str, row: Row) -> int:
        words = await self._make()
        body = row.body
        headers = {}
        if caller is Caller.SHARED:
            headers["X-GODOCKER-SHARE"] = words["share"]
        if "{app_secret}" in row.path:
            secret = self._sharing.settings.shared_secret_passphrase.get_secret_value()
            headers["Authorization"] = f"Bearer {jwt.encode({'app_token': words['app_secret']}, secret)}"
        options: dict[str, Any] = {"content": body} if isinstance(body, str) else {}
        if isinstance(body, list):
            options["json"] = body
        if isinstance(body, dict):
            options["json"] = {
                name: value.format(**words) if isinstance(value, str) else value for name, value in body.items()
            }
        where = self._gateways.get(caller, self._sharing)
        by = None if "{app_secret}" in row.path else self._users.get(caller)
        path = row.path.format(**words)
        if path == "/health":
            return (await where.http.get(path, headers=headers)).status_code
        return (await where.ask(method, path, by, headers=headers, **options)).status_code

    async def _make(self) -> dict[str, str]:
        """Make fresh objects for one request."""
        number, here = next(self._serial), self._sharing
        task_id = await here.stores.tasks.reserve_ids(2)
        ran_id = task_id + 1
        token = share_tokens.generate(key="k", now=4e9, seconds=1000)
        await here.add_task(task_id, user="olga", project="lab", share=token.stored)
        ran = {"started_at": samples.NOW, "ended_at": samples.NOW, "attempt": 1, "placement": samples.placement()}
        await here.add_task(ran_id, TaskStatus.OVER, user="olga", project="lab", share=token.stored, **ran)
        for name, public in ((f"r{number}", False), (f"p{number}", True)):
            recipe = Recipe(id=name, description="", task=task_id, public=public, owner="olga", spec={}, created_at=1)
            await here.stores.recipes.add(recipe)
        secret, digest = app_tokens.generate()
        app_token = AppToken(id=f"t{number}", user="olga", name="x", hash=digest, created_at=1)
        await here.stores.database["app_tokens"].insert_one(app_token.model_dump(by_alias=True))
        return {
            "task": str(task_id),
            "ran": str(ran_id),
            "share": token.secret,
            "recipe": f"r{number}",
            "public_recipe": f"p{number}",
            "app_token": f"t{number}",
            "app_secret": secret,
            "serial": str(number),
        }


@pytest.fixture
async def world(gateway: Gateway, settings: Settings) -> AsyncIterator[World]:
    users = {
        Caller.OTHER: await gateway.add_user("otto"),
        Caller.APART: await gateway.add_user("mia"),
        Caller.OWNER: await gateway.add_user("olga"),
        Caller.ADMIN: await gateway.add_user("admin", admin=True),
    }
    users[Caller.MEMBER] = users[Caller.APART]
    await gateway.add_user("gast", guest=True)
    for name in ("lab", "empty"):
        await gateway.add_project(name, owner="olga", members=["mia"])
    async with gateways.opened(settings.model_copy(update={"share_project_tasks": True})) as sharing:
        yield World(gateway, sharing, users)


@pytest.mark.parametrize("route", documented(), ids=" ".join)
async def test_a_route_answers_each_caller_as_its_row_says(world: World, route: tuple[str, str]) -> None:
    row = ROWS[route]
    answers = {caller: await world.ask(caller, route[0], row) for caller in Caller}
    assert answers == dict(zip(Caller, row.statuses, strict=True))
