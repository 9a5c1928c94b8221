"""Look up what a request names, its owner, project and dependencies, and admit its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from services.api.admission import dependencies, owners, submission
from services.api.context import Context
from services.api.http import errors as api_errors
from services.api.http import request_ids
from services.api.wire.submission import TaskIn
from shared import clock, errors
from shared.auth import permissions
from shared.auth.permissions import Action
from shared.errors import FieldError
from shared.lifecycle import ENDED
from shared.models.project import Project
from shared.models.task import Task
from shared.models.user import User
from shared.observe import metrics
from shared.rules import dependencies as rules
from shared.rules.dependencies import End

_CHUNK = 50  #: tasks that are admitted before other requests get a turn
_SLOW_OPERATIONS = 2  #: store operations at their timeout: the deadline for all lookups of a request


class Admission:
    """Admits the tasks of one request. Users and projects that several tasks name are looked up once."""

    def __init__(self, context: Context, caller: User) -> None:
        self._context = context
        self._caller = caller
        self._now = clock.now()
        self._owners: dict[str | None, User] = {}
        self._projects: dict[str, Project | None] = {}

    async def admit(self, sent: TaskIn) -> Task:
        """
        Return the task to store. Raises `errors.NotAllowed`, `errors.StoreUnavailable`, and `errors.InvalidInput` with
        every broken rule.
        """
        async with self._deadline():
            return await self._admit(sent)

    async def _admit(self, sent: TaskIn) -> Task:
        task = submission.admit(
            sent,
            owner=await self._owner(sent),
            project=await self._project(sent),
            settings=self._context.settings,
            features=self._context.features,
            now=self._now,
        )
        if problem := await self._context.registries.problem_of(task.spec.image):
            raise errors.InvalidInput.of("container.image", problem)
        task.request = request_ids.current()
        task.sent_by = self._caller.id if task.user.id != self._caller.id else None
        if task.spec.depends.ids:
            task.waiting_on = await self._unfinished(task, sent)
        return task

    async def admit_all(self, sent: Sequence[TaskIn]) -> list[Task]:
        """
        Return the tasks to store. Raises `errors.InvalidInput` with every broken rule of every task, each path prefixed
        with the task's place (`0.requirements.cpu`).
        """
        tasks: list[Task] = []
        problems: list[FieldError] = []
        async with self._deadline():
            for number, one in enumerate(sent):
                if number % _CHUNK == 0:
                    await asyncio.sleep(0)
                try:
                    tasks.append(await self._admit(one))
                except errors.InvalidInput as error:
                    problems += [FieldError(f"{number}.{field.path}", field.rule) for field in error.fields]
        if problems:
            raise errors.InvalidInput(problems)
        return tasks

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Bound the lookups: a user deletion waits for requests in progress, however many users and tasks they name."""
        try:
            async with asyncio.timeout(_SLOW_OPERATIONS * self._context.settings.mongo_timeout):
                yield
        except TimeoutError:
            raise errors.StoreUnavailable(
                "the users, projects and tasks that the request names took too long"
            ) from None

    async def _owner(self, sent: TaskIn) -> User:
        """Return the user that the task runs as. Raises `errors.NotAllowed` and `errors.InvalidInput`."""
        user_id = sent.user.id if sent.user else None
        if user_id not in self._owners:
            owner, bind = await self._named_user(user_id), self._context.settings.guest_bind
            runs_as = await self._context.users.ask(bind) if owner.guest and bind else None
            self._owners[user_id] = owners.runs_as(owner, runs_as, self._context.settings)
        return self._owners[user_id]

    async def _named_user(self, user_id: str | None) -> User:
        if not user_id or user_id == self._caller.id:
            return self._caller
        if not permissions.allows(permissions.role_towards_user(self._caller, user_id), Action.SUBMIT_AS):
            raise errors.NotAllowed("only an admin may create tasks of another user")
        owner = await self._context.users.ask(user_id)
        if owner is None or not owner.active:
            raise errors.InvalidInput.of("user.id", f"there is no active user {user_id[:64]}")
        return owner

    async def _project(self, sent: TaskIn) -> Project | None:
        if sent.project_id not in self._projects:
            self._projects[sent.project_id] = await self._context.stores.projects.get(sent.project_id)
        return self._projects[sent.project_id]

    async def _unfinished(self, task: Task, sent: TaskIn) -> list[int]:
        """
        Return the dependencies that the task still waits for. They exist before it does, so there can be no cycle.
        Raises `errors.InvalidInput` with the ids that do not exist or that the caller may not see.
        """
        ids = task.spec.depends.ids
        visible = {one.id: one for one in await self._context.stores.views.get_many(ids) if await self._is_visible(one)}
        if len(visible) < len(ids):
            raise errors.InvalidInput(
                [
                    FieldError(path, f"there is no task {task_id}")
                    for path, task_id in dependencies.paths(sent)
                    if task_id not in visible
                ]
            )
        ends = {one.id: End(one.exit_code) for one in visible.values() if one.status in ENDED}
        satisfied, _ = rules.check(task.spec.depends, ids, ends)
        return sorted({*ids} - {*satisfied})

    async def _is_visible(self, task: Task) -> bool:
        own = task.user.id == self._caller.id or self._caller.admin
        shares = not own and await self._context.shares_project(self._caller, task)
        role = permissions.role_towards_task(self._caller, task, shares_project=shares)
        return permissions.allows(role, Action.SEE_TASK)


@contextmanager
def count_refusals() -> Iterator[None]:
    """Count a refused request in the metrics by its error code."""
    try:
        yield
    except errors.GoDockerError as error:
        metrics.TASKS_REFUSED.labels(code=api_errors.code_of(error)).inc()
        raise
