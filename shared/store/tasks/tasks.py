"""Writes to the collection `tasks`: admission, intents, and the one compare-and-set of `status`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from motor.motor_asyncio import AsyncIOMotorCollection
from pymongo import ReturnDocument, UpdateOne, WriteConcern
from pymongo import errors as driver_errors

from shared import errors, lifecycle
from shared.lifecycle import Intent, IntentResult, TaskStatus
from shared.models.task import Cause, Purge, Share, Task
from shared.models.transitions import Transition
from shared.store import connection, indexes, reading
from shared.store.tasks import intents

log = structlog.get_logger(__name__)

HISTORY = 50  #: transitions kept with a task
_KEPT = ("started_at", "ended_at", "exit_code", "ending")  #: fields of transitions that are kept in the history

_UNSAID: Mapping[str, Any] = {"user": None, "node": None, "request": None}
_ENDS = ("ending", "exit_code", "reason")  #: fields that are logged when a task ends


class TaskStore:
    """Writes of tasks."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks: AsyncIOMotorCollection[dict[str, Any]] = database["tasks"]
        # The journal is written in order: when a task is on disk, the use of its id is too.
        self._counters = database["counters"].with_options(write_concern=WriteConcern(w=1, j=False))

    @connection.translated
    async def reserve_ids(self, count: int) -> int:
        """Reserve `count` ids and return the first. Ids grow with time; unused ones are lost."""
        first = await self._count_up(count)
        # A counter that starts over was lost, unless nothing is stored yet. Ids of children that are not stored yet are
        # taken, and no insert would notice.
        if first == 1 and await self._raise_counter():
            first = await self._count_up(count)
        return first

    @connection.translated
    async def skip_ids(self, least: int, *, skip: int) -> int:
        """Skip `skip` ids after the highest of `least` and all that are taken. Return the last one skipped."""
        await self._counters.update_one({"_id": "task"}, {"$max": {"value": least}}, upsert=True)
        await self._raise_counter()
        return await self._count_up(skip) + skip - 1

    async def _count_up(self, count: int) -> int:
        document = await self._counters.find_one_and_update(
            {"_id": "task"}, {"$inc": {"value": count}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return int(document["value"]) - count + 1

    @connection.translated
    async def insert(self, tasks: Sequence[Task], *, session: Any = None) -> None:
        """
        Insert admitted tasks, durably on a majority. Repeating the call after a lost answer is safe. Raises
        `errors.StoreUnavailable`.
        """
        try:
            await self._tasks.insert_many([task.document() for task in tasks], ordered=False, session=session)
        except driver_errors.BulkWriteError as error:
            if any(item.get("code") != 11000 for item in error.details["writeErrors"]):
                raise
            await self._check_ours(tasks)

    async def _check_ours(self, tasks: Sequence[Task]) -> None:
        """Tell an earlier try of ours from a lost counter, after some ids were found taken."""
        ours = {task.id: task.submission for task in tasks}
        cursor = self._tasks.find({"_id": {"$in": list(ours)}}, {"submission": 1})
        foreign = [found["_id"] async for found in cursor if found["submission"] != ours[found["_id"]]]
        if foreign:
            await self._raise_counter()
            raise errors.Conflict(f"task numbers are taken: {foreign[:5]}")

    async def _raise_counter(self) -> int:
        """Raise the counter above all ids that are taken, and return the highest of these; 0 if there is none."""
        last = await self._tasks.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        # Ranges of ids grow with time: the last array's range ends after all others.
        arrays = self._tasks.find(indexes.ARRAYS, {"array": 1}).sort("array.first_id", -1).limit(1)
        ends = [found["array"]["first_id"] + found["array"]["count"] - 1 async for found in arrays]
        highest = int(max([last["_id"] if last else 0, *ends]))
        await self._counters.update_one({"_id": "task"}, {"$max": {"value": highest}}, upsert=True)
        return highest

    @connection.translated
    async def transition(self, move: Transition) -> Task | None:
        """
        Compare-and-set a task's status. Return the updated task, or None if another writer moved it first or holds a port
        or device that it was to get: losing the race is normal. Raises `errors.InvalidTransition`.
        """
        lifecycle.check_transition(move.old, move.new)
        query, update = _compare(move), _set(move, token=uuid.uuid4().hex)
        try:
            document = await self._tasks.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        except driver_errors.DuplicateKeyError:
            return None
        if document is not None:
            _log([move])
        return reading.one(Task.model_validate, document)

    @connection.translated
    async def transition_many(self, moves: Sequence[Transition]) -> set[int]:
        """
        Compare-and-set many tasks, at most one transition each, in one round trip.

        Return the ids that this call moved: without those that another writer moved first, or whose port or device another
        task holds. Raises `errors.InvalidTransition` before anything is written.
        """
        moved = await self.transition_within(moves, session=None)
        _log([move for move in moves if move.task_id in moved])
        return moved

    async def transition_within(self, moves: Sequence[Transition], *, session: Any) -> set[int]:
        """Run `transition_many` as a part of a transaction, whose errors pass through."""
        if not moves:
            return set()
        for move in moves:
            lifecycle.check_transition(move.old, move.new)
        token = uuid.uuid4().hex
        # The hint spares the server a look at every index for each transition.
        operations = [UpdateOne(_compare(move), _set(move, token=token), hint="_id_") for move in moves]
        ids = [move.task_id for move in moves]
        try:
            result = await self._tasks.bulk_write(operations, ordered=False, session=session)
        except driver_errors.BulkWriteError as error:
            # In a transaction, one taken lease undoes all writes.
            if session is not None or not _lost_leases_alone(error):
                raise
        else:
            if result.matched_count == len(moves):
                return set(ids)
        # A bulk result counts the winners but does not name them.
        cursor = self._tasks.find({"_id": {"$in": ids}, "moved_by": token}, {"_id": 1}, session=session)
        return {found["_id"] async for found in cursor}

    @connection.translated
    async def ask(
        self, task_id: int, intent: Intent, *, at: float, statuses: Sequence[TaskStatus], by: str | None = None
    ) -> Task | None:
        """
        Write the intent of the user `by`. A repeated intent keeps its time and first name. Return the task, or None if it
        has none of `statuses` or a stronger intent (`intents.above`).
        """
        query = {"_id": task_id, "status": {"$in": list(statuses)}, "intent": {"$nin": intents.above(intent)}}
        document = await self._tasks.find_one_and_update(
            query, [{"$set": intents.written(intent, at, by)}], return_document=ReturnDocument.AFTER
        )
        return reading.one(Task.model_validate, document)

    @connection.translated
    async def expire(self, task_id: int, attempt: int, cause: Cause, *, at: float) -> bool:
        """
        Write the system's own intent to kill an attempt, with the cause. Return False if it is no longer placed or its
        owner already ends it.
        """
        query = {
            "_id": task_id,
            "attempt": attempt,
            "status": {"$in": sorted(lifecycle.PLACED)},
            "intent": {"$nin": sorted(lifecycle.STOPPING)},
        }
        fields = {"intent": Intent.KILL, "intent_at": at, "intent_by": None, "cause": cause.model_dump()}
        result = await self._tasks.update_one(query, {"$set": fields})
        return result.matched_count == 1

    @connection.translated
    async def give_up_leases(self, task_id: int, attempt: int) -> None:
        """Release the ports and devices of an attempt that is no longer on its node."""
        query = {"_id": task_id, "attempt": attempt, "status": {"$in": sorted(lifecycle.PLACED)}}
        await self._tasks.update_one(query, {"$set": {"placement.leases": []}})

    @connection.translated
    async def note_stuck(self, task_id: int, attempt: int, reason: str) -> None:
        """Record why an attempt that should end does not."""
        query = {"_id": task_id, "attempt": attempt, "status": {"$in": sorted(lifecycle.PLACED)}}
        stopping = {"intent": {"$in": sorted(lifecycle.STOPPING)}}
        await self._tasks.update_one({**query, **stopping}, {"$set": {"reason": reason}})

    @connection.translated
    async def note_paused(self, task_id: int, attempt: int, *, paused: bool) -> bool:
        """
        Record that somebody other than its owner paused or resumed a running attempt. Return False if nothing was written.
        """
        query = {"_id": task_id, "attempt": attempt, "status": TaskStatus.RUNNING}
        if paused:
            # The owner may have asked for the same since the node was observed.
            unasked = {"intent": None, "remark": {"$ne": IntentResult.SUSPENDED}, "reason": None}
            result = await self._tasks.update_one(
                {**query, **unasked}, {"$set": {"reason": lifecycle.PAUSED_BY_OTHERS}}
            )
        else:
            noted = {**query, "reason": lifecycle.PAUSED_BY_OTHERS}
            result = await self._tasks.update_one(noted, {"$set": {"reason": None}})
        return result.matched_count == 1

    @connection.translated
    async def answer(self, task_id: int, intent: Intent, remark: IntentResult, *, attempt: int) -> bool:
        """Record the result of an intent and clear it. Return False if the owner has another intent by now."""
        result = await self._tasks.update_one(
            {"_id": task_id, "attempt": attempt, "intent": intent},
            {"$set": {"intent": None, "intent_at": None, "intent_by": None, "remark": remark}},
        )
        return result.matched_count == 1

    @connection.translated
    async def reject(self, task_id: int, remark: IntentResult) -> Task | None:
        """Record that an intent is rejected. Return the task, or None if it is over or has another intent."""
        document = await self._tasks.find_one_and_update(
            {"_id": task_id, "status": {"$in": sorted(lifecycle.ACTIVE)}, "intent": None},
            {"$set": {"remark": remark}},
            return_document=ReturnDocument.AFTER,
        )
        return reading.one(Task.model_validate, document)

    @connection.translated
    async def set_share(self, task_id: int, share: Share | None) -> bool:
        """Share the task with holders of a token, or (None) end that. Return False if there is no such task."""
        value = share.model_dump() if share else None
        result = await self._tasks.update_one({"_id": task_id}, {"$set": {"share": value}})
        return result.matched_count == 1

    @connection.translated
    async def replace_share(self, task_id: int, share: Share, *, old: Share | None) -> bool:
        """Replace the share token. Return False if another request was faster or there is no such task."""
        seen = {"share.hash": old.hash} if old else {"share": None}
        result = await self._tasks.update_one({"_id": task_id, **seen}, {"$set": {"share": share.model_dump()}})
        return result.matched_count == 1

    @connection.translated
    async def set_dynamic(self, task_id: int, name: str, value: str) -> Task | None:
        """Change a dynamic requirement of an active task. `name` is one of the configured ones."""
        document = await self._tasks.find_one_and_update(
            {"_id": task_id, "status": {"$in": sorted(lifecycle.ACTIVE)}},
            {"$set": {f"spec.dynamic.{name}": value}},
            return_document=ReturnDocument.AFTER,
        )
        return reading.one(Task.model_validate, document)

    @connection.translated
    async def delete(self, task_ids: Sequence[int]) -> list[int]:
        """
        Hide ended tasks at once; the watcher removes record and files. Return their ids. Active tasks stay, and so do usage
        rows.
        """
        query = {"_id": {"$in": list(task_ids)}, "status": {"$in": sorted(lifecycle.ENDED)}}
        found = [document["_id"] async for document in self._tasks.find(query, {"_id": 1})]
        await self._tasks.update_many(query, {"$set": {"purge": Purge.ALL, "share": None}})
        return found

    @connection.translated
    async def purged(self, task_id: int, purge: Purge) -> None:
        """Record that the files are removed; remove the record too if that was asked for."""
        if purge is Purge.ALL:
            await self._tasks.delete_one({"_id": task_id, "purge": Purge.ALL})
        else:
            await self._tasks.update_one({"_id": task_id, "purge": purge}, {"$set": {"purge": None}})

    @connection.translated
    async def settle(self, attempts: Sequence[tuple[int, int]]) -> None:
        """Record that these (task, attempt) are counted and their runs removed."""
        by_attempt: defaultdict[int, list[int]] = defaultdict(list)
        for task_id, attempt in attempts:
            by_attempt[attempt].append(task_id)
        for attempt, ids in by_attempt.items():
            # One statement for all costs half as much as a bulk of many, and may be repeated.
            await self._tasks.update_many({"_id": {"$in": ids}, "attempt": attempt}, {"$set": {"settled": True}})


def _log(moved: Sequence[Transition]) -> None:
    """
    Log starts and ends of tasks here, where each of them passes. Fields that a transition does not give are logged as None:
    writes of many share one asyncio task, whose bound context is that of the first.
    """
    for move in moved:
        ids = {"task_id": move.task_id, "attempt": move.attempt, **_UNSAID, **move.about}
        if move.new is TaskStatus.RUNNING:
            log.info("task.started", **ids)
        elif move.new is TaskStatus.OVER:
            log.info("task.over", **ids, **{name: move.fields.get(name) for name in _ENDS})


def _compare(move: Transition) -> dict[str, Any]:
    # `attempt` fences off a writer of an earlier run: status alone would let it finish the task's second run. A document
    # whose history is no list loses here, since it would make the server refuse the others in the same write.
    query: dict[str, Any] = {
        "_id": move.task_id,
        "status": move.old,
        "attempt": move.attempt,
        "history": {"$type": "array"},
    }
    if move.intents is not None:
        query["intent"] = {"$in": list(move.intents)}
    return query


def _facts(move: Transition) -> dict[str, Any]:
    """Return the fields that the list of attempts is made of, which later attempts overwrite in the task itself."""
    facts = {name: move.fields[name] for name in _KEPT if move.fields.get(name) is not None}
    if placement := move.fields.get("placement"):
        facts["node"] = placement["node"]
    return facts


def _lost_leases_alone(error: driver_errors.BulkWriteError) -> bool:
    failed = error.details["writeErrors"]
    return not error.details["writeConcernErrors"] and all(item.get("code") == 11000 for item in failed)


def _set(move: Transition, *, token: str) -> dict[str, Any]:
    attempt = move.attempt if move.next_attempt is None else move.next_attempt
    entry = {"at": move.at, "status": move.new, "attempt": attempt, "note": move.note, **_facts(move)}
    return {
        # The result of an intent ends with the status it was about.
        "$set": {
            "status": move.new,
            "status_at": move.at,
            "attempt": attempt,
            "moved_by": token,
            "remark": None,
            **move.fields,
        },
        "$push": {"history": {"$each": [entry], "$slice": -HISTORY}},
    }
