"""From what a request brings to the tasks that may be stored: who they run as, in which project, and by which rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from services.api.admission import dependencies, submission
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
from shared.rules import dependencies as conditions
from shared.rules.dependencies import End

_AT_A_TIME = 50  #: tasks that are judged before others have a turn
_LOOKUPS = 2  #: operations of the store, at their slowest, in whose time all must be looked up that a request names


class Arrivals:
    """The tasks of one request. What several of them name is looked up once."""

    def __init__(self, here: Context, caller: User) -> None:
        self._here = here
        self._caller = caller
        self._now = clock.now()
        self._owners: dict[str | None, User] = {}
        self._projects: dict[str, Project | None] = {}

    async def admit(self, sent: TaskIn) -> Task:
        """
        The task to store. Raises `errors.NotAllowed`, `errors.StoreUnavailable`, and `errors.InvalidInput` with every rule that
        is broken.
        """
        async with self._in_time():
            return await self._admit(sent)

    async def _admit(self, sent: TaskIn) -> Task:
        task = submission.admit(
            sent,
            owner=await self._owner(sent),
            project=await self._project(sent),
            settings=self._here.settings,
            features=self._here.features,
            now=self._now,
        )
        if problem := await self._here.registries.problem_of(task.spec.image):
            raise errors.InvalidInput.of("container.image", problem)
        task.request = request_ids.current()
        task.sent_by = self._caller.id if task.user.id != self._caller.id else None
        if task.spec.depends.ids:
            await self._let_wait(task, sent)
        return task

    async def admit_all(self, sent: Sequence[TaskIn]) -> list[Task]:
        """
        The tasks to store. Raises `errors.InvalidInput` with every rule that any of them breaks, each path led by the task's
        place (`0.requirements.cpu`).
        """
        tasks: list[Task] = []
        problems: list[FieldError] = []
        async with self._in_time():
            for number, one in enumerate(sent):
                if number % _AT_A_TIME == 0:
                    await asyncio.sleep(0)
                try:
                    tasks.append(await self._admit(one))
                except errors.InvalidInput as error:
                    problems += [FieldError(f"{number}.{field.path}", field.rule) for field in error.fields]
        if problems:
            raise errors.InvalidInput(problems)
        return tasks

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Whoever deletes a user waits for what is on its way in: that must not take longer for a request that names more."""
        try:
            async with asyncio.timeout(_LOOKUPS * self._here.settings.mongo_timeout):
                yield
        except TimeoutError:
            raise errors.StoreUnavailable("what the request names could not be looked up in time") from None

    async def _owner(self, sent: TaskIn) -> User:
        """Whom the task will run as. Raises `errors.NotAllowed` and `errors.InvalidInput`."""
        wanted = sent.user.id if sent.user else None
        if wanted not in self._owners:
            self._owners[wanted] = await self._here.runs_as(await self._find(wanted))
        return self._owners[wanted]

    async def _find(self, wanted: str | None) -> User:
        if not wanted or wanted == self._caller.id:
            return self._caller
        if not permissions.allows(permissions.role_towards_user(self._caller, wanted), Action.SUBMIT_AS):
            raise errors.NotAllowed("only an admin may create tasks of another user")
        owner = await self._here.users.ask(wanted)
        if owner is None or not owner.active:
            raise errors.InvalidInput.of("user.id", f"there is no active user {wanted[:64]}")
        return owner

    async def _let_wait(self, task: Task, sent: TaskIn) -> None:
        """
        Let the task wait for those it depends on that are not over as they have to be. They are there before it is, so there
        can be no cycle. Raises `errors.InvalidInput` with the ids that do not exist, or not for the caller.
        """
        ids = task.spec.depends.ids
        found = {one.id: one for one in await self._here.stores.views.get_many(ids) if await self._sees(one)}
        if len(found) < len(ids):
            raise errors.InvalidInput(
                [
                    FieldError(path, f"there is no task {one}")
                    for path, one in dependencies.named(sent)
                    if one not in found
                ]
            )
        ends = {one.id: End(one.exit_code) for one in found.values() if one.status in ENDED}
        satisfied, _ = conditions.judge(task.spec.depends, ids, ends)
        task.waiting_on = sorted({*ids} - {*satisfied})

    async def _sees(self, task: Task) -> bool:
        own = task.user.id == self._caller.id or self._caller.admin
        shares = not own and await self._here.shares_project(self._caller, task)
        role = permissions.role_towards_task(self._caller, task, shares_project=shares)
        return permissions.allows(role, Action.SEE_TASK)

    async def _project(self, sent: TaskIn) -> Project | None:
        wanted = submission.wanted_project(sent)
        if wanted not in self._projects:
            self._projects[wanted] = await self._here.stores.projects.get(wanted)
        return self._projects[wanted]


@contextmanager
def refusals_counted() -> Iterator[None]:
    """Count what is refused within, by its reason."""
    try:
        yield
    except errors.GoDockerError as error:
        metrics.TASKS_REFUSED.labels(code=api_errors.code_of(error)).inc()
        raise
