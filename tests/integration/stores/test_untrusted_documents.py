"""Malformed documents in the database: services live, other tasks run, and each is reported and counted."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import bson
import pytest
import structlog

from shared import clock
from shared.lifecycle import TaskStatus
from shared.models.app_token import AppToken
from shared.models.node import Node, StoredReason
from shared.models.project import Project
from shared.models.recipe import Recipe
from shared.models.task import Array, Dependencies
from shared.models.user import Deletion, User
from shared.rules import arrays
from shared.store import reading
from tests.integration.conftest import Scene
from tests.support import samples
from tests.support.harness.gateway import Gateway

pytestmark = [pytest.mark.stores, pytest.mark.timeout(600)]

OTHERS: list[Any] = [
    "x",
    "",
    None,
    True,
    [],
    [1],
    ["x", None],
    {},
    {"a": {"b": 1}},
    float("nan"),
    float("-inf"),
    b"\xff\x00",
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    bson.ObjectId(),
    bson.Regex("x"),
    bson.Timestamp(1, 1),
    bson.Decimal128("1"),
    bson.MaxKey(),
]
ROUNDS = 8
#: Fields that the rest of the test needs, or that may well stop a system.
KEPT = {"_id"}


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Return dotted names of all fields, nested ones too."""
    for name, inner in value.items():
        if name not in KEPT:
            yield prefix + name
        if isinstance(inner, dict):
            yield from paths(inner, f"{prefix}{name}.")


def everything(first: int) -> dict[str, list[dict[str, Any]]]:
    """Return one document of each kind that a system may hold, with ids from `first` on."""
    now = clock.now()
    kinds: list[tuple[TaskStatus, dict[str, Any]]] = [
        (TaskStatus.PENDING, {"cpu": 10_000.0}),
        (TaskStatus.PENDING, {"waiting_on": [first + 1], "depends": Dependencies(ok=[first + 1])}),
        (TaskStatus.PENDING, {"intent": "kill", "intent_at": now}),
        (TaskStatus.CREATED, {}),
        (TaskStatus.STARTING, {"placement": samples.placement(), "attempt": 1}),
        (TaskStatus.RUNNING, {"placement": samples.placement(), "attempt": 1, "started_at": now, "lifespan": 600}),
        (TaskStatus.RUNNING, {"placement": samples.placement(), "attempt": 1, "started_at": now, "intent": "kill"}),
        (TaskStatus.OVER, {"placement": samples.placement(), "attempt": 1, "started_at": now, "ended_at": now}),
        (TaskStatus.ARCHIVED, {"purge": "files", "started_at": now - 9, "ended_at": now, "settled": True}),
        (TaskStatus.OVER, {"purge": "all", "started_at": now - 9, "ended_at": now, "settled": True}),
        (TaskStatus.OVER, {"told": 0, "notify_email": True, "started_at": now - 9, "ended_at": now, "settled": True}),
    ]
    tasks = [samples.task(first + n, status, at=now, user="bob", **fields) for n, (status, fields) in enumerate(kinds)]
    made = first + len(tasks)
    array = Array(start=1, end=3, step=1, count=3, first_id=made + 1, made=1)
    parent = samples.task(made, at=now, user="bob", array=array, cpu=10_000.0)
    children = arrays.documents(parent, range(1), now=now)
    rows = [
        {"_id": f"{first}-1", "task": first, "attempt": 1, "user": "bob", "project": "lab", "started_at": now - 9}
        | {"ended_at": now, "day": clock.day(now), "cpu": 1.0, "ram": 1.0, "gpus": 0, "seconds": 9.0}
    ]
    return {
        "tasks": [*(task.document() for task in tasks), parent.document(), *children],
        "users": [samples.user(f"user{first}").model_dump(by_alias=True)],
        "projects": [Project(id=f"lab{first}", owner="bob", members=["alice"]).model_dump(by_alias=True)],
        "nodes": [Node(id=f"n{first}", executor="fake", ready=True, cpus=1, memory=1, checked_at=now).model_dump()],
        "usage": rows,
        "verdicts": [StoredReason(id=f"shape-{first}", reason="x", at=now).model_dump()],
        "deletions": [Deletion(id=f"gone{first}", asked_by="admin", asked_at=now).model_dump()],
        "silences": [
            {"_id": f"s{first}", "since": now, "at": now, "seconds": 1.0, "tries": 1, "reason": "x"},
            {"_id": samples.NODE, "since": now, "at": now, "seconds": 0.1, "tries": 1, "reason": "x"},
        ],
        "hosts": [
            {"_id": f"h{first}", "node": {"name": f"h{first}", "host": "tcp://127.0.0.1:1"}, "by": "x", "at": now}
        ],
        "maintenance": [{"_id": f"m{first}", "by": "admin", "at": now}],
        "recipes": [
            Recipe(
                id=f"r{first}", description="x", task=1, public=True, owner="b", spec={}, created_at=now
            ).model_dump()
        ],
        "app_tokens": [
            AppToken(id=f"t{first}", user="alice", name="x", hash=f"h{first}", created_at=now).model_dump(by_alias=True)
        ],
    }


