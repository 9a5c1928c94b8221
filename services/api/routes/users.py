"""Show, change and delete users."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import Query

from services.api.access.callers import Caller
from services.api.access.guards import permitted, user_for
from services.api.answers import usage_and_billing
from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.http.path_params import Month, Year
from services.api.wire import project as project_wire
from services.api.wire import user as wire
from services.api.wire.answers import DayOut, Message, MonthOut
from services.api.wire.project import ProjectOut
from services.api.wire.user import ApiKeyOut, GuestStatus, UserChange, UserOut
from shared import clock, errors
from shared.auth import apikeys
from shared.auth.permissions import Action
from shared.models.user import Deletion, User

log = structlog.get_logger(__name__)

router = routers.make("users")

Visible = Annotated[User, user_for(Action.SEE_USER)]
Changeable = Annotated[User, user_for(Action.CHANGE_USER)]
Administrable = Annotated[User, user_for(Action.ADMINISTER_USER)]

_ERRORS = AUTHENTICATED | responses(403, 404)


@router.get(
    "/user",
    response_model=list[UserOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.ADMINISTER_USER)],
    summary="List all users",
)
async def list_users(context: ContextDep) -> Json:
    return Json([wire.shown(user) for user in await context.stores.users.list()])


@router.get("/user/{user_id}", response_model=UserOut, responses=_ERRORS, summary="Get a user")
async def get_user(user: Visible) -> Json:
    return Json(wire.shown(user))


@router.put("/user/{user_id}", response_model=UserOut, responses=_ERRORS | responses(409), summary="Change a user")
async def change_user(user: Changeable, sent: UserChange, context: ContextDep, caller: Caller) -> Json:
    """Send the whole user back with other values. Fields that you may not change stay as they are."""
    fields = wire.changes(sent, by_admin=caller.admin)
    return Json(wire.shown(await _change(context, user, fields, by=caller) if fields else user))


@router.delete(
    "/user/{user_id}",
    response_model=Message,
    responses=_ERRORS | responses(409),
    summary="Delete a user with all tasks and files",
)
async def delete_user(user: Administrable, context: ContextDep, caller: Caller) -> Json:
    """
    The user is locked out at once. Their tasks are killed, and rows and files removed, soon after; until then the user
    still exists and the id is not free.
    """
    if user.id == caller.id:
        raise errors.Conflict("you cannot delete your own account")
    await context.stores.deletions.ask(Deletion(id=user.id, asked_by=caller.id, asked_at=clock.now()))
    await context.stores.users.shut_out(user.id)
    context.hints.intent_written()
    log.info("user.deletion_asked", user=user.id, by=caller.id)
    return Json({"msg": f"user {user.id} is being deleted"})


@router.delete(
    "/user/{user_id}/apikey", response_model=ApiKeyOut, responses=_ERRORS, summary="Replace the API key of a user"
)
async def replace_api_key(
    user: Changeable,
    context: ContextDep,
    caller: Caller,
    revoke_all: Annotated[
        bool, Query(alias="all", description="Revoke application tokens and share tokens of tasks as well")
    ] = False,
) -> Json:
    """
    The old key and all user tokens made with it are void at once. The new key is shown only this once.

    Application tokens and share tokens of the user's tasks stay valid, and `warnings` counts them; with `?all=true`
    they are revoked as well.
    """
    key = apikeys.generate()
    if not await context.stores.users.set_apikey(user.id, key.stored):
        raise errors.NotFound(f"no user {user.id}")
    if revoke_all:
        # After the key: a holder of the old key cannot make new tokens.
        await context.stores.app_tokens.remove_of(user.id)
        await context.stores.owned.end_shares(user.id)
    log.info("user.key_replaced", user=user.id, by=caller.id, all=revoke_all)
    valid = apikeys.staying(
        app_tokens=await context.stores.app_tokens.count(user.id),
        shares=await context.stores.owned.count_shares(user.id, at=clock.now()),
    )
    answer: dict[str, Any] = {"apikey": key.secret}
    return Json(answer | {"warnings": [f"{valid}: ?all=true ends these as well"]} if valid else answer)


@router.get(
    "/user/{user_id}/project",
    response_model=list[ProjectOut],
    responses=_ERRORS,
    summary="List the projects of a user, the default project first",
)
async def list_user_projects(user: Visible, context: ContextDep) -> Json:
    return Json([project_wire.shown(project) for project in await context.stores.projects.of_user(user.id)])


@router.get(
    "/user/{user_id}/usage",
    response_model=list[DayOut],
    responses=_ERRORS,
    summary="Get the usage of a user, day by day",
)
async def get_user_usage(user: Visible, context: ContextDep) -> Json:
    return Json(await usage_and_billing.days(context, "user", user.id))


@router.get(
    "/user/{user_id}/billing/{year}/{month}",
    response_model=list[MonthOut],
    responses=_ERRORS,
    summary="Get the usage of a user in a month, by project",
)
async def get_user_billing(
    user: Visible,
    year: Year,
    month: Month,
    context: ContextDep,
    force: Annotated[bool, Query(description="Sum a past month again, instead of using cached sums")] = False,
) -> Json:
    return Json(await usage_and_billing.month(context, "user", user.id, year=year, month=month, force=force))


@router.delete(
    "/user/{user_id}/task",
    response_model=list[int],
    responses=_ERRORS,
    summary="Kill all tasks of a user, or those with a tag",
)
async def kill_user_tasks(
    user: Changeable,
    context: ContextDep,
    caller: Caller,
    tag: Annotated[str | None, Query(min_length=1, max_length=100, description="Only tasks with this tag")] = None,
) -> Json:
    """The request is recorded at once and carried out soon. The answer lists the tasks to kill."""
    killed = await context.stores.owned.kill_all(user.id, at=clock.now(), tag=tag, by=caller.id)
    if killed:
        log.info("task.kill_asked", user=user.id, by=caller.id, tag=tag, tasks=len(killed), last=killed[0])
        context.hints.intent_written()
    return Json(killed)


@router.post(
    "/guest/status",
    response_model=UserOut,
    responses=_ERRORS | responses(409),
    summary="Activate or deactivate a guest",
)
async def set_guest_status(
    sent: GuestStatus, context: ContextDep, admin: Annotated[User, permitted(Action.ADMINISTER_USER)]
) -> Json:
    guest = await context.users.ask(sent.id)
    if guest is None or not guest.guest:
        raise errors.NotFound(f"no guest {sent.id}")
    return Json(wire.shown(await _change(context, guest, {"active": sent.active}, by=admin)))


async def _change(context: ContextDep, user: User, fields: dict[str, Any], *, by: User) -> User:
    changed = await context.stores.users.change(user.id, fields)
    if changed is None:
        raise errors.Conflict(f"the user {user.id} is being deleted")
    log.info("user.changed", user=user.id, fields=sorted(fields), by=by.id)
    return changed
