"""Lists of tasks: active, over, paged, streamed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.api.access.callers import Caller, Here, permitted
from services.api.answers import tasks
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json
from services.api.wire.fields import Line
from services.api.wire.task_out import TaskOut, TaskPage
from shared.auth.permissions import Action
from shared.models.task_list import Filter, Order

router = routers.make("tasks")

_LIST = 100  #: tasks in a list of those over, where the caller names no number
_LIST_MAX = 10_000
_SKIP_MAX = 10_000_000

Limit = Annotated[int, Query(ge=1, le=_LIST_MAX, description="Tasks to list, at most")]
Skip = Annotated[int, Path(ge=0, le=_SKIP_MAX, description="Tasks to skip")]
Count = Annotated[int, Path(ge=0, le=_SKIP_MAX, description="Tasks to list, at most; 0: all of them, streamed")]
_BEGAN_FROM = "Began at this time or later, seconds since the epoch (UTC); with `draw`"
_BEGAN_TO = "Began at this time or earlier, seconds since the epoch (UTC); with `draw`"
Timestamp = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


Project = Annotated[str | None, Query(max_length=64, description="Only tasks of this project")]


class Period(BaseModel):
    """Bounds on when tasks began to run."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"start": 1764500000}]})

    start: Timestamp | None = Field(None, description="Began at this time or later, seconds since the epoch (UTC)")
    end: Timestamp | None = Field(None, description="Began at this time or earlier, seconds since the epoch (UTC)")


@router.get(
    "/task/active",
    response_model=list[TaskOut],
    responses=AUTHENTICATED,
    summary="List your unfinished tasks, newest first",
)
async def list_active_tasks(here: Here, user: Caller, project: Project = None) -> Response:
    # Where a project's members share their tasks, its list is everybody's in it.
    owner = None if project is not None and await here.shares(user, project) else user.id
    return await tasks.streamed(here, here.stores.lists.active(owner, project=project))


@router.get(
    "/task/active/all",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="List unfinished tasks of all users, newest first",
)
async def list_all_active_tasks(here: Here) -> Response:
    return await tasks.streamed(here, here.stores.lists.active(None))


@router.get(
    "/task/over",
    response_model=list[TaskOut] | list[TaskPage],
    responses=AUTHENTICATED,
    summary="List your finished tasks, latest first",
)
async def list_finished_tasks(
    here: Here,
    user: Caller,
    limit: Limit = _LIST,
    draw: Annotated[int | None, Query(ge=0, le=2**31, description="Asks for a page; the number is sent back")] = None,
    start: Annotated[int, Query(ge=0, le=_SKIP_MAX, description="Tasks to skip; with `draw`")] = 0,
    start_date: Annotated[Timestamp | None, Query(description=_BEGAN_FROM)] = None,
    end_date: Annotated[Timestamp | None, Query(description=_BEGAN_TO)] = None,
    reverse: Annotated[bool, Query(description="Turn the order round; with `draw`")] = False,
    order_by: Annotated[
        Order | None, Query(alias="orderBy", description="Field to sort by; default: latest end first; with `draw`")
    ] = None,
    regex: Annotated[
        Line | None,
        Query(
            max_length=128,
            description="Text to find in image, name or user, in any case; despite its name, not a regular expression",
        ),
    ] = None,
) -> Response:
    """
    A page is a part of the list as it is at that moment. Where tasks end, or are deleted or archived, between one page and the
    next, the following ones move up or down, and a reader may miss some or meet some twice. The order itself is fixed: equal
    ones are sorted by number.
    """
    if draw is None:
        return await tasks.streamed(here, here.stores.lists.over(Filter(user.id), limit=limit))
    wanted = Filter(user.id, start=start_date, end=end_date, text=regex)
    page = await here.stores.lists.page(wanted, skip=start, limit=limit, order=order_by, reverse=reverse)
    data = await tasks.documents(here, page.tasks)
    return Json([{"draw": draw, "data": data, "recordsTotal": page.total, "recordsFiltered": page.filtered}])


@router.get(
    "/task/over/all",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="List finished tasks of all users, latest first",
)
async def list_all_finished_tasks(here: Here, limit: Limit = _LIST) -> Response:
    return await tasks.streamed(here, here.stores.lists.over(Filter(None), limit=limit))


@router.post(
    "/task/over/all/{skip}/{limit}",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="List finished tasks of all users, page by page",
)
async def page_all_finished_tasks(skip: Skip, limit: Count, here: Here, period: Period | None = None) -> Response:
    """
    The latest end first, equal ones by number. `skip` counts in the list as it is now: where tasks end or are deleted between
    two requests, a reader of parts may miss some or meet some twice. `limit` 0 gives all of them in one answer, which misses
    none.
    """
    return await _cursor(here, None, skip, limit, period)


@router.post(
    "/task/over/{skip}/{limit}",
    response_model=list[TaskOut],
    responses=AUTHENTICATED,
    summary="List your finished tasks, page by page",
)
async def page_finished_tasks(
    skip: Skip, limit: Count, here: Here, user: Caller, period: Period | None = None
) -> Response:
    """
    The latest end first, equal ones by number. `skip` counts in the list as it is now: where tasks end or are deleted between
    two requests, a reader of parts may miss some or meet some twice. `limit` 0 gives all of them in one answer, which misses
    none.
    """
    return await _cursor(here, user.id, skip, limit, period)


async def _cursor(here: Here, user: str | None, skip: int, limit: int, period: Period | None) -> Response:
    bounds = period or Period()
    wanted = Filter(user, start=bounds.start, end=bounds.end)
    return await tasks.streamed(here, here.stores.lists.over(wanted, skip=skip, limit=limit))
