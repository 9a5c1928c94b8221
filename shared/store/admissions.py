"""Insert tasks within the limits on how many may wait, whoever else inserts at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared import errors
from shared.models.task import Task
from shared.store import connection
from shared.store.tasks import TaskStore
from shared.store.views import TaskViews

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

        async with await self._client.start_session() as session:
            answers: list[Exception | None] = await session.with_transaction(transaction)
            return answers

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
