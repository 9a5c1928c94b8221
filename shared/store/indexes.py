"""The indexes of every collection, each with the query it serves."""

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
ARRAYS = {"array.count": {"$exists": True}}  #: the parents of all arrays
#: The same, said in another way: a query for those that are not over would be answered from the index of all.
PARENTS = {"array.first_id": {"$exists": True}}
CHILDREN = {"member.parent": {"$exists": True}}  #: of arrays
GATED = {"waiting_on.0": {"$exists": True}, **_WAITING}  #: waits for others to be over

_NEWEST = [("submitted_at", DESCENDING), ("_id", DESCENDING)]

# Partial indexes (with `$in`: MongoDB 6.0) keep what is looked at all the time as small as the work at hand, however many
# tasks are over.
INDEXES = {
    "tasks": [
        # The scheduler's book: the ids of all that is pending, and of what became so since a time; it covers that query.
        IndexModel(
            [("status", ASCENDING), ("status_at", ASCENDING), ("_id", ASCENDING)],
            name="pending_by_age",
            partialFilterExpression={"status": "pending"},
        ),
        # What a node should be running: reconcile, and the resources in use.
        IndexModel([("placement.node", ASCENDING)], name="placed_by_node", partialFilterExpression=_PLACED),
        # Ports and devices of nodes that starting and running tasks hold: nobody, not even a second scheduler, can give
        # one twice. A lease ends with the task's leaving these statuses, so none can be left behind.
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
        # GET task/over; the counts of its pages, their order and what is searched for are found in it alone.
        IndexModel(
            [
                ("user.id", ASCENDING),
                ("ended_at", DESCENDING),
                ("_id", DESCENDING),  # or those that ended at the same time could change places from page to page
                *((name, ASCENDING) for name in ("status", "purge", "started_at", "spec.name", "spec.image")),
            ],
            name="over_by_user",
            partialFilterExpression=_ENDED,
        ),
        # The watcher's work list: owners who want something.
        IndexModel([("intent", ASCENDING)], name="asked", partialFilterExpression={"intent": {"$type": "string"}}),
        # Ends that are not counted and cleaned up yet.
        IndexModel([("settled", ASCENDING)], name="unsettled", partialFilterExpression={"settled": False}),
        # GET task/over/all, and what is older than so many days.
        IndexModel([("ended_at", DESCENDING), ("_id", DESCENDING)], name="over_by_end", partialFilterExpression=_ENDED),
        # What was over for so long that it is archived; what is archived has left it.
        IndexModel(
            [("ended_at", ASCENDING)], name="over_by_age", partialFilterExpression={"status": lifecycle.TaskStatus.OVER}
        ),
        # The watcher's list of what is to be removed.
        IndexModel([("purge", ASCENDING)], name="to_purge", partialFilterExpression={"purge": {"$type": "string"}}),
        # The tasks whose owners are to get a mail.
        IndexModel(
            [("told", ASCENDING), ("status", ASCENDING)],
            name="to_tell",
            partialFilterExpression={"told": {"$type": "int"}},
        ),
        # Which array has a child with this id, and the last id of all.
        IndexModel([("array.first_id", DESCENDING)], name="arrays", partialFilterExpression=ARRAYS),
        # The arrays that are not over: the scheduler makes their children; those of a user, for the limits.
        IndexModel(
            [("status", ASCENDING), ("user.id", ASCENDING), ("array.first_id", ASCENDING)],
            name="open_arrays",
            partialFilterExpression={**PARENTS, **_ACTIVE},
        ),
        # Where the children of an array are: counted from the index alone.
        IndexModel(
            [("member.parent", ASCENDING), ("status", ASCENDING)], name="by_parent", partialFilterExpression=CHILDREN
        ),
        # Who waits for whom.
        IndexModel([("waiting_on", ASCENDING)], name="waiting_on", partialFilterExpression=GATED),
        # GET image.
        IndexModel([("spec.image", ASCENDING)], name="by_image"),
        # GET task/status/{status}/count, and GET task/active/all.
        IndexModel([("status", ASCENDING), *_NEWEST], name="active_by_status", partialFilterExpression=_ACTIVE),
    ],
    "outbox": [
        # The mails that wait.
        IndexModel(
            [("due", ASCENDING), ("at", ASCENDING)], name="due", partialFilterExpression={"due": {"$type": "date"}}
        ),
        # Those that were sent or given up go after a while.
        IndexModel([("done_at", ASCENDING)], name="done", expireAfterSeconds=outbox.KEEP),
    ],
    "receipts": [
        # They go after a day.
        IndexModel([("at", ASCENDING)], name="old", expireAfterSeconds=receipts.KEEP),
    ],
    "usage": [
        # A user's and a project's sums over a window of days.
        IndexModel([("user", ASCENDING), ("ended_at", DESCENDING)], name="by_user"),
        IndexModel([("project", ASCENDING), ("ended_at", DESCENDING)], name="by_project"),
        # The sums of the window of all users and projects, for fair share; it covers that query.
        IndexModel(
            [(name, ASCENDING) for name in ("ended_at", "user", "project", "seconds", "cpu", "ram")], name="by_end"
        ),
    ],
    "projects": [
        # GET project of an owner, and the projects that a user is in.
        IndexModel([("owner", ASCENDING)], name="by_owner"),
        IndexModel([("members", ASCENDING)], name="by_member"),
    ],
    "recipes": [
        # GET marketplace/recipe: the public ones, and one's own.
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
        # The next free uid.
        IndexModel([("uid", DESCENDING)], name="by_uid"),
    ],
}


def active(statuses: Collection[lifecycle.TaskStatus]) -> dict[str, Any]:
    """
    The condition that a task is in one of `statuses`, of which none is an end. It repeats the filter of the partial
    indexes: MongoDB 6.0 takes one only where it reads its filter, and does not conclude it from fewer values.
    """
    return {"$and": [{"status": {"$in": sorted(statuses)}}, _ACTIVE]}


_CHANGED = frozenset({85, 86})  #: server codes: an index of that name is there and looks different


@connection.translated
async def ensure(database: connection.Database) -> None:
    """
    Create the indexes that are missing, and those anew whose definition has changed. Doing it again, or from several
    processes, is fine.
    """
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
        log.warning("index.made_anew", collection=collection.name, index=name)
        await collection.drop_index(name)
        await collection.create_indexes([model])
