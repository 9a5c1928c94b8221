"""Small reads of the collection `tasks` for the loops of scheduler and watcher."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from shared.lifecycle import ENDED, PAUSED_BY_OTHERS, PLACED, WAITING, Intent, IntentResult, TaskStatus
from shared.models.task import Array, Cause, Place, Purge, Task
from shared.models.work import Ended, Pending, Placed, WaitingKill
from shared.store import connection, indexes, reading, typed
from shared.units import durations
from shared.units.sizes import GB

_ATTEMPT = ("attempt", "status", "settled")
_INTENTS = frozenset(Intent)  # a newer gateway may write others, which are for a newer watcher

_PENDING = (
    *(
        "attempt",
        "intent",
        "user.id",
        "project",
        "shape",
        "queued_at",
        "waiting_on",
        "not_before",
        "avoid",
        "member.parent",
        "array",
    ),
    *("spec.cpu", "spec.ram", "spec.gpus", "spec.labels", "spec.ports", "spec.ticket_share", "spec.lifespan"),
    "spec.dynamic.maxlifespan",
)
_PLACED = (
    *(
        "attempt",
        "status",
        "status_at",
        "intent",
        "intent_at",
        "intent_by",
        "cause",
        "placement",
        "started_at",
        "user.id",
        "project",
        "request",
        "remark",
        "reason",
    ),
    *("member", "spec.image", "spec.cpu", "spec.ram", "spec.lifespan"),
    "spec.dynamic.maxlifespan",
)
_ENDED = (
    *("attempt", "placement.node", "placement.system", "user.id", "project", "started_at", "ended_at"),
    *("spec.cpu", "spec.ram", "spec.gpus"),
)


class TaskWork:
    """Tasks with work to do, as small views. Malformed documents are skipped, see `reading`."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]

    @connection.translated
    async def pending_ids(self, *, since: float = 0) -> list[int]:
        """
        Return the ids of all pending tasks, or of those that became pending at `since` or later; read from the index alone.
        """
        query = {"status": TaskStatus.PENDING, "status_at": {"$gte": since}}
        cursor = self._tasks.find(query, {"_id": 1}).hint("pending_by_age").batch_size(10_000)
        return [document["_id"] async for document in cursor]

    @connection.translated
    async def ended_unplaced(self, *, since: float) -> list[int]:
        """Return the ids of tasks that ended at `since` or later without being placed, mostly killed while pending."""
        query = {"status": TaskStatus.OVER, "ended_at": {"$gte": since}, "placement": None}
        cursor = self._tasks.find(query, {"_id": 1}).hint("over_by_age").batch_size(10_000)
        return [document["_id"] async for document in cursor]

    @connection.translated
    async def pending_of(self, ids: Sequence[int]) -> list[Pending]:
        """Return the pending tasks of `ids`."""
        cursor = self._tasks.find({"_id": {"$in": list(ids)}, "status": TaskStatus.PENDING}, _PENDING)
        return await reading.each(_pending, cursor.batch_size(10_000))

    @connection.translated
    async def placed(self, node: str | None = None) -> list[Placed]:
        """Return all starting and running tasks, on one node or (None) anywhere."""
        query = indexes.active(PLACED)
        if node is not None:
            query = {"status": {"$in": sorted(PLACED)}, "placement.node": node}
        return await reading.each(_placed, self._tasks.find(query, _PLACED).batch_size(10_000))

    @connection.translated
    async def placed_of(self, ids: Sequence[int]) -> list[Placed]:
        """Return the starting and running tasks of `ids`."""
        query = {"_id": {"$in": list(ids)}, "status": {"$in": [TaskStatus.STARTING, TaskStatus.RUNNING]}}
        return await reading.each(_placed, self._tasks.find(query, _PLACED).batch_size(10_000))

    @connection.translated
    async def whole(self, ids: Sequence[int]) -> list[Task]:
        """Return the full documents of `ids`, in no order."""
        return await reading.each(Task.model_validate, self._tasks.find({"_id": {"$in": list(ids)}}))

    @connection.translated
    async def holders(self, leases: Sequence[str]) -> list[Task]:
        """Return the tasks that hold any of these ports and devices."""
        query = {"status": {"$in": sorted(PLACED)}, "placement.leases": {"$in": list(leases), "$type": "string"}}
        return await reading.each(Task.model_validate, self._tasks.find(query))

    @connection.translated
    async def attempts(self, ids: Sequence[int]) -> dict[int, tuple[int, TaskStatus, bool]]:
        """
        Return attempt, status and settled of the existing tasks of `ids`, to decide whether a run on a node is still
        needed.
        """
        cursor = self._tasks.find({"_id": {"$in": list(ids)}}, _ATTEMPT)
        found = await reading.each(_attempt, cursor)
        return {task_id: (attempt, status, settled) for task_id, attempt, status, settled in found}

    @connection.translated
    async def kills_of_waiting(self) -> list[WaitingKill]:
        """Return the tasks to kill that hold no resources. The scheduler ends parents of arrays."""
        query = {
            "intent": {"$eq": Intent.KILL, "$type": "string"},
            "status": {"$in": sorted(WAITING)},
            "array": None,
        }
        fields = ("attempt", "status", "user.id", "request", "intent_by")
        return await reading.each(_waiting_kill, self._tasks.find(query, fields))

    @connection.translated
    async def asked_on(self, node: str) -> list[Placed]:
        """Return the tasks on a node that have an intent."""
        query = {
            "intent": {"$type": "string"},
            "status": {"$in": [TaskStatus.STARTING, TaskStatus.RUNNING]},
            "placement.node": node,
        }
        return await reading.each(_placed, self._tasks.find(query, _PLACED))

    @connection.translated
    async def nodes_in_use(self) -> set[str]:
        """Return the nodes that have placed tasks or unsettled attempts."""
        placed = await self._tasks.distinct("placement.node", indexes.active(PLACED))
        unsettled = await self._tasks.distinct("placement.node", {"settled": False})
        return {node for node in (*placed, *unsettled) if isinstance(node, str)}

    @connection.translated
    async def unsettled(self, node: str, *, limit: int) -> list[Ended]:
        """Return ended attempts of a node that are not settled."""
        query = {"settled": False, "status": {"$in": list(ENDED)}, "placement.node": node}
        return await reading.each(_ended, self._tasks.find(query, _ENDED).limit(limit))

    @connection.translated
    async def over_before(self, before: float, *, limit: int) -> list[tuple[int, int]]:
        """Return id and attempt of settled, unarchived tasks that ended before a time, oldest first."""
        query = {"status": TaskStatus.OVER, "ended_at": {"$lt": before}, "settled": True, "purge": None}
        cursor = (
            self._tasks.find(query, {"attempt": 1, "status": 1, "settled": 1})
            .sort("ended_at", 1)
            .hint("over_by_age")
            .limit(limit)
        )
        return [(task_id, attempt) for task_id, attempt, *_ in await reading.each(_attempt, cursor)]

    @connection.translated
    async def to_purge(self, *, limit: int) -> list[tuple[int, Place, Purge]]:
        """Return ended tasks whose files, or files and record, are to be removed and whose runs are gone."""
        query = {"purge": {"$type": "string"}, "settled": True}
        cursor = self._tasks.find(query, {"purge": 1, "member": 1}).limit(limit)
        return await reading.each(lambda found: (found["_id"], _place(found), Purge(found["purge"])), cursor)


