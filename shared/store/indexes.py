"""The indexes of every collection, each with the queries it serves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import structlog
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo import errors as driver_errors

from shared import lifecycle
from shared.store import connection, outbox
from shared.store.accounts import receipts

log = structlog.get_logger(__name__)

_ACTIVE = {"status": {"$in": sorted(lifecycle.ACTIVE)}}
_ENDED = {"status": {"$in": sorted(lifecycle.ENDED)}}
_PLACED = {"status": {"$in": sorted(lifecycle.PLACED)}}
_WAITING = {"status": {"$in": sorted(lifecycle.WAITING)}}
ARRAYS = {"array.count": {"$exists": True}}  #: parents of arrays
#: Equivalent, but another field: otherwise the server would answer a query for active parents from the index of all.
PARENTS = {"array.first_id": {"$exists": True}}
CHILDREN = {"member.parent": {"$exists": True}}  #: children of arrays
GATED = {"waiting_on.0": {"$exists": True}, **_WAITING}  #: tasks with open dependencies

_NEWEST = [("submitted_at", DESCENDING), ("_id", DESCENDING)]

# Partial indexes (`$in` in them needs MongoDB 6.0) keep the frequent queries as small as the active work, however many
# tasks have ended.
INDEXES = {
    "tasks": [
        # The scheduler's book: ids of all pending tasks, and of those that became pending since a time. Covers that query.
        IndexModel(
            [("status", ASCENDING), ("status_at", ASCENDING), ("_id", ASCENDING)],
            name="pending_by_age",
            partialFilterExpression={"status": "pending"},
        ),
        # The runs that a node should have: reconcile, and resources in use.
        IndexModel([("placement.node", ASCENDING)], name="placed_by_node", partialFilterExpression=_PLACED),
        # Ports and devices held by starting and running tasks: unique, so not even a second scheduler can give one twice. A
        # lease ends when its task leaves these statuses, so none is left behind.
        IndexModel(
            [("placement.leases", ASCENDING)],
            name="leases",
            unique=True,
            partialFilterExpression={**_PLACED, "placement.leases": {"$type": "string"}},
        ),
        # GET task/active, and the count of a user's pending tasks.
        IndexModel(
            [("user.id", ASCENDING), ("status", ASCENDING), *_NEWEST],
            name="active_by_user",
            partialFilterExpression=_ACTIVE,
        ),
        # GET task/active of a project whose members share their tasks.
        IndexModel(
            [("project", ASCENDING), ("status", ASCENDING), *_NEWEST],
            name="active_by_project",
            partialFilterExpression=_ACTIVE,
        ),
        # GET task/over: page counts, sort keys and searched text are read from the index alone.
        IndexModel(
            [
                ("user.id", ASCENDING),
                ("ended_at", DESCENDING),
                ("_id", DESCENDING),  # a stable order for tasks that ended at the same time
                *((name, ASCENDING) for name in ("status", "purge", "started_at", "spec.name", "spec.image")),
            ],
            name="over_by_user",
            partialFilterExpression=_ENDED,
        ),
        # Intents for the watcher to carry out.
        IndexModel([("intent", ASCENDING)], name="asked", partialFilterExpression={"intent": {"$type": "string"}}),
        # Ended attempts whose usage is not counted or whose run is not removed.
        IndexModel([("settled", ASCENDING)], name="unsettled", partialFilterExpression={"settled": False}),
        # GET task/over/all, and tasks older than a number of days.
        IndexModel([("ended_at", DESCENDING), ("_id", DESCENDING)], name="over_by_end", partialFilterExpression=_ENDED),
        # Ended tasks that are due to be archived; archived ones leave the index.
        IndexModel(
            [("ended_at", ASCENDING)], name="over_by_age", partialFilterExpression={"status": lifecycle.TaskStatus.OVER}
        ),
        # Tasks whose files or records are to be removed.
        IndexModel([("purge", ASCENDING)], name="to_purge", partialFilterExpression={"purge": {"$type": "string"}}),
        # Tasks that owe their owner a mail.
        IndexModel(
            [("told", ASCENDING), ("status", ASCENDING)],
            name="to_tell",
            partialFilterExpression={"told": {"$type": "int"}},
        ),
        # The array that a child's id belongs to, and the highest id of all.
        IndexModel([("array.first_id", DESCENDING)], name="arrays", partialFilterExpression=ARRAYS),
        # Active arrays, for the scheduler that makes their children; those of one user, for the limits.
        IndexModel(
            [("status", ASCENDING), ("user.id", ASCENDING), ("array.first_id", ASCENDING)],
            name="open_arrays",
            partialFilterExpression={**PARENTS, **_ACTIVE},
        ),
        # Children of an array by status, counted from the index alone.
        IndexModel(
            [("member.parent", ASCENDING), ("status", ASCENDING)], name="by_parent", partialFilterExpression=CHILDREN
        ),
        # Tasks by the tasks they depend on.
        IndexModel([("waiting_on", ASCENDING)], name="waiting_on", partialFilterExpression=GATED),
        # GET image.
        IndexModel([("spec.image", ASCENDING)], name="by_image"),
        # GET task/status/{status}/count, and GET task/active/all.
        IndexModel([("status", ASCENDING), *_NEWEST], name="active_by_status", partialFilterExpression=_ACTIVE),
    ],
    "outbox": [
        # Mails that are due.
        IndexModel(
            [("due", ASCENDING), ("at", ASCENDING)], name="due", partialFilterExpression={"due": {"$type": "date"}}
        ),
        # Mails that were sent or given up expire.
        IndexModel([("done_at", ASCENDING)], name="done", expireAfterSeconds=outbox.KEEP),
    ],
    "receipts": [
        # Receipts expire after a day.
        IndexModel([("at", ASCENDING)], name="old", expireAfterSeconds=receipts.KEEP),
    ],
    "usage": [
        # Sums of a user or project over a window of days.
        IndexModel([("user", ASCENDING), ("ended_at", DESCENDING)], name="by_user"),
        IndexModel([("project", ASCENDING), ("ended_at", DESCENDING)], name="by_project"),
        # Sums of the window for all users and projects, for fair share. Covers that query.
        IndexModel(
            [(name, ASCENDING) for name in ("ended_at", "user", "project", "seconds", "cpu", "ram")], name="by_end"
        ),
    ],
    "projects": [
        # GET project of an owner, and the projects of a user.
        IndexModel([("owner", ASCENDING)], name="by_owner"),
        IndexModel([("members", ASCENDING)], name="by_member"),
    ],
    "recipes": [
        # GET marketplace/recipe: public recipes, and one's own.
        IndexModel([("public", ASCENDING), ("_id", ASCENDING)], name="by_public"),
        IndexModel([("owner", ASCENDING)], name="by_owner"),
    ],
    "app_tokens": [
        # GET app/token/{token}/user.
        IndexModel([("hash", ASCENDING)], name="by_hash", unique=True),
        # GET app/token.
        IndexModel([("user", ASCENDING), ("created_at", ASCENDING)], name="by_user"),
    ],
    "users": [
        # The highest uid in use.
        IndexModel([("uid", DESCENDING)], name="by_uid"),
    ],
}


def active(statuses: Collection[lifecycle.TaskStatus]) -> dict[str, Any]:
    """
    Return the condition that a task has one of the active `statuses`. It repeats the filter of the partial indexes: MongoDB
    6.0 uses one only if the query contains its filter, and does not infer it from fewer values.
    """
    return {"$and": [{"status": {"$in": sorted(statuses)}}, _ACTIVE]}


_CHANGED = frozenset({85, 86})  #: server codes: an index of that name exists with another definition


@connection.translated
async def ensure(database: connection.Database) -> None:
    """Create missing indexes and replace those whose definition changed. Idempotent, also from several processes."""
    for collection, models in INDEXES.items():
        for model in models:
            await _ensure_one(database[collection], model)


async def _ensure_one(collection: Any, model: IndexModel) -> None:
    try:
        await collection.create_indexes([model])
    except driver_errors.OperationFailure as error:
        if error.code not in _CHANGED:
            raise
        name = model.document["name"]
        log.warning("index.replaced", collection=collection.name, index=name)
        await collection.drop_index(name)
        await collection.create_indexes([model])
