"""Every query that a loop or a user waits for uses an index, on a real MongoDB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
import pymongo.monitoring
import pytest
from pymongo import ASCENDING, IndexModel

from shared.lifecycle import PLACED, Ending, Intent, TaskStatus
from shared.models.node import Node, StoredReason
from shared.models.task import Array, Member
from shared.settings import Settings
from shared.store import indexes
from shared.store.stores import Stores
from shared.store.tasks.lists import Filter, Stream
from shared.store.usage_views import UsageViews
from tests.support import samples

pytestmark = pytest.mark.stores


async def names(opened: Stores, collection: str) -> set[str]:
    return set(await opened.database[collection].index_information())


async def test_indexes_can_be_ensured_twice(indexed: Stores) -> None:
    before = await names(indexed, "tasks")
    await indexed.ensure_indexes()
    assert await names(indexed, "tasks") == before
    assert before == {"_id_", *(model.document["name"] for model in indexes.INDEXES["tasks"])}


async def test_an_index_with_a_changed_definition_is_replaced(indexed: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = indexed.database["tasks"]
    await tasks.drop_index("by_image")
    await tasks.create_index([("spec.name", ASCENDING)], name="by_image")  # other keys
    await tasks.drop_index("unsettled")
    await tasks.create_index([("settled", ASCENDING)], name="unsettled")  # another filter
    await indexed.ensure_indexes()
    found = await tasks.index_information()
    assert found["by_image"]["key"] == [("spec.image", 1)]
    assert found["unsettled"]["partialFilterExpression"] == {"settled": False}


async def test_a_new_index_is_added_to_existing_ones(indexed: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    new = IndexModel([("project", ASCENDING)], name="by_project")
    monkeypatch.setitem(indexes.INDEXES, "tasks", [*indexes.INDEXES["tasks"], new])
    await indexed.ensure_indexes()
    assert "by_project" in await names(indexed, "tasks")


# --- plans ---------------------------------------------------------------------------------------

Query = Callable[[Stores], Awaitable[Any]]


async def every(tasks: Stream) -> list[Any]:
    return [task async for task in tasks]


#: Each frequent query and the index it must use (None: the one of ids).
HOT: dict[str, tuple[str | None, Query]] = {
    "the book": ("pending_by_age", lambda s: s.work.pending_ids()),
    "the book since": ("pending_by_age", lambda s: s.work.pending_ids(since=samples.NOW)),
    "pending of ids": (None, lambda s: s.work.pending_of([1, 2, 3])),
    "placed on a node": ("placed_by_node", lambda s: s.work.placed("node1")),
    "placed anywhere": ("active_by_status", lambda s: s.work.placed()),
    "placed of ids": (None, lambda s: s.work.placed_of([1, 2, 3])),
    "whole of ids": (None, lambda s: s.work.whole([1, 2, 3])),
    "attempts of ids": (None, lambda s: s.work.attempts([1, 2, 3])),
    "kills of waiting": ("asked active_by_status", lambda s: s.work.kills_of_waiting()),
    "asked on a node": ("asked placed_by_node", lambda s: s.work.asked_on("node1")),
    "nodes in use": ("active_by_status placed_by_node unsettled", lambda s: s.work.nodes_in_use()),
    "unsettled": ("unsettled", lambda s: s.work.unsettled("node1", limit=10)),
    "a task": (None, lambda s: s.views.get(1)),
    "active of a user": ("active_by_user", lambda s: every(s.lists.active("user1"))),
    "active of a project": ("active_by_user", lambda s: every(s.lists.active("user1", project="default"))),
    "active of all": ("active_by_status", lambda s: every(s.lists.active(None))),
    "old ones": ("over_by_age", lambda s: s.work.over_before(samples.NOW, limit=10)),
    "over of all": ("over_by_end", lambda s: every(s.lists.over(Filter(None), limit=5))),
    "to be purged": ("to_purge", lambda s: s.work.to_purge(limit=5)),
    "over of a user": ("over_by_user", lambda s: every(s.lists.over(Filter("user1"), limit=5))),
    "waiting of a user": ("active_by_user open_arrays", lambda s: s.views.count_waiting("user1", at_most=10)),
    "waiting of all": ("active_by_status open_arrays", lambda s: s.views.count_waiting(None, at_most=10)),
    "count of pending": ("active_by_status pending_by_age open_arrays", lambda s: s.views.count({TaskStatus.PENDING})),
    "count of pending and starting": (
        "active_by_status open_arrays",
        lambda s: s.views.count({TaskStatus.PENDING, TaskStatus.STARTING}),
    ),
    "count of running": ("active_by_status", lambda s: s.views.count({TaskStatus.RUNNING})),
    "count of kills": ("asked", lambda s: s.views.count_kills()),
    "images": ("by_image", lambda s: s.views.images()),
    "an image": ("by_image", lambda s: s.views.image("busybox:latest")),
    "a child that is not made": ("arrays _id_", lambda s: s.views.get(100_000)),
    "open arrays": ("open_arrays", lambda s: s.arrays.open()),
    "children that are not made": ("open_arrays", lambda s: s.arrays.count_unmade(None)),
    "children of a user that are not made": ("open_arrays active_by_user", lambda s: s.arrays.count_unmade("user1")),
    "where children are": ("by_parent", lambda s: s.arrays.child_counts([601])),
    "whether children are active": ("by_parent", lambda s: s.arrays.has_active(601)),
    "wishes for all children": ("by_parent", lambda s: s.arrays.ask_children(601, Intent.RESUME, at=1)),
    "how children ended": ("by_parent", lambda s: s.arrays.result(601, named=3)),
    "who waits for others": ("waiting_on", lambda s: s.dependencies.gated()),
    "who waits for these": ("waiting_on", lambda s: s.dependencies.followers([1, 2])),
    "used": ("active_by_status", lambda s: s.views.used()),
    "what runs, by owner": ("active_by_status", lambda s: UsageViews(s.database).running(at=samples.NOW)),
}


@pytest.fixture
async def filled(indexed: Stores) -> Stores:
    """Many ended tasks and a few of everything else, as in a system that has run for a while."""
    tasks = []
    for number in range(1, 601):
        fields: dict[str, Any] = {
            "user": f"user{number % 3}",
            "image": f"image{number % 7}",
            "at": samples.NOW + number,
        }
        status = TaskStatus.OVER
        if number % 20 == 0:
            status = [TaskStatus.CREATED, TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING][number // 20 % 4]
        if status in PLACED:
            fields["placement"] = samples.placement(f"node{number % 3}")
        if status is TaskStatus.OVER:
            fields |= {"ended_at": samples.NOW + number, "ending": Ending.EXITED, "settled": number % 100 != 0}
        elif number % 100 == 0:
            fields["intent"] = Intent.KILL
        tasks.append(samples.task(number, status, **fields))
    array = Array(start=1, end=50, step=1, count=50, first_id=602, made=40)
    tasks.append(samples.task(601, array=array))
    member = {"parent": 601, "first": 1, "last": 50, "step": 1}
    tasks += [samples.task(601 + n, member=Member(index=n, **member)) for n in range(1, 41)]
    # Many ended arrays, and a few tasks with dependencies.
    for number in range(200):
        array = Array(start=1, end=1, step=1, count=1, first_id=2001 + 2 * number, made=1, over=1)
        tasks.append(samples.task(2000 + 2 * number, TaskStatus.OVER, array=array, ended_at=samples.NOW))
    tasks += [samples.task(3000 + n, waiting_on=[n]) for n in range(1, 6)]
    await indexed.tasks.insert(tasks)
    return indexed


@contextmanager
def profiled(settings: Settings) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Operations on `tasks`, by the server's profiler."""
    with pymongo.MongoClient(settings.mongo_url) as client:
        database = client[settings.mongo_db]
        database["system.profile"].drop()
        database.command("profile", 2)
        try:
            yield lambda: list(database["system.profile"].find({"ns": f"{settings.mongo_db}.tasks"}))
        finally:
            database.command("profile", 0)