async def put_odd(gateway: Gateway, chance: random.Random, first: int) -> dict[str, set[Any]]:
    """Store such documents with some fields of another type, and return their ids."""
    odd: dict[str, set[Any]] = {}
    for name, documents in everything(first).items():
        for document in documents:
            key = document.pop("id", None)
            document.setdefault("_id", key)
            found = sorted(paths(document))
            for path in chance.sample(found, min(chance.choice([1, 1, 2, 4, 99]), len(found))):
                with contextlib.suppress(TypeError, AttributeError):  # its parent is something else by now
                    samples.put(document, path, copy.deepcopy(chance.choice(OTHERS)))
            with contextlib.suppress(Exception):  # the server rejects it too: an index, or a duplicate
                await gateway.stores.database[name].replace_one({"_id": document["_id"]}, document, upsert=True)
                odd.setdefault(name, set()).add(document["_id"])
    lease = chance.choice(["scheduler", f"node:{samples.NODE}"])
    field = chance.choice(["holder", "epoch", "expires_at", "url"])
    await gateway.stores.database["leases"].update_one({"_id": lease}, {"$set": {field: chance.choice(OTHERS)}})
    return odd


@pytest.fixture
async def alice(gateway: Gateway) -> User:
    await gateway.add_user("bob")
    return await gateway.add_user("alice", admin=True)


@contextlib.asynccontextmanager
async def living(scene: Scene) -> AsyncIterator[list[asyncio.Task[None]]]:
    stop = asyncio.Event()
    work = [
        asyncio.create_task(service.run(stop), name=type(service).__name__)
        for service in (scene.scheduler(), scene.watcher())
    ]
    try:
        yield work
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*work), 60)


READS = ["/task/active", "/task/active/all", "/task/over", "/task/over/all", "/task/over?draw=1&orderBy=name", "/user"]
READS += [
    "/project",
    "/image",
    "/usage",
    "/user/alice/usage",
    "/user/alice/project",
    "/marketplace/recipe",
    "/app/token",
]
READS += ["/task/status/all/count", "/task/status/pending/count", "/config"]


@pytest.mark.parametrize("seed", range(3))
async def test_malformed_documents_stop_no_service(scene: Scene, gateway: Gateway, alice: User, seed: int) -> None:
    await scene.stores.ensure_indexes()
    chance = random.Random(seed)
    with structlog.testing.capture_logs() as events:
        async with living(scene) as work:
            for number in range(ROUNDS):
                first, well = 1000 * (number + 1), 100_000 + number
                odd = await put_odd(gateway, chance, first)
                await scene.add(well)
                await scene.until(TaskStatus.OVER, well, timeout=60)
                assert not any(one.done() for one in work)
                for path in READS:
                    answer = await gateway.ask("GET", path, alice)
                    assert answer.status_code == 200, (path, answer.text)
                for task_id in odd.get("tasks", ()):
                    answer = await gateway.ask("GET", f"/task/{task_id}", alice)
                    assert answer.status_code in (200, 404), answer.text
                broke = [event for event in events if event["event"] in ("service.loop_failed", "node.watch_broke")]
                assert not broke, broke[0]
    told = [event for event in events if event["event"] in ("task.unreadable", "document.unreadable")]
    assert told
    names = [(event.get("collection", "tasks"), event.get("id", event.get("task_id"))) for event in told]
    assert len(names) == len(set(names))  # each once


async def test_a_malformed_document_is_reported_once_and_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_next_report", {})
    await scene.stores.database["users"].insert_one({"_id": "odd", "uid": "x"})
    with structlog.testing.capture_logs() as events:
        for _ in range(3):
            assert await scene.stores.users.get("odd") is None
            assert await scene.stores.users.list() == []
    assert [(event["event"], event["collection"], event["id"]) for event in events] == [
        ("document.unreadable", "users", "odd")
    ]
