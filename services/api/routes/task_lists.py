"""Lists of tasks: active, over, paged, streamed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.api import routers, task_answers
from services.api.dependencies import Caller, Here, permitted
from services.api.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json, TaskOut
from services.api.wire.submission import Line
from shared.auth.permissions import Action
from shared.store.lists import Filter, Order

router = routers.make("tasks")

_LIST = 100  #: tasks in a list of those over, where the caller names no number
_LIST_MAX = 10_000
_SKIP_MAX = 10_000_000

Limit = Annotated[int, Query(ge=1, le=_LIST_MAX, description="How many tasks at most")]
Skip = Annotated[int, Path(ge=0, le=_SKIP_MAX)]
Count = Annotated[int, Path(ge=0, le=_SKIP_MAX, description="0: all of them, streamed")]
Timestamp = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class Period(BaseModel):
    """Bounds of when a task began to run, in seconds since the epoch."""

    model_config = ConfigDict(extra="ignore")

    start: Timestamp | None = None
    end: Timestamp | None = None


@router.get(
    "/task/active",
    response_model=list[TaskOut],
    responses=AUTHENTICATED,
    summary="The caller's tasks that are not over, newest first",
)
async def active(here: Here, user: Caller, project: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    # Where a project's members share their tasks, its list is everybody's in it.
    owner = None if project is not None and await here.shares(user, project) else user.id
    return await task_answers.streamed(here, here.stores.lists.active(owner, project=project))


@router.get(
    "/task/active/all",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="All users' tasks that are not over, newest first",
)
async def active_all(here: Here) -> Response:
    return await task_answers.streamed(here, here.stores.lists.active(None))


@router.get(
    "/task/over",
    response_model=list[dict[str, Any]],
    responses=AUTHENTICATED,
    summary="The caller's last tasks that are over; with `draw` a page of them",
)
async def over(
    here: Here,
    user: Caller,
    limit: Limit = _LIST,
    draw: Annotated[int | None, Query(ge=0, le=2**31, description="Sent back with the page")] = None,
    start: Annotated[int, Query(ge=0, le=_SKIP_MAX, description="Tasks to skip")] = 0,
    start_date: Annotated[Timestamp | None, Query()] = None,
    end_date: Annotated[Timestamp | None, Query()] = None,
    reverse: bool = False,
    order_by: Annotated[Order | None, Query(alias="orderBy")] = None,
    regex: Annotated[
        Line | None, Query(max_length=128, description="Looked for in image, name and user, as it is")
    ] = None,
) -> Response:
    if draw is None:
        return await task_answers.streamed(here, here.stores.lists.over(Filter(user.id), limit=limit))
    wanted = Filter(user.id, start=start_date, end=end_date, text=regex)
    page = await here.stores.lists.page(wanted, skip=start, limit=limit, order=order_by, reverse=reverse)
    data = await task_answers.documents(here, page.tasks)
    return Json([{"draw": draw, "data": data, "recordsTotal": page.total, "recordsFiltered": page.filtered}])


@router.get(
    "/task/over/all",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="All users' last tasks that are over",
)
async def over_all(here: Here, limit: Limit = _LIST) -> Response:
    return await task_answers.streamed(here, here.stores.lists.over(Filter(None), limit=limit))


@router.post(
    "/task/over/all/{skip}/{limit}",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="All users' tasks that are over, as many as are wanted",
)
async def over_all_cursor(skip: Skip, limit: Count, here: Here, period: Period | None = None) -> Response:
    return await _cursor(here, None, skip, limit, period)


@router.post(
    "/task/over/{skip}/{limit}",
    response_model=list[TaskOut],
    responses=AUTHENTICATED,
    summary="The caller's tasks that are over, as many as are wanted",
)
async def over_cursor(skip: Skip, limit: Count, here: Here, user: Caller, period: Period | None = None) -> Response:
    return await _cursor(here, user.id, skip, limit, period)


async def _cursor(here: Here, user: str | None, skip: int, limit: int, period: Period | None) -> Response:
    bounds = period or Period()
    wanted = Filter(user, start=bounds.start, end=bounds.end)
    return await task_answers.streamed(here, here.stores.lists.over(wanted, skip=skip, limit=limit))
