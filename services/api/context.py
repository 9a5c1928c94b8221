"""What the routes of one gateway process share, made once at its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from services.api.attempts import LoginAttempts
from services.api.hints import Hints
from services.api.submissions import Submissions
from shared import batching
from shared.broker.broker import Broker
from shared.executors.base import Feature
from shared.models.node import Verdict
from shared.models.task import Task
from shared.models.user import User
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
    attempts: LoginAttempts
    directories: TaskDirectories
    features: frozenset[Feature]
    users: batching.Batcher[str, User | None]

    async def verdicts(self, tasks: Sequence[Task]) -> dict[str, Verdict]:
        """The scheduler's verdicts that concern `tasks`, by shape."""
        shapes = {task.shape for task in tasks if task.status == "pending"}
        return await self.stores.verdicts.get_many(shapes) if shapes else {}

    async def shares_project(self, user: User, task: Task) -> bool:
        """Whether `user` is a member of the task's project and its members share their tasks."""
        return False  # there are no projects but the default one, whose members share nothing


def build(settings: Settings, stores: Stores, broker: Broker, features: frozenset[Feature]) -> Context:
    """Put a gateway's parts together."""
    hints = Hints(broker, poll=settings.poll_seconds)
    return Context(
        settings=settings,
        stores=stores,
        broker=broker,
        hints=hints,
        submissions=Submissions(stores, hints, settings),
        attempts=LoginAttempts(broker, limit=settings.authenticate_limit),
        directories=TaskDirectories(settings.shared_dir),
        features=features,
        users=batching.Batcher[str, User | None](stores.users.get_many, name="users"),
    )


async def of(request: Request) -> Context:
    """The context of the gateway that serves `request`."""
    context: Context = request.app.state.context
    return context
