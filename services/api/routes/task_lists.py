"""List tasks: active or over, in pages or streamed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.api.access.callers import Caller
from services.api.access.guards import permitted
from services.api.answers import tasks
from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.fields import Line
from services.api.wire.task_out import TaskOut, TaskPage
from shared.auth.permissions import Action
from shared.models.task_list import Filter, Order

router = routers.make("tasks")

_LIST = 100  #: finished tasks in a list without `limit`
_LIST_MAX = 10_000
_SKIP_MAX = 10_000_000

Limit = Annotated[int, Query(ge=1, le=_LIST_MAX, description="Maximum number of tasks")]
Skip = Annotated[int, Path(ge=0, le=_SKIP_MAX, description="Number of tasks to skip")]
Count = Annotated[int, Path(ge=0, le=_SKIP_MAX, description="Maximum number of tasks; 0: all of them, streamed")]
_BEGAN_FROM = "Start at this time or later, seconds since the epoch (UTC); with `draw`"
_BEGAN_TO = "Start at this time or earlier, seconds since the epoch (UTC); with `draw`"
Timestamp = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


Project = Annotated[str | None, Query(max_length=64, description="Only tasks of this project")]


class Period(BaseModel):
    """Bounds on the start of tasks."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"start": 1764500000}]})

    start: Timestamp | None = Field(None, description="Start at this time or later, seconds since the epoch (UTC)")
    end: Timestamp | None = Field(None, description="Start at this time or earlier, seconds since the epoch (UTC)")


@router.get(
    "/task/active",
    response_model=list[TaskOut],
    responses=AUTHENTICATED,
    summary="List your unfinished tasks, newest first",
)
async def list_active_tasks(context: ContextDep, caller: Caller, project: Project = None) -> Response:
    # If members of a project share their tasks, its list has the tasks of all.
    owner = None if project is not None and await context.shares(caller, project) else caller.id
    return await tasks.streamed(context, context.stores.lists.active(owner, project=project))


@router.get(
    "/task/active/all",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="List unfinished tasks of all users, newest first",
)
async def list_all_active_tasks(context: ContextDep) -> Response:
    return await tasks.streamed(context, context.stores.lists.active(None))


@router.get(
    "/task/over",
    response_model=list[TaskOut] | list[TaskPage],
    responses=AUTHENTICATED,
    summary="List your finished tasks, latest first",
)
async def list_finished_tasks(
    context: ContextDep,
    caller: Caller,
    limit: Limit = _LIST,
    draw: Annotated[int | None, Query(ge=0, le=2**31, description="Ask for a page; the number is sent back")] = None,
    start: Annotated[int, Query(ge=0, le=_SKIP_MAX, description="Number of tasks to skip; with `draw`")] = 0,
    start_date: Annotated[Timestamp | None, Query(description=_BEGAN_FROM)] = None,
    end_date: Annotated[Timestamp | None, Query(description=_BEGAN_TO)] = None,
    reverse: Annotated[bool, Query(description="Reverse the order; with `draw`")] = False,
    order_by: Annotated[
        Order | None,
        Query(alias="orderBy", description="Field to sort by, by default the latest end first; with `draw`"),
    ] = None,
    regex: Annotated[
        Line | None,
        Query(
            max_length=128,
            description="Text to find in image, name or user, ignoring case; not a regular expression",
        ),
    ] = None,
) -> Response:
    """
    With `draw`, a page is a part of the list at that moment. If tasks end or are deleted or archived between two pages,
    the others move up or down, and a reader may miss some or get some twice. The order itself is fixed: tasks with
    equal keys are sorted by number.
    """
    if draw is None:
        return await tasks.streamed(context, context.stores.lists.over(Filter(caller.id), limit=limit))
    filtered = Filter(caller.id, start=start_date, end=end_date, text=regex)
    page = await context.stores.lists.page(filtered, skip=start, limit=limit, order=order_by, reverse=reverse)
    data = await tasks.documents(context, page.tasks)
    return Json([{"draw": draw, "data": data, "recordsTotal": page.total, "recordsFiltered": page.filtered}])


@router.get(
    "/task/over/all",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="List finished tasks of all users, latest first",
)
async def list_all_finished_tasks(context: ContextDep, limit: Limit = _LIST) -> Response:
    return await tasks.streamed(context, context.stores.lists.over(Filter(None), limit=limit))


@router.post(
    "/task/over/all/{skip}/{limit}",
    response_model=list[TaskOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.SEE_ALL_TASKS)],
    summary="List finished tasks of all users, page by page",
)
async def page_all_finished_tasks(
    skip: Skip, limit: Count, context: ContextDep, period: Period | None = None
) -> Response:
    """
    Sorted by the latest end, then by number. `skip` counts in the list at that moment: if tasks end or are deleted
    between two requests, a reader may miss some or get some twice. `limit` 0 answers all tasks at once, and misses
    none.
    """
    return await _streamed(context, None, skip, limit, period)


@router.post(
    "/task/over/{skip}/{limit}",
    response_model=list[TaskOut],
    responses=AUTHENTICATED,
    summary="List your finished tasks, page by page",
)
async def page_finished_tasks(
    skip: Skip, limit: Count, context: ContextDep, caller: Caller, period: Period | None = None
) -> Response:
    """
    Sorted by the latest end, then by number. `skip` counts in the list at that moment: if tasks end or are deleted
    between two requests, a reader may miss some or get some twice. `limit` 0 answers all tasks at once, and misses
    none.
    """
    return await _streamed(context, caller.id, skip, limit, period)


async def _streamed(context: ContextDep, caller: str | None, skip: int, limit: int, period: Period | None) -> Response:
    bounds = period or Period()
    filtered = Filter(caller, start=bounds.start, end=bounds.end)
    return await tasks.streamed(context, context.stores.lists.over(filtered, skip=skip, limit=limit))
