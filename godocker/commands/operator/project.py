"""`godocker project`: add, list and delete projects, and manage their members."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from godocker.commands.common import checked, options, tables
from shared import clock, errors
from shared.models.project import DEFAULT, Project
from shared.settings import Settings
from shared.store import stores

app = typer.Typer(help="Add, list and delete projects, and manage their members.", no_args_is_help=True)

DESCRIPTION_LENGTH = 10_000  #: characters, as in the Web API

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="Name of the project.")]
Members = Annotated[
    list[str] | None, typer.Option("--member", metavar="LOGIN", help="Login of a member. Repeat for several.")
]


def _quota(quantity: str) -> object:
    return typer.Option(
        min=0,
        metavar="NUMBER",
        help=f"Limit on {quantity}, summed over the last `user_reset_usage_duration` days. 0: no limit.",
    )


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="project")


@app.command()
def add(
    project: Name,
    owner: Annotated[
        str | None, typer.Option(metavar="LOGIN", help="User who may change the description and the members.")
    ] = None,
    member: Members = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="Purpose of the project.", show_default=False)] = "",
    prio: Annotated[
        int, typer.Option(min=0, max=100, metavar="NUMBER", help="Priority under fair share, from 0 to 100.")
    ] = 50,
    quota_time: Annotated[float, _quota("seconds that tasks run")] = 0,
    quota_cpu: Annotated[float, _quota("cores times seconds")] = 0,
    quota_ram: Annotated[float, _quota("GB of memory times seconds")] = 0,
    quota_gpu: Annotated[float, _quota("GPUs times seconds")] = 0,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add a project."""
    now = clock.now()
    new = Project(
        id=checked.project(project),
        description=checked.paragraphs("description", description, most=DESCRIPTION_LENGTH),
        owner=checked.login("owner", owner) if owner else None,
        members=checked.logins("member", member or []),
        prio=prio,
        quota_time=quota_time,
        quota_cpu=quota_cpu,
        quota_ram=quota_ram,
        quota_gpu=quota_gpu,
        created_at=now,
        usage_since=now,
    )
    asyncio.run(_add(options.load(config, data_dir), new))
    print(f"created project {project}")


@app.command("list")
def list_projects(
    as_json: tables.AsJson = False, config: options.Config = None, data_dir: options.DataDir = None
) -> None:
    """List the projects."""
    projects = asyncio.run(_every(options.load(config, data_dir)))
    if as_json:
        tables.show_json([project.model_dump() for project in projects])
        return
    tables.show(("project", "owner", "members", "prio", "quotas (time, cpu, ram, gpu)"), map(_cells, projects))


@app.command()
def members(
    project: Name,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="LOGIN", help="User to add. Repeat for several.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="LOGIN", help="User to remove. Repeat for several.")
    ] = None,
    as_json: tables.AsJson = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add or remove members, then list them."""
    settings = options.load(config, data_dir)
    changed = asyncio.run(_members(settings, project, checked.logins("add", add or []), remove or []))
    if as_json:
        tables.show_json(changed)
    else:
        tables.show((f"members of {project}",), [(name,) for name in changed])


@app.command()
def delete(project: Name, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Delete a project. Its finished tasks and their usage stay."""
    asyncio.run(_delete(options.load(config, data_dir), project))
    print(f"deleted project {project}")


def _cells(project: Project) -> tuple[object, ...]:
    quotas = (project.quota_time, project.quota_cpu, project.quota_ram, project.quota_gpu)
    words = ", ".join(f"{quota:g}" if quota else "-" for quota in quotas)
    return project.id, project.owner, ", ".join(project.members), project.prio, words


async def _check_users(settings: Settings, store: stores.Stores, names: Sequence[str]) -> None:
    """Raise `errors.NotFound` for unknown users. With a directory service only warn: they may not have logged in yet."""
    unknown = [name for name in dict.fromkeys(names) if await store.users.get(name) is None]
    if not unknown:
        return
    listed = ", ".join(unknown)
    if settings.auth_policy != "local":
        print(f"godocker: {listed}: unknown until the first login", file=sys.stderr)
        return
    raise errors.NotFound(f"there is no user {listed}: add them first with `godocker user add`")


async def _add(settings: Settings, project: Project) -> None:
    async with stores.connect(settings) as store:
        if await store.projects.get(project.id) is not None:
            raise errors.Conflict(f"project {project.id} already exists")
        await _check_users(settings, store, [*([project.owner] if project.owner else []), *project.members])
        await store.projects.add(project)


async def _every(settings: Settings) -> list[Project]:
    async with stores.connect(settings) as store:
        return await store.projects.list()


async def _members(settings: Settings, project_id: str, add: list[str], remove: list[str]) -> list[str]:
    async with stores.connect(settings) as store:
        project = await store.projects.get(project_id)
        if project is None or project_id == DEFAULT:
            raise errors.NotFound(f"there is no project {project_id} with members of its own")
        await _check_users(settings, store, [name for name in add if name not in project.members])
        names = [name for name in dict.fromkeys([*project.members, *add]) if name not in remove]
        fields: dict[str, Any] = {"members": names}
        changed = await store.projects.change(project_id, fields) if names != project.members else project
        return changed.members if changed else []


async def _delete(settings: Settings, project_id: str) -> None:
    async with stores.connect(settings) as store:
        if active := await store.owned.count_active_in(project_id):
            raise errors.Conflict(f"{active} tasks of project {project_id} are not over: kill them or wait")
        if not await store.projects.remove(project_id):
            raise errors.NotFound(f"there is no project {project_id}")
