"""Recent usage and priorities of users and projects, read all at once."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pymongo

from shared.lifecycle import PLACED
from shared.models.usage_sums import Priorities, UsageSum
from shared.store import amounts, connection, indexes, reading, typed

DAY = 86400  #: seconds
SUMS_TIMEOUT = 60.0  #: seconds for the sums of a window; no request waits for them


class UsageViews:
    """Queries for fair share. Their cost does not depend on the number of pending tasks."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]
        self._usage = database["usage"]
        self._users = database["users"]
        self._projects = database["projects"]

    @connection.translated
    async def ended(self, *, since: float) -> dict[float, list[UsageSum]]:
        """
        Return usage of attempts that ended at `since` or later, by the first second of the UTC day of their end. Reads the
        index alone; a window with a million attempts takes a second or two.
        """
        group = _sums(amounts.amount("$seconds"), cpu="$cpu", ram="$ram")
        ended_at = amounts.amount("$ended_at")
        group["_id"]["day"] = {"$subtract": [ended_at, {"$mod": [ended_at, DAY]}]}
        found: dict[float, list[UsageSum]] = defaultdict(list)
        with pymongo.timeout(SUMS_TIMEOUT):
            async for row in self._usage.aggregate([{"$match": {"ended_at": {"$gte": since}}}, {"$group": group}]):
                day = float(row["_id"].pop("day"))
                if (taken := reading.one(_taken, row, of="usage")) is not None:
                    found[day].append(taken)
        return dict(found)

    @connection.translated
    async def running(self, *, at: float) -> list[UsageSum]:
        """Return the usage of starting and running attempts until `at`."""
        started_at, status_at = amounts.amount("$started_at"), amounts.amount("$status_at")
        began = {"$cond": [{"$gt": [started_at, 0]}, started_at, {"$cond": [{"$gt": [status_at, 0]}, status_at, at]}]}
        group = _sums({"$max": [0, {"$subtract": [at, began]}]}, cpu="$spec.cpu", ram="$spec.ram", user="$user.id")
        group |= {"cores": {"$sum": amounts.amount("$spec.cpu")}, "gb": {"$sum": amounts.amount("$spec.ram")}}
        pipeline = [{"$match": indexes.active(PLACED)}, {"$group": group}]
        return await reading.each(_taken, self._tasks.aggregate(pipeline))

    @connection.translated
    async def priorities(self) -> Priorities:
        """Return the priorities of all users and projects."""
        users = {found["_id"]: found async for found in self._users.find({}, {"usage.prio": 1})}
        projects = {found["_id"]: found async for found in self._projects.find({}, {"prio": 1})}
        return Priorities(
            {name: _prio(found.get("usage")) for name, found in users.items()},
            {name: _prio(found) for name, found in projects.items()},
        )


_USUAL = 50.0


def _sums(seconds: Any, *, cpu: str, ram: str, user: str = "$user") -> dict[str, Any]:
    return {
        "_id": {"user": user, "project": "$project"},
        "tasks": {"$sum": 1},
        "time": {"$sum": seconds},
        "cpu": {"$sum": {"$multiply": [amounts.amount(cpu), seconds]}},
        "ram": {"$sum": {"$multiply": [amounts.amount(ram), seconds]}},
    }


def _taken(row: dict[str, Any]) -> UsageSum:
    sums = {name: value for name, value in row.items() if name != "_id"}
    return typed.checked(UsageSum(**row["_id"], **sums))


def _prio(document: Any) -> float:
    prio = document.get("prio", _USUAL) if isinstance(document, dict) else _USUAL
    return float(prio) if isinstance(prio, int | float) and not isinstance(prio, bool) and 0 <= prio <= 100 else _USUAL
