"""Show, create, change and delete projects."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Query

from services.api.access.callers import Caller
from services.api.access.guards import permitted, project_for
from services.api.answers import usage_and_billing
from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.http.path_params import Month, Year
from services.api.wire import project as wire
from services.api.wire.answers import DayOut, Message, MonthOut
from services.api.wire.project import ProjectChange, ProjectIn, ProjectOut
from shared import clock, errors
from shared.auth.permissions import Action
from shared.models.project import DEFAULT, Project

log = structlog.get_logger(__name__)

router = routers.make("projects")

Visible = Annotated[Project, project_for(Action.SEE_PROJECT)]
Measurable = Annotated[Project, project_for(Action.SEE_PROJECT_USAGE)]
Changeable = Annotated[Project, project_for(Action.CHANGE_PROJECT)]
Administrable = Annotated[Project, project_for(Action.ADMINISTER_PROJECT)]

_ERRORS = AUTHENTICATED | responses(403, 404)


@router.get(
    "/project",
    response_model=list[ProjectOut],
    responses=AUTHENTICATED,
    summary="List the projects that you own; an admin sees all",
)
async def list_projects(context: ContextDep, caller: Caller) -> Json:
    projects = await context.stores.projects.list(owner=None if caller.admin else caller.id)
    return Json([wire.shown(project) for project in projects])


@router.get("/project/{project_id}", response_model=ProjectOut, responses=_ERRORS, summary="Get a project")
async def get_project(project: Visible) -> Json:
    return Json(wire.shown(project))


@router.post(
    "/project",
    response_model=ProjectOut,
    responses=AUTHENTICATED | responses(403, 409),
    dependencies=[permitted(Action.ADMINISTER_PROJECT)],
    summary="Create a project",
)
async def create_project(sent: ProjectIn, context: ContextDep) -> Json:
    now = clock.now()
    fields = wire.changes(sent, context.settings, by_admin=True)
    # Usage of an earlier project with the same id does not count.
    project = Project(id=sent.id, created_at=now, usage_since=now, **fields)
    await context.stores.projects.add(project)
    log.info("project.created", project=project.id, owner=project.owner)
    return Json(wire.shown(project))


@router.post(
    "/project/{project_id}",
    response_model=ProjectOut,
    responses=_ERRORS | responses(409),
    summary="Change a project",
)
async def change_project(project: Changeable, sent: ProjectChange, context: ContextDep, caller: Caller) -> Json:
    """
    Fields that the caller may not change stay as they are. Only an admin changes quotas, priority, owner and volumes.
    """
    _check_not_default(project)
    fields = wire.changes(sent, context.settings, by_admin=caller.admin)
    changed = await context.stores.projects.change(project.id, fields) if fields else project
    if changed is None:
        raise errors.NotFound(f"no project {project.id}")
    log.info("project.changed", project=project.id, fields=sorted(fields), by=caller.id)
    return Json(wire.shown(changed))


@router.delete(
    "/project/{project_id}", response_model=Message, responses=_ERRORS | responses(409), summary="Delete a project"
)
async def delete_project(project: Administrable, context: ContextDep) -> Json:
    """Finished tasks of the project and their usage stay. Answers 409 while it has unfinished tasks."""
    _check_not_default(project)
    if active := await context.stores.owned.count_active_in(project.id):
        raise errors.Conflict(f"{active} tasks of project {project.id} are not over")
    if not await context.stores.projects.remove(project.id):
        raise errors.NotFound(f"no project {project.id}")
    log.info("project.deleted", project=project.id)
    return Json({"msg": f"project {project.id} is deleted"})


@router.get(
    "/project/{project_id}/usage",
    response_model=list[DayOut],
    responses=_ERRORS,
    summary="Get the usage of a project, day by day",
)
async def get_project_usage(project: Measurable, context: ContextDep) -> Json:
    return Json(await usage_and_billing.days(context, "project", project.id, since=project.usage_since))


@router.delete(
    "/project/{project_id}/quota",
    response_model=Message,
    responses=_ERRORS | responses(409),
    summary="Reset the usage of a project that counts towards its quotas",
)
async def reset_project_quota(project: Administrable, context: ContextDep) -> Json:
    """Usage until now no longer counts towards the quotas; bills keep it."""
    _check_not_default(project)
    await context.stores.projects.change(project.id, {"usage_since": clock.now()})
    log.info("project.quota_reset", project=project.id)
    return Json({"msg": f"the quotas of project {project.id} are reset"})


@router.get(
    "/project/{project_id}/billing/{year}/{month}",
    response_model=list[MonthOut],
    responses=_ERRORS,
    summary="Get the usage of a project in a month, by user",
)
async def get_project_billing(
    project: Visible,
    year: Year,
    month: Month,
    context: ContextDep,
    force: Annotated[bool, Query(description="Sum a past month again, instead of using cached sums")] = False,
) -> Json:
    return Json(
        await usage_and_billing.month(
            context, "project", project.id, year=year, month=month, force=force, since=project.created_at
        )
    )


def _check_not_default(project: Project) -> None:
    if project.id == DEFAULT:
        raise errors.Conflict("project `default` is built in and cannot be changed or deleted")
