"""The state that the routes of one gateway process share, made once at its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.api.access.login_limit import LoginAttempts
from services.api.access.logins import Logins
from services.api.admission.registries import Registries
from services.api.cached import Cached
from services.api.clients.files import FilesService
from services.api.clients.scheduler import LeadingScheduler
from services.api.hints import Hints
from services.api.logs.task_watch import TaskWatch
from services.api.pushed_metrics import PushedMetrics
from services.api.streams.limits import StreamLimits
from services.api.submissions import Submissions
from shared import errors
from shared.auth.providers import factory as providers
from shared.broker.broker import Broker
from shared.executors.types import Feature
from shared.lifecycle import PLACED
from shared.models.node import ALL, Node, StoredReason, UnreachableNode, reason_ids
from shared.models.project import DEFAULT
from shared.models.task import Task
from shared.models.user import User
from shared.runtime import batching
from shared.settings import Node as NodeSettings
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.system import hosts

_NODES_FRESH, _UNREACHABLE_FRESH = 5.0, 1.0  #: seconds


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
    pushed: PushedMetrics
    nodes: Cached[Sequence[Node]]  #: as they were last seen
    added_nodes: Cached[Sequence[NodeSettings]]
    unreachable: Cached[Sequence[UnreachableNode]]
    registries: Registries
    watch: TaskWatch
    streams: StreamLimits

    async def pending_reasons(self, tasks: Sequence[Task]) -> dict[int, StoredReason]:
        """Return the latest stored reason of each of `tasks` that is pending, by task id."""
        ids = {task.id: _reason_ids(task) for task in tasks if task.status == "pending"}
        stored = (
            await self.stores.pending_reasons.get_many({name for names in ids.values() for name in names})
            if ids
            else {}
        )
        latest = {}
        for task_id, names in ids.items():
            if applicable := [stored[name] for name in names if name in stored]:
                latest[task_id] = max(applicable, key=lambda reason: reason.at)
        return latest

    async def unreachable_nodes(self, tasks: Sequence[Task]) -> Mapping[str, UnreachableNode]:
        """Return the nodes of `tasks` that have not answered for longer than `node_grace`, by name."""
        if not any(task.status in PLACED for task in tasks):
            return {}
        grace = self.settings.node_grace
        return {node.node: node for node in await self.unreachable.get() if node.seconds >= grace}

    async def public_addresses(self, tasks: Sequence[Task]) -> Mapping[str, str]:
        """Return the addresses at which users reach the ports of `tasks`, by node."""
        has_ports = any(task.status in PLACED and task.placement and task.placement.ports for task in tasks)
        if not has_ports or Feature.HOSTS not in self.features:
            return {}
        # The configured nodes are not cached: a reload may change them.
        nodes = hosts.together(self.settings.docker_nodes, await self.added_nodes.get())
        return {node.name: node.public_address for node in nodes if node.public_address is not None}

    async def shares_project(self, user: User, task: Task) -> bool:
        """Return whether `user` is a member of the task's project and its members share their tasks."""
        if not self.settings.share_project_tasks or task.project == DEFAULT:
            return False
        project = await self.stores.projects.get(task.project)
        # Tasks of an earlier project with the same name do not belong to this one.
        return project is not None and project.has(user.id) and task.submitted_at >= project.created_at

    async def shares(self, user: User, project_id: str) -> bool:
        """Return whether `user` is a member of a project whose members share their tasks."""
        if not self.settings.share_project_tasks or project_id == DEFAULT:
            return False
        project = await self.stores.projects.get(project_id)
        return project is not None and project.has(user.id)

    async def is_active(self, user_id: str) -> bool:
        """Return whether a user exists and is active. What an inactive user shared with others is not served."""
        user = await self.users.ask(user_id)
        return user is not None and user.active

    async def check_open(self) -> None:
        """Raise `errors.InMaintenance` while the system accepts no new tasks."""
        if await self.maintenance.ask(ALL):
            raise errors.InMaintenance()


def _reason_ids(task: Task) -> list[str]:
    return reason_ids(task.shape, task.user.id, task.project, task.member.parent if task.member else None)


def build(settings: Settings, stores: Stores, broker: Broker, features: frozenset[Feature]) -> Context:
    """Make the parts of a gateway."""
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
        pushed=PushedMetrics(),
        nodes=Cached(stores.nodes.list, fresh=_NODES_FRESH),
        added_nodes=Cached(stores.hosts.list, fresh=_NODES_FRESH),
        unreachable=Cached(stores.unreachable_nodes.list, fresh=_UNREACHABLE_FRESH),
        registries=Registries(settings),
        watch=TaskWatch(stores.views.progress),
        streams=StreamLimits(settings.streams_per_user),
    )


def of(request: Request) -> Context:
    """Return the context of the gateway that serves `request`."""
    context: Context = request.app.state.context
    return context


async def _of(request: Request) -> Context:
    return of(request)  # FastAPI runs a dependency that is not async in a thread


ContextDep = Annotated[Context, Depends(_of)]