async def test_every_hot_query_is_answered_from_its_index(filled: Stores, settings: Settings) -> None:
    known = await filled.database["tasks"].index_information()
    plans = {name: await _plans_of(name, filled, settings, known) for name in HOT}
    expected = {name: set(index.split()) if index else {"_id_"} for name, (index, _) in HOT.items()}
    assert {name: used for name, used in plans.items() if not used or not used <= expected[name]} == {}


async def _plans_of(name: str, filled: Stores, settings: Settings, known: dict[str, Any]) -> set[str]:
    """Return the indexes, or `COLLSCAN`, that the server used for a query."""
    with profiled(settings) as operations:
        await HOT[name][1](filled)
        done = operations()
    if name.startswith("the book"):
        assert sum(operation["docsExamined"] for operation in done) == 0, f"{name} reads documents"
    return {_index_of(operation["planSummary"], known) for operation in done}


def _index_of(plan: str, known: dict[str, Any]) -> str:
    """Return the index of a plan's summary, `IXSCAN { status: 1 }`."""
    if "COLLSCAN" in plan:
        return plan
    if plan.startswith(("IDHACK", "EXPRESS", "CLUSTERED")):
        return "_id_"
    by_keys = {", ".join(f"{name}: {way}" for name, way in index["key"]): key for key, index in known.items()}
    keys = plan.split("{", 1)[1].split("}")[0].strip()
    return by_keys[keys]


