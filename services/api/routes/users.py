"""Look at users, change and delete them."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import Query

from services.api.access.callers import Caller, Here, permitted
from services.api.access.subjects import user_for
from services.api.answers import usage_and_billing
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire import project as project_wire
from services.api.wire import user as wire
from services.api.wire.answers import DayOut, Json, Message, MonthOut
from services.api.wire.fields import Month, Year
from services.api.wire.project import ProjectOut
from services.api.wire.user import ApiKeyOut, GuestStatus, UserChange, UserOut
from shared import clock, errors
from shared.auth import apikeys
from shared.auth.permissions import Action
from shared.models.user import Deletion, User

log = structlog.get_logger(__name__)

router = routers.make("users")

Seen = Annotated[User, user_for(Action.SEE_USER)]
Changed = Annotated[User, user_for(Action.CHANGE_USER)]
Administered = Annotated[User, user_for(Action.ADMINISTER_USER)]

_ERRORS = AUTHENTICATED | responses(403, 404)


@router.get(
    "/user",
    response_model=list[UserOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.ADMINISTER_USER)],
    summary="List all users",
)
async def list_users(here: Here) -> Json:
    return Json([wire.shown(user) for user in await here.stores.users.list()])


@router.get("/user/{user_id}", response_model=UserOut, responses=_ERRORS, summary="Get a user")
async def get_user(user: Seen) -> Json:
    return Json(wire.shown(user))


@router.put("/user/{user_id}", response_model=UserOut, responses=_ERRORS | responses(409), summary="Change a user")
async def change_user(user: Changed, sent: UserChange, here: Here, caller: Caller) -> Json:
    """Send the whole user back with other values: what you may not change, or nobody may, stays as it is."""
    fields = wire.changes(sent, by_admin=caller.admin)
    return Json(wire.shown(await _changed(here, user, fields, by=caller) if fields else user))


@router.delete(
    "/user/{user_id}",
    response_model=Message,
    responses=_ERRORS | responses(409),
    summary="Delete a user with all tasks and files",
)
async def delete_user(user: Administered, here: Here, caller: Caller) -> Json:
    """
    The user is shut out at once. Their tasks are killed, and rows and files removed, soon after: until then the user is still
    there, and the id is not free.
    """
    if user.id == caller.id:
        raise errors.Conflict("nobody can delete their own account")
    await here.stores.deletions.ask(Deletion(id=user.id, asked_by=caller.id, asked_at=clock.now()))
    await here.stores.users.shut_out(user.id)
    here.hints.asked()
    log.info("user.deletion_asked", user=user.id, by=caller.id)
    return Json({"msg": f"user {user.id} is being deleted"})


@router.delete(
    "/user/{user_id}/apikey", response_model=ApiKeyOut, responses=_ERRORS, summary="Replace the API key of a user"
)
async def replace_api_key(
    user: Changed,
    here: Here,
    caller: Caller,
    everything: Annotated[
        bool, Query(alias="all", description="End application tokens and shares of tasks as well")
    ] = False,
) -> Json:
    """
    The old key, and every session that was begun with it, is void at once. The new one is shown only once.

    Application tokens and the share tokens of the user's tasks stay good, and the answer says how many there are; with
    `?all=true` they end as well.
    """
    key = apikeys.generate()
    if not await here.stores.users.set_apikey(user.id, key.stored):
        raise errors.NotFound(f"no user {user.id}")
    if everything:
        # After the key: whoever had the old one makes no new ones.
        await here.stores.app_tokens.remove_of(user.id)
        await here.stores.owned.end_shares(user.id)
    log.info("user.key_replaced", user=user.id, by=caller.id, everything=everything)
    stay = apikeys.staying(
        app_tokens=await here.stores.app_tokens.count(user.id),
        shares=await here.stores.owned.count_shares(user.id, at=clock.now()),
    )
    answer: dict[str, Any] = {"apikey": key.secret}
    return Json(answer | {"warnings": [f"{stay}: ?all=true ends these as well"]} if stay else answer)


@router.get(
    "/user/{user_id}/project",
    response_model=list[ProjectOut],
    responses=_ERRORS,
    summary="List the projects of a user, the default project first",
)
async def list_user_projects(user: Seen, here: Here) -> Json:
    return Json([project_wire.shown(project) for project in await here.stores.projects.of_user(user.id)])


@router.get(
    "/user/{user_id}/usage",
    response_model=list[DayOut],
    responses=_ERRORS,
    summary="Get the usage of a user, day by day",
)
async def get_user_usage(user: Seen, here: Here) -> Json:
    return Json(await usage_and_billing.days(here, "user", user.id))


@router.get(
    "/user/{user_id}/billing/{year}/{month}",
    response_model=list[MonthOut],
    responses=_ERRORS,
    summary="Get the usage of a user in a month, project by project",
)
async def get_user_billing(
    user: Seen,
    year: Year,
    month: Month,
    here: Here,
    force: Annotated[bool, Query(description="Count again, instead of the remembered sums of a past month")] = False,
) -> Json:
    return Json(await usage_and_billing.month(here, "user", user.id, year=year, month=month, force=force))


@router.delete(
    "/user/{user_id}/task",
    response_model=list[int],
    responses=_ERRORS,
    summary="Kill all tasks of a user, or those with a tag",
)
async def kill_user_tasks(
    user: Changed,
    here: Here,
    caller: Caller,
    tag: Annotated[str | None, Query(min_length=1, max_length=100, description="Only tasks with this tag")] = None,
) -> Json:
    """Recorded at once, carried out soon. The answer names the tasks that are to end."""
    killed = await here.stores.owned.kill_all(user.id, at=clock.now(), tag=tag, by=caller.id)
    if killed:
        log.info("task.kill_asked", user=user.id, by=caller.id, tag=tag, tasks=len(killed), last=killed[0])
        here.hints.asked()
    return Json(killed)


@router.post(
    "/guest/status",
    response_model=UserOut,
    responses=_ERRORS | responses(409),
    summary="Activate a guest, or shut one out",
)
async def set_guest_status(
    sent: GuestStatus, here: Here, admin: Annotated[User, permitted(Action.ADMINISTER_USER)]
) -> Json:
    guest = await here.users.ask(sent.id)
    if guest is None or not guest.guest:
        raise errors.NotFound(f"no guest {sent.id}")
    return Json(wire.shown(await _changed(here, guest, {"active": sent.active}, by=admin)))


async def _changed(here: Here, user: User, fields: dict[str, Any], *, by: User) -> User:
    changed = await here.stores.users.change(user.id, fields)
    if changed is None:
        raise errors.Conflict(f"the user {user.id} is being deleted")
    log.info("user.changed", user=user.id, fields=sorted(fields), by=by.id)
    return changed
