"""`godocker project`: make, list and delete projects, and say who is in them."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from godocker.commands import options
from shared import clock, errors
from shared.models.project import DEFAULT, PROJECT_ID, Project
from shared.models.user import USER_ID
from shared.settings import Settings
from shared.store import stores

app = typer.Typer(help="Make, list and delete projects.", no_args_is_help=True)

Members = Annotated[list[str] | None, typer.Option("--member", help="Once for each member.")]
Quota = Annotated[float, typer.Option(min=0, help="0: no limit.")]


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="project")


@app.command()
def add(
    project: str,
    owner: Annotated[str | None, typer.Option(help="May change description and members.")] = None,
    member: Members = None,
    description: str = "",
    prio: Annotated[int, typer.Option(min=0, max=100)] = 50,
    quota_time: Quota = 0,
    quota_cpu: Quota = 0,
    quota_ram: Quota = 0,
    quota_gpu: Quota = 0,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a project."""
    if not PROJECT_ID.fullmatch(project):
        raise errors.InvalidInput.of("project", f"must match {PROJECT_ID.pattern}")
    members = _logins(member or [])
    now = clock.now()
    new = Project(
        id=project,
        description=description,
        owner=_logins([owner])[0] if owner else None,
        members=members,
        prio=prio,
        quota_time=quota_time,
        quota_cpu=quota_cpu,
        quota_ram=quota_ram,
        quota_gpu=quota_gpu,
        created_at=now,
        usage_since=now,
    )
    asyncio.run(_add(options.load(config, data_dir), new))
    print(f"project {project} is there")


@app.command("list")
def list_projects(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the projects."""
    projects = asyncio.run(_every(options.load(config, data_dir)))
    if as_json:
        print(json.dumps([project.model_dump() for project in projects]))
        return
    table = Table("project", "owner", "members", "prio", "quotas (time, cpu, ram, gpu)")
    for project in projects:
        quotas = (project.quota_time, project.quota_cpu, project.quota_ram, project.quota_gpu)
        words = ", ".join(f"{quota:g}" if quota else "-" for quota in quotas)
        table.add_row(project.id, project.owner or "", ", ".join(project.members), str(project.prio), words)
    Console().print(table)


@app.command()
def members(
    project: str,
    add: Annotated[list[str] | None, typer.Option("--add", help="Once for each.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="Once for each.")] = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Say who is in a project, after adding and removing members."""
    changed = asyncio.run(_members(options.load(config, data_dir), project, _logins(add or []), remove or []))
    print(json.dumps(changed))


@app.command()
def delete(project: str, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Delete a project. Its tasks that are over and what they used stay."""
    asyncio.run(_delete(options.load(config, data_dir), project))
    print(f"project {project} is deleted")


def _logins(names: list[str]) -> list[str]:
    for name in names:
        if not USER_ID.fullmatch(name):
            raise errors.InvalidInput.of("member", f"{name} is not a user id")
    return list(dict.fromkeys(names))


async def _add(settings: Settings, project: Project) -> None:
    async with stores.connect(settings) as store:
        await store.projects.add(project)


async def _every(settings: Settings) -> list[Project]:
    async with stores.connect(settings) as store:
        return await store.projects.list()


async def _members(settings: Settings, project_id: str, add: list[str], remove: list[str]) -> list[str]:
    async with stores.connect(settings) as store:
        project = await store.projects.get(project_id)
        if project is None or project_id == DEFAULT:
            raise errors.NotFound(f"no project {project_id} that has members of its own")
        kept = [name for name in dict.fromkeys([*project.members, *add]) if name not in remove]
        fields: dict[str, Any] = {"members": kept}
        changed = await store.projects.change(project_id, fields) if kept != project.members else project
        return changed.members if changed else []


async def _delete(settings: Settings, project_id: str) -> None:
    async with stores.connect(settings) as store:
        if active := await store.owned.count_active_in(project_id):
            raise errors.Conflict(f"{active} tasks of project {project_id} are not over")
        if not await store.projects.remove(project_id):
            raise errors.NotFound(f"no project {project_id}")
