"""Store admitted tasks; tasks that arrive together share one range of numbers, one insert and one hint."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import structlog

from services.api.hints import Hints
from shared import clock, errors
from shared.lifecycle import TaskStatus
from shared.models.quota import PendingLimits
from shared.models.receipt import RequestKey
from shared.models.task import Task
from shared.observe import metrics
from shared.runtime import batching
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_BATCH = 250  #: tasks in one insert
_MAX_EXAMINED, _MAX_NAMED = 1000, 10  #: pending tasks of a user over the limit: examined, and named in the error
_TRIES = 3  #: if numbers are taken because the counter was lost


class Submissions:
    """Stores tasks and gives them their numbers."""

    def __init__(self, stores: Stores, hints: Hints, settings: Settings) -> None:
        self._stores = stores
        self._hints = hints
        self._settings = settings
        self._batcher = batching.Batcher[Task, int](self._store, name="submissions", limit=_BATCH)

    @property
    def _limits(self) -> PendingLimits:
        return PendingLimits(user=self._settings.rate_limit, everybody=self._settings.rate_limit_all)

    async def submit(self, task: Task) -> int:
        """
        Store a task and return its number once it is on the disks of a majority. Raises `errors.TooManyRequests` and
        `errors.StoreUnavailable`; after the latter the task may or may not be stored.
        """
        try:
            return await self._batcher.ask(task)
        except errors.TooManyRequests as error:
            raise await self._with_infeasible(error, task.user.id) from None

    async def _with_infeasible(self, error: errors.TooManyRequests, user: str) -> errors.TooManyRequests:
        """Return the error, extended by the user's infeasible tasks: only the user can kill or change them."""
        waiting = await self._stores.views.some_pending(user, at_most=_MAX_EXAMINED)
        reasons = await self._stores.pending_reasons.get_many({shape for _, shape in waiting})
        infeasible = [task_id for task_id, shape in waiting if shape in reasons and reasons[shape].is_never]
        if not infeasible:
            return error
        named = ", ".join(map(str, infeasible[:_MAX_NAMED])) + (" …" if len(infeasible) > _MAX_NAMED else "")
        hint = f"{len(infeasible)} of those of {user} can never run here (tasks {named}): kill or change them"
        return errors.TooManyRequests(f"{error}; {hint}", retry_after=error.retry_after)

    async def submit_whole(self, tasks: Sequence[Task], key: RequestKey | None = None) -> list[int] | None:
        """
        Store all tasks of a request or none, and return their numbers. None if another request with the same key was
        faster. Raises the errors of `submit`.
        """
        for last_try in (False,) * (_TRIES - 1) + (True,):
            await self._number(tasks)
            ids = [task.id for task in tasks]
            receipt = key.receipt(ids, now=clock.now()) if key else None
            try:
                stored = await self._stores.admissions.admit_whole(tasks, self._limits, receipt=receipt)
                break
            except errors.TooManyRequests as error:
                raise await self._with_infeasible(error, tasks[0].user.id) from None
            except errors.Conflict:
                if last_try:
                    raise
        if not stored:
            return None
        self._announce(tasks)
        return ids

    async def _store(self, tasks: Sequence[Task]) -> Sequence[int | Exception]:
        for last_try in (False,) * (_TRIES - 1) + (True,):
            await self._number(tasks)
            try:
                answers = await self._stores.admissions.admit(tasks, self._limits)
                break
            except errors.Conflict:
                if last_try:
                    raise
        self._announce([task for task, answer in zip(tasks, answers, strict=True) if answer is None])
        return [answer or task.id for task, answer in zip(tasks, answers, strict=True)]

    def _announce(self, stored: Sequence[Task]) -> None:
        for task in stored:
            # With the task's own request id: one insert stores tasks of several requests.
            log.info(
                "task.submitted",
                task_id=task.id,
                user=task.user.id,
                by=task.sent_by or task.user.id,
                project=task.project,
                children=task.array.count if task.array else None,
                request=task.request,
            )
        metrics.TASKS_ADMITTED.inc(sum(task.array.count if task.array else 1 for task in stored))
        self._hints.pending([task.id for task in stored if task.status is TaskStatus.PENDING])

    async def _number(self, tasks: Sequence[Task]) -> None:
        number = await self._stores.tasks.reserve_ids(sum(task.numbers for task in tasks))
        submission = uuid.uuid4().hex
        for task in tasks:
            task.id = number
            task.submission = submission
            if task.array:
                task.array.first_id = number + 1
            number += task.numbers
