"""Insert tasks within the limits on pending tasks, safe against concurrent inserts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from shared import errors
from shared.models.quota import PendingLimits
from shared.models.receipt import Receipt
from shared.models.task import Task
from shared.store import connection
from shared.store.accounts.receipts import ReceiptStore
from shared.store.tasks.tasks import TaskStore
from shared.store.tasks.views import TaskViews
from shared.store.transactions import Transactions

T = TypeVar("T")

RETRY_AFTER = 5.0  #: seconds; a pending task may start any moment


class _KeyTaken(Exception):
    """Another request with the same key was faster."""


class AdmissionStore:
    """Insertion of new tasks, counted against the limits."""

    def __init__(
        self, database: connection.Database, tasks: TaskStore, views: TaskViews, receipts: ReceiptStore
    ) -> None:
        self._transactions = Transactions(database)
        self._gates = database["admission_gates"]
        self._tasks = tasks
        self._views = views
        self._receipts = receipts
        self._turn = asyncio.Lock()  # transactions of one process would only conflict with each other

    async def admit(self, tasks: Sequence[Task], limits: PendingLimits) -> list[Exception | None]:
        """
        Insert the tasks that the limits leave room for, in their order.

        Return one entry each: None for a durably stored task, `errors.TooManyRequests` for one over a limit, which is not
        stored. Raises `errors.StoreUnavailable`.
        """
        if limits.are_none:
            await self._tasks.insert(tasks)
            return [None] * len(tasks)
        return await self._admit_counted(tasks, limits)

    @connection.translated
    async def admit_whole(
        self, tasks: Sequence[Task], limits: PendingLimits, *, receipt: Receipt | None = None
    ) -> bool:
        """
        Insert all of `tasks` or none, with the receipt of their request. Return False, with nothing stored, if another
        request with the same key was faster.

        Raises `errors.TooManyRequests` if a limit leaves no room for all, `errors.Conflict` if ids are taken, and
        `errors.StoreUnavailable`.
        """

        async def transaction(session: Any) -> None:
            if not limits.are_none:
                for refusal in filter(None, await self._count(tasks, limits, session)):
                    raise refusal
            await self._tasks.insert(tasks, session=session)
            # Last: no other request with this key passes before the commit.
            if receipt is not None and not await self._receipts.add(receipt, session=session):
                raise _KeyTaken

        try:
            await self._in_turn(transaction, limits)
        except _KeyTaken:
            return False
        return True

    @connection.translated
    async def _admit_counted(self, tasks: Sequence[Task], limits: PendingLimits) -> list[Exception | None]:
        async def transaction(session: Any) -> list[Exception | None]:
            answers = await self._count(tasks, limits, session)
            admitted = [task for task, answer in zip(tasks, answers, strict=True) if answer is None]
            if admitted:
                await self._tasks.insert(admitted, session=session)
            return answers

        return await self._in_turn(transaction, limits)

    async def _in_turn(self, transaction: Callable[[Any], Awaitable[T]], limits: PendingLimits) -> T:
        if limits.are_none:
            return await self._transactions.run(transaction)
        async with self._turn:
            return await self._transactions.run(transaction)

    async def _count(self, tasks: Sequence[Task], limits: PendingLimits, session: Any) -> list[Exception | None]:
        # Two transactions that count and insert would not see each other's tasks. Writing the same gate makes the later one
        # start over with the earlier one's tasks in its count.
        await self._gates.update_one({"_id": "tasks"}, {"$inc": {"passed": len(tasks)}}, upsert=True, session=session)
        return await self._judge(tasks, limits, session)

    async def _judge(self, tasks: Sequence[Task], limits: PendingLimits, session: Any) -> list[Exception | None]:
        room: dict[str | None, float] = defaultdict(lambda: float("inf"))
        for user, limit in [(None, limits.everybody), *((name, limits.user) for name in {t.user.id for t in tasks})]:
            if limit is not None:
                room[user] = limit - await self._views.count_waiting(user, at_most=limit, session=session)
        answers: list[Exception | None] = []
        for task in tasks:
            answer = _over_limit(task, room, limits)
            if answer is None:
                room[None] -= _weight(task)
                room[task.user.id] -= _weight(task)
            answers.append(answer)
        return answers


def _weight(task: Task) -> int:
    """Return how many pending tasks it adds: for an array, its children."""
    return task.array.count if task.array else 1


def _over_limit(task: Task, room: dict[str | None, float], limits: PendingLimits) -> errors.TooManyRequests | None:
    user, weight = task.user.id, _weight(task)
    if task.array and room[user] < weight:
        message = f"{user} may have {limits.user} tasks waiting, and has no room for {weight} more"
    elif task.array and room[None] < weight:
        message = f"{limits.everybody} tasks of all users together may wait, and there is no room for {weight} more"
    elif room[user] < weight:
        message = f"{user} has {limits.user} tasks waiting, the limit of one user"
    elif room[None] < weight:
        message = f"{limits.everybody} tasks are waiting, the limit of all users together"
    else:
        return None
    return errors.TooManyRequests(message, retry_after=RETRY_AFTER)
