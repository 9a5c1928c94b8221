"""Insert tasks within the limits on how many may wait, whoever else inserts at the same time."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pymongo import errors as driver_errors

from shared import clock, errors
from shared.models.task import Task
from shared.store import connection
from shared.store.tasks import TaskStore
from shared.store.views import TaskViews

T = TypeVar("T")

PATIENCE = 5.0  #: seconds in which a transaction is begun again
_PAUSE_FIRST, _PAUSE_MOST = 0.01, 0.2  #: seconds before that, at most

RETRY_AFTER = 5.0  #: seconds; a task that waits may start any moment


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tasks may wait: of one user, of all. None: any number."""

    user: int | None
    everybody: int | None


class AdmissionStore:
    """The way in."""

    def __init__(self, database: connection.Database, tasks: TaskStore, views: TaskViews) -> None:
        self._client = database.client
        self._gates = database["admission_gates"]
        self._tasks = tasks
        self._views = views
        self._turn = asyncio.Lock()  # transactions of one process would only run into each other

    async def admit(self, tasks: Sequence[Task], limits: Limits) -> list[Exception | None]:
        """
        Insert those of `tasks` that the limits leave room for, in their order. One entry each: None for a task that is
        stored for good, `errors.TooManyRequests` for one over a limit, which is not stored.

        Raises `errors.StoreUnavailable`.
        """
        if limits.user is None and limits.everybody is None:
            await self._tasks.insert(tasks)
            return [None] * len(tasks)
        return await self._admit_counted(tasks, limits)

    @connection.translated
    async def _admit_counted(self, tasks: Sequence[Task], limits: Limits) -> list[Exception | None]:
        async def transaction(session: Any) -> list[Exception | None]:
            # Two transactions that count and insert would not see each other's tasks. Touching the same gate makes
            # the later one start over with the earlier one's tasks in its count.
            await self._gates.update_one(
                {"_id": "tasks"}, {"$inc": {"passed": len(tasks)}}, upsert=True, session=session
            )
            answers = await self._judge(tasks, limits, session)
            admitted = [task for task, answer in zip(tasks, answers, strict=True) if answer is None]
            if admitted:
                await self._tasks.insert(admitted, session=session)
            return answers

        async with self._turn:
            return await self._in_transaction(transaction)

    async def _in_transaction(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """
        Do `work` in a transaction, beginning again where it met another. Not by Motor's `with_transaction`: that one
        commits outside its own retries, and a conflict found at the commit would reach the caller.
        """
        deadline, pause = clock.monotonic() + PATIENCE, _PAUSE_FIRST
        async with await self._client.start_session() as session:
            while True:
                try:
                    async with session.start_transaction():
                        return await work(session)
                except driver_errors.PyMongoError as error:
                    if not error.has_error_label("TransientTransactionError"):
                        raise
                    if clock.monotonic() > deadline:
                        raise errors.StoreUnavailable("too many tasks are being admitted at the same time") from error
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 1.5, _PAUSE_MOST)

    async def _judge(self, tasks: Sequence[Task], limits: Limits, session: Any) -> list[Exception | None]:
        room: dict[str | None, float] = defaultdict(lambda: float("inf"))
        for user, limit in [(None, limits.everybody), *((name, limits.user) for name in {t.user.id for t in tasks})]:
            if limit is not None:
                room[user] = limit - await self._views.count_waiting(user, at_most=limit, session=session)
        answers: list[Exception | None] = []
        for task in tasks:
            answer = _over_limit(task.user.id, room, limits)
            if answer is None:
                room[None] -= 1
                room[task.user.id] -= 1
            answers.append(answer)
        return answers


def _over_limit(user: str, room: dict[str | None, float], limits: Limits) -> errors.TooManyRequests | None:
    if room[user] <= 0:
        message = f"{user} has {limits.user} tasks waiting, the limit of one user"
    elif room[None] <= 0:
        message = f"{limits.everybody} tasks are waiting, the limit of all users together"
    else:
        return None
    return errors.TooManyRequests(message, retry_after=RETRY_AFTER)
