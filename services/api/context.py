"""State that the routes of one gateway process share, made once at its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request

from services.api.access import guests
from services.api.access.login_limit import LoginAttempts
from services.api.access.logins import Logins
from services.api.admission.known_nodes import KnownNodes
from services.api.admission.registries import Registries
from services.api.answers.public_addresses import PublicAddresses
from services.api.answers.unreachable_nodes import Silences
from services.api.clients.files import FilesService
from services.api.clients.scheduler import LeadingScheduler
from services.api.hints import Hints
from services.api.pushed_metrics import Pushed
from services.api.submissions import Submissions
from shared import errors
from shared.auth.providers import factory as providers
from shared.broker.broker import Broker
from shared.executors.types import Feature
from shared.lifecycle import PLACED
from shared.models.node import ALL, StoredReason, UnreachableNode, reason_ids
from shared.models.project import DEFAULT
from shared.models.task import Task
from shared.models.user import User
from shared.runtime import batching
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores


@dataclass(frozen=True, slots=True)
class Context:
    """The gateway's parts."""

    settings: Settings
    stores: Stores
    broker: Broker
    hints: Hints
    submissions: Submissions
    logins: Logins
    directories: TaskDirectories
    files: FilesService
    scheduler: LeadingScheduler
    features: frozenset[Feature]
    users: batching.Batcher[str, User | None]
    maintenance: batching.Batcher[str, bool]
    pushed: Pushed
    nodes: KnownNodes
    addresses: PublicAddresses
    silent: Silences
    registries: Registries

    async def verdicts(self, tasks: Sequence[Task]) -> dict[int, StoredReason]:
        """The scheduler's latest verdict on each of `tasks` that is pending, by the task's id."""
        ids = {task.id: _verdict_ids(task) for task in tasks if task.status == "pending"}
        found = (
            await self.stores.pending_reasons.get_many({name for names in ids.values() for name in names})
            if ids
            else {}
        )
        latest = {}
        for task_id, names in ids.items():
            if concerning := [found[name] for name in names if name in found]:
                latest[task_id] = max(concerning, key=lambda verdict: verdict.at)
        return latest

    async def silences(self, tasks: Sequence[Task]) -> Mapping[str, UnreachableNode]:
        """The silences that concern `tasks`, by node."""
        return await self.silent.get() if any(task.status in PLACED for task in tasks) else {}

    async def public_addresses(self, tasks: Sequence[Task]) -> Mapping[str, str]:
        """Where users reach the ports of `tasks`, by node."""
        has_ports = any(task.status in PLACED and task.placement and task.placement.ports for task in tasks)
        return await self.addresses.get() if has_ports else {}

    async def shares_project(self, user: User, task: Task) -> bool:
        """Whether `user` is a member of the task's project and its members share their tasks."""
        if not self.settings.share_project_tasks or task.project == DEFAULT:
            return False
        project = await self.stores.projects.get(task.project)
        # Tasks of an earlier project of that name are not this one's.
        return project is not None and project.has(user.id) and task.submitted_at >= project.created_at

    async def shares(self, user: User, project_id: str) -> bool:
        """Whether `user` is a member of a project whose members share their tasks."""
        if not self.settings.share_project_tasks or project_id == DEFAULT:
            return False
        project = await self.stores.projects.get(project_id)
        return project is not None and project.has(user.id)

    async def is_active(self, user_id: str) -> bool:
        """Whether a user is there and neither shut out nor being deleted: else nothing that they handed on is served."""
        user = await self.users.ask(user_id)
        return user is not None and user.active

    async def runs_as(self, owner: User) -> User:
        """`owner` with the numbers that their tasks run with. Raises `errors.NotAllowed` for a guest who may send none."""
        bind = self.settings.guest_bind if owner.guest else None
        return guests.runs_as(owner, await self.users.ask(bind) if bind else None, self.settings)

    async def check_open(self) -> None:
        """Raises `errors.InMaintenance` while the system takes no new tasks."""
        if await self.maintenance.ask(ALL):
            raise errors.InMaintenance()


def _verdict_ids(task: Task) -> list[str]:
    return reason_ids(task.shape, task.user.id, task.project, task.member.parent if task.member else None)


def build(settings: Settings, stores: Stores, broker: Broker, features: frozenset[Feature]) -> Context:
    """Put a gateway's parts together."""
    hints = Hints(broker, poll=settings.poll_seconds)
    users = batching.Batcher[str, User | None](stores.users.get_many, name="users")
    return Context(
        settings=settings,
        stores=stores,
        broker=broker,
        hints=hints,
        submissions=Submissions(stores, hints, settings),
        logins=Logins(providers.build(settings, stores.users, users.ask), LoginAttempts(broker, settings)),
        directories=TaskDirectories(settings.shared_dir),
        files=FilesService(settings),
        scheduler=LeadingScheduler(settings, stores.leases),
        features=features,
        users=users,
        maintenance=batching.Batcher[str, bool](stores.maintenance.are_on, name="maintenance"),
        pushed=Pushed(),
        nodes=KnownNodes(stores),
        addresses=PublicAddresses(settings, stores, features),
        silent=Silences(stores, grace=settings.node_grace),
        registries=Registries(settings),
    )


def of(request: Request) -> Context:
    """The context of the gateway that serves `request`."""
    context: Context = request.app.state.context
    return context