def _attempt(document: dict[str, Any]) -> tuple[int, int, TaskStatus, bool]:
    attempt = document["attempt"]
    if type(attempt) is not int:
        raise TypeError("attempt is of another type")
    return document["_id"], attempt, TaskStatus(document["status"]), bool(document["settled"])


def _memory(document: dict[str, Any]) -> int:
    return round(float(document["spec"]["ram"]) * GB)


def _place(document: dict[str, Any]) -> Place:
    member = document.get("member")
    return typed.checked(Place(member["parent"], member["index"]) if member else Place(document["_id"]))


def pending_from(task: Task) -> Pending:
    """Return the scheduler's view of a task that is not stored."""
    return _pending(task.document())


def _pending(document: dict[str, Any]) -> Pending:
    # A book holds a million of them, so common strings are shared.
    spec = document["spec"]
    array, intent = document.get("array"), document.get("intent")
    if not isinstance(intent, str | None):
        raise TypeError("intent is of another type")  # otherwise no placement of it would ever be written
    member = document.get("member") or {}
    found = Pending(
        id=document["_id"],
        attempt=document["attempt"],
        user=sys.intern(document["user"]["id"]),
        project=sys.intern(document["project"]),
        shape=sys.intern(document["shape"]),
        cpus=spec["cpu"],
        memory=_memory(document),
        queued_at=document["queued_at"],
        gpus=spec.get("gpus", 0),
        labels=tuple(spec.get("labels", ())),
        ports=len(spec.get("ports", ())),
        waiting_on=tuple(document.get("waiting_on", ())),
        not_before=document.get("not_before"),
        avoid=tuple(document.get("avoid", ())),
        ticket_share=spec.get("ticket_share"),
        parent=member.get("parent"),
        array=Array.model_validate(array) if array else None,
        lifespan=_lifespan(spec),
    )
    return typed.checked(found)