async def test_the_last_tasks_that_are_over_are_not_sorted_in_memory(filled: Stores, settings: Settings) -> None:
    with profiled(settings) as operations:
        found = await every(filled.lists.over(Filter("user1"), limit=5))
        (operation,) = operations()
    assert [task.ended_at for task in found] == sorted((task.ended_at for task in found), reverse=True)
    assert not operation.get("hasSortStage")
    assert operation["docsExamined"] == 5


async def test_the_cost_of_a_users_active_tasks_does_not_depend_on_ended_ones(
    filled: Stores, settings: Settings
) -> None:
    with profiled(settings) as operations:
        found = await every(filled.lists.active("user1"))
        (operation,) = operations()
    assert [task.id for task in found] == sorted((task.id for task in found), reverse=True)
    assert operation["docsExamined"] == len(found)


# --- nodes and verdicts ----------------------------------------------------------------------------


async def test_a_stored_reason_is_replaced_and_removed_once_its_shape_is_placed(opened: Stores) -> None:
    def verdict(shape: str, at: float) -> StoredReason:
        return StoredReason(id=shape, reason=f"reason at {at:g}", at=at)

    await opened.pending_reasons.put([verdict("a", 1), verdict("b", 1)], placed=[])
    await opened.pending_reasons.put([verdict("a", 2)], placed=["b", "never there"])
    await opened.pending_reasons.put([], placed=[])
    assert await opened.pending_reasons.get_many(["a", "b", "c"]) == {"a": verdict("a", 2)}


async def test_a_node_that_is_no_longer_configured_is_removed_and_a_reason_ends_with_its_cause(opened: Stores) -> None:
    def node(name: str, reason: str | None = None) -> Node:
        return Node(id=name, executor="fake", ready=reason is None, reason=reason, cpus=1, memory=1, checked_at=1.0)

    await opened.nodes.put_many([node("n1", "silent"), node("n2")])
    assert [(found.id, found.ready, found.reason) for found in await opened.nodes.list()] == [
        ("n1", False, "silent"),
        ("n2", True, None),
    ]
    await opened.nodes.put_many([node("n1")])
    assert [(found.id, found.ready, found.reason) for found in await opened.nodes.list()] == [("n1", True, None)]


async def test_an_unreachable_node_keeps_the_time_it_was_last_seen(opened: Stores) -> None:
    seen = Node(id="n1", executor="fake", ready=True, cpus=1, memory=1, checked_at=1.0, seen_at=1.0)
    await opened.nodes.put_many([seen])
    await opened.nodes.put_many([seen.model_copy(update={"ready": False, "checked_at": 2.0, "seen_at": None})])
    (found,) = await opened.nodes.list()
    assert (found.checked_at, found.seen_at) == (2.0, 1.0)
