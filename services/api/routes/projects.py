"""Look at projects, change and delete them."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Query

from services.api.access.callers import Caller, Here, permitted
from services.api.access.subjects import project_for
from services.api.answers import usage_and_billing
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire import project as wire
from services.api.wire.answers import DayOut, Json, Message, MonthOut
from services.api.wire.fields import Month, Year
from services.api.wire.project import ProjectChange, ProjectIn, ProjectOut
from shared import clock, errors
from shared.auth.permissions import Action
from shared.models.project import DEFAULT, Project

log = structlog.get_logger(__name__)

router = routers.make("projects")

Seen = Annotated[Project, project_for(Action.SEE_PROJECT)]
Counted = Annotated[Project, project_for(Action.SEE_PROJECT_USAGE)]
Changed = Annotated[Project, project_for(Action.CHANGE_PROJECT)]
Administered = Annotated[Project, project_for(Action.ADMINISTER_PROJECT)]

_ERRORS = AUTHENTICATED | responses(403, 404)


@router.get(
    "/project",
    response_model=list[ProjectOut],
    responses=AUTHENTICATED,
    summary="List the projects that you own; an admin sees all",
)
async def list_projects(here: Here, caller: Caller) -> Json:
    found = await here.stores.projects.list(owner=None if caller.admin else caller.id)
    return Json([wire.shown(project) for project in found])


@router.get("/project/{project_id}", response_model=ProjectOut, responses=_ERRORS, summary="Get a project")
async def get_project(project: Seen) -> Json:
    return Json(wire.shown(project))


@router.post(
    "/project",
    response_model=ProjectOut,
    responses=AUTHENTICATED | responses(403, 409),
    dependencies=[permitted(Action.ADMINISTER_PROJECT)],
    summary="Create a project",
)
async def create_project(sent: ProjectIn, here: Here) -> Json:
    now = clock.now()
    fields = wire.changes(sent, here.settings, by_admin=True)
    # What a project of the same id used before this one was made is not this one's.
    project = Project(id=sent.id, created_at=now, usage_since=now, **fields)
    await here.stores.projects.add(project)
    log.info("project.created", project=project.id, owner=project.owner)
    return Json(wire.shown(project))


@router.post(
    "/project/{project_id}",
    response_model=ProjectOut,
    responses=_ERRORS | responses(409),
    summary="Change a project",
)
async def change_project(project: Changed, sent: ProjectChange, here: Here, caller: Caller) -> Json:
    """What the caller may not change stays as it is. Quotas, priority, owner and volumes are the admins'."""
    _check_not_default(project)
    fields = wire.changes(sent, here.settings, by_admin=caller.admin)
    changed = await here.stores.projects.change(project.id, fields) if fields else project
    if changed is None:
        raise errors.NotFound(f"no project {project.id}")
    log.info("project.changed", project=project.id, fields=sorted(fields), by=caller.id)
    return Json(wire.shown(changed))


@router.delete(
    "/project/{project_id}", response_model=Message, responses=_ERRORS | responses(409), summary="Delete a project"
)
async def delete_project(project: Administered, here: Here) -> Json:
    """Its tasks that are over and what they used stay, under its name. 409 while there are others."""
    _check_not_default(project)
    if active := await here.stores.owned.count_active_in(project.id):
        raise errors.Conflict(f"{active} tasks of project {project.id} are not over")
    if not await here.stores.projects.remove(project.id):
        raise errors.NotFound(f"no project {project.id}")
    log.info("project.deleted", project=project.id)
    return Json({"msg": f"project {project.id} is deleted"})


@router.get(
    "/project/{project_id}/usage",
    response_model=list[DayOut],
    responses=_ERRORS,
    summary="Get the usage of a project, day by day",
)
async def get_project_usage(project: Counted, here: Here) -> Json:
    return Json(await usage_and_billing.days(here, "project", project.id, since=project.usage_since))


@router.delete(
    "/project/{project_id}/quota",
    response_model=Message,
    responses=_ERRORS | responses(409),
    summary="Reset the quotas of a project: earlier usage no longer counts",
)
async def reset_project_quota(project: Administered, here: Here) -> Json:
    """What was used until now counts no longer towards the quotas; bills keep it."""
    _check_not_default(project)
    await here.stores.projects.change(project.id, {"usage_since": clock.now()})
    log.info("project.quota_reset", project=project.id)
    return Json({"msg": f"the quotas of project {project.id} begin anew"})


@router.get(
    "/project/{project_id}/billing/{year}/{month}",
    response_model=list[MonthOut],
    responses=_ERRORS,
    summary="Get the usage of a project in a month, user by user",
)
async def get_project_billing(
    project: Seen,
    year: Year,
    month: Month,
    here: Here,
    force: Annotated[bool, Query(description="Count again, instead of the remembered sums of a past month")] = False,
) -> Json:
    return Json(
        await usage_and_billing.month(
            here, "project", project.id, year=year, month=month, force=force, since=project.created_at
        )
    )


def _check_not_default(project: Project) -> None:
    if project.id == DEFAULT:
        raise errors.Conflict("project `default` is built in and cannot be changed or deleted")