def _placed(document: dict[str, Any]) -> Placed:
    intent, cause = document.get("intent"), document.get("cause")
    spec, placement, member = document["spec"], document["placement"], document.get("member") or {}
    found = Placed(
        id=document["_id"],
        attempt=document["attempt"],
        status=TaskStatus(document["status"]),
        intent=Intent(intent) if intent in _INTENTS else None,
        intent_at=document.get("intent_at"),
        image=spec["image"],
        node=placement["node"],
        cpus=spec["cpu"],
        memory=_memory(document),
        status_at=document["status_at"],
        started_at=document.get("started_at"),
        user=document["user"]["id"],
        project=document["project"],
        gpus=tuple(placement.get("gpus", ())),
        ports=tuple(placement.get("ports", ())),
        parent=member.get("parent"),
        index=member.get("index"),
        lifespan=_lifespan(spec),
        cause=Cause.model_validate(cause) if cause else None,
        request=document.get("request"),
        intent_by=document.get("intent_by"),
        system=placement.get("system"),
        suspended=document.get("remark") == IntentResult.SUSPENDED,
        is_noted_paused=document.get("reason") == PAUSED_BY_OTHERS,
    )
    return typed.checked(found)


def _waiting_kill(document: dict[str, Any]) -> WaitingKill:
    found = WaitingKill(
        id=document["_id"],
        attempt=document["attempt"],
        status=TaskStatus(document["status"]),
        user=document["user"]["id"],
        request=document.get("request"),
        intent_by=document.get("intent_by"),
    )
    return typed.checked(found)


def _lifespan(spec: dict[str, Any]) -> float | None:
    """Return the lifespan, by the dynamic requirement if it was changed."""
    changed = (spec.get("dynamic") or {}).get("maxlifespan")
    return durations.parse(changed) if changed else spec.get("lifespan")


def _ended(document: dict[str, Any]) -> Ended:
    found = Ended(
        id=document["_id"],
        attempt=document["attempt"],
        node=(document.get("placement") or {}).get("node"),
        user=document["user"]["id"],
        project=document["project"],
        cpus=document["spec"]["cpu"],
        ram=document["spec"]["ram"],
        started_at=document.get("started_at"),
        ended_at=document["ended_at"],
        gpus=document["spec"].get("gpus", 0),
        system=(document.get("placement") or {}).get("system"),
    )
    return typed.checked(found)
