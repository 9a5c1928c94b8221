"""Quotas, the amounts taken of them, and placement checked against them in one transaction."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from pymongo import errors as driver_errors

from shared import clock, errors
from shared.lifecycle import ENDED, PLACED
from shared.models.quota import Amounts, Quota, Scope, ScopeKind, Taken
from shared.models.transitions import Transition
from shared.models.usage import window_start
from shared.store import amounts, connection, indexes
from shared.store.tasks.tasks import TaskStore
from shared.store.transactions import Transactions

R = TypeVar("R")

#: Chooses the transitions that the amounts taken allow; the second value is the caller's own.
Choose = Callable[[Mapping[Scope, Taken]], tuple[Sequence[Transition], R]]

_FIELD = {ScopeKind.USER: "user.id", ScopeKind.PROJECT: "project"}
_LIMITED = {"$gt": 0}


class QuotaStore:
    """Limits of users and projects, and what they used of them."""

    def __init__(self, database: connection.Database, tasks: TaskStore, *, days: int) -> None:
        """`days` is the length of the usage window."""
        self._database = database
        self._transactions = Transactions(database)
        self._gates = database["quota_gates"]
        self._tasks = tasks
        self._collection = database["tasks"]
        self._days = days
        self._turn = asyncio.Lock()  # transactions of one process would only conflict with each other

    @connection.translated
    async def limits(self, scopes: Collection[Scope] | None = None) -> dict[Scope, Quota]:
        """Return the quotas of `scopes` (None: of all users and projects) that have any."""
        start = window_start(clock.now(), days=self._days)
        found: dict[Scope, Quota] = {}
        for kind, prefix in ((ScopeKind.USER, "usage."), (ScopeKind.PROJECT, "")):
            names = None if scopes is None else [scope.name for scope in scopes if scope.kind is kind]
            if names == []:
                continue
            fields = [f"{prefix}quota_{resource}" for resource in ("cpu", "ram", "gpu", "time")]
            query: dict[str, Any] = {"$or": [{field: _LIMITED} for field in fields]}
            if names is not None:
                query["_id"] = {"$in": names}
            async for document in self._database[f"{kind}s"].find(query, [*fields, "usage_since"]):
                quota = document.get("usage") if kind is ScopeKind.USER else document
                since = max(start, _number(document.get("usage_since")))
                if isinstance(quota, dict):
                    found[Scope(kind, str(document["_id"]))] = Quota(_limit(quota), since)
        return found

    @connection.translated
    async def taken(self, quotas: Mapping[Scope, Quota]) -> dict[Scope, Taken]:
        """Return the amounts taken of each quota."""
        return await self._taken(quotas, session=None)

    @connection.translated
    async def place(self, quotas: Mapping[Scope, Quota], choose: Choose[R]) -> tuple[set[int], R]:
        """
        Write the transitions that `choose` allows, while nobody else places anything within these quotas.

        Return the ids that were moved and the caller's value from `choose`, which is called again if another transaction was
        faster. Raises `errors.Conflict`, with nothing moved, if a port or device is already given to another task, and
        `errors.StoreUnavailable`.
        """

        async def work(session: Any) -> tuple[set[int], R]:
            # Two transactions that sum up and place would not see each other's tasks. Writing the same gates makes the
            # later one start over with the earlier one's tasks in its sums.
            for scope in sorted(quotas, key=lambda scope: scope.key):
                await self._gates.update_one({"_id": scope.key}, {"$inc": {"passed": 1}}, upsert=True, session=session)
            transitions, value = choose(await self._taken(quotas, session))
            try:
                return await self._tasks.transition_within(transitions, session=session), value
            except driver_errors.BulkWriteError as error:
                if any(item.get("code") == 11000 for item in error.details["writeErrors"]):
                    raise errors.Conflict("a port or device is taken") from None
                raise

        async with self._turn:
            return await self._transactions.run(work)

    async def _taken(self, quotas: Mapping[Scope, Quota], session: Any) -> dict[Scope, Taken]:
        return {scope: await self._taken_of(scope, quota.since, session) for scope, quota in quotas.items()}

    async def _taken_of(self, scope: Scope, since: float, session: Any) -> Taken:
        # An unsettled attempt counts as held until its usage row is written: twice for a moment, but never not at all.
        held = Amounts()
        own = {_FIELD[scope.kind]: {"$eq": scope.name}}
        for query in (
            {**indexes.active(PLACED), **own},
            {"settled": False, "status": {"$in": sorted(ENDED)}, **own},
        ):
            async for row in self._collection.aggregate([{"$match": query}, _HELD], session=session):
                held += _amounts(row, seconds=_elapsed(row))
        finished = Amounts()
        pipeline = [{"$match": {scope.kind.value: {"$eq": scope.name}, "ended_at": {"$gte": since}}}, _FINISHED]
        async for row in self._database["usage"].aggregate(pipeline, session=session):
            finished += _amounts(row, seconds=row["seconds"])
        return Taken(finished, held)


_STARTED = {"$gt": [amounts.amount("$started_at"), 0]}
_FINISHED: dict[str, Any] = {
    "$group": {
        "_id": None,
        "cpu": {"$sum": amounts.amount("$cpu")},
        "ram": {"$sum": amounts.amount("$ram")},
        "gpus": {"$sum": amounts.amount("$gpus")},
        "seconds": {"$sum": amounts.amount("$seconds")},
    }
}
_HELD: dict[str, Any] = {
    "$group": {
        "_id": None,
        "cpu": {"$sum": amounts.amount("$spec.cpu")},
        "ram": {"$sum": amounts.amount("$spec.ram")},
        "gpus": {"$sum": amounts.amount("$spec.gpus")},
        "started": {"$sum": {"$cond": [_STARTED, 1, 0]}},
        "starts": {"$sum": amounts.amount("$started_at")},
        "ended": {"$sum": {"$cond": [{"$and": [_STARTED, {"$gt": [amounts.amount("$ended_at"), 0]}]}, 1, 0]}},
        "ends": {"$sum": {"$cond": [_STARTED, amounts.amount("$ended_at"), 0]}},
    }
}


def _elapsed(row: Mapping[str, Any]) -> float:
    """Return the seconds that attempts have run, running ones until now."""
    running = row["started"] - row["ended"]
    return max(0.0, float(row["ends"] + running * clock.now() - row["starts"]))


def _amounts(row: Mapping[str, Any], *, seconds: float) -> Amounts:
    return Amounts(row["cpu"], row["ram"], row["gpus"], seconds)


def _limit(quota: Mapping[str, Any]) -> Amounts:
    return Amounts(
        cpu=_number(quota.get("quota_cpu")),
        ram=_number(quota.get("quota_ram")),
        gpus=int(_number(quota.get("quota_gpu"))),
        seconds=_number(quota.get("quota_time")),
    )


def _number(value: Any) -> float:
    """Return the limit; 0 (none) for any value that is not a positive number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf else 0
