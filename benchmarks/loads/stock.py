"""Generator that fills a store with very many tasks, in its own process: `python -m benchmarks.loads.stock`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import pymongo

from benchmarks import tasks
from shared.lifecycle import Ending, TaskStatus
from shared.models.task import Placement, Spec, Task, TaskUser

USERS = 200
BUSIEST = "user000"  #: has a tenth of all that ended
TYPICAL = "user100"
TIMEOUT = 400.0

_DAYS = 45.0  #: over which the tasks were submitted
_DAY = 24 * 3600.0
_BATCH = 2_000
_THREADS = 2
_NODES = 50
_ARCHIVED = 0.2  #: of those that ended
_IMAGES = tuple(f"lab/tool{number}:1.{number % 7}" for number in range(40))


@dataclass(frozen=True, slots=True)
class Order:
    """
    The tasks to store: `active` of `count` are not over, and a fraction `running` of these is running. They were submitted in the
    days before `now`.
    """

    url: str
    database: str
    count: int
    active: int
    now: float
    running: float = 0.1


@dataclass(frozen=True, slots=True)
class Stock:
    """Stored data in bytes: documents, documents on the disk, indexes on the disk."""

    seconds: float
    documents: int
    on_disk: int
    indexes: int


def fill(order: Order) -> Stock:
    """Fill from a new process and wait for it. Raises `subprocess.SubprocessError`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loads.stock"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return Stock(**json.loads(done.stdout))


def empty(order: Order) -> None:
    """Remove the tasks, so that no service misses their runs or starts pending ones."""
    with pymongo.MongoClient[dict[str, Any]](order.url) as client:
        client[order.database]["tasks"].drop()


class _Documents:
    """Creates the documents: one real task per status as a template, with the differing fields changed."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._templates: Mapping[TaskStatus, dict[str, Any]] = {
            status: _template(status).document()
            for status in (TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.OVER, TaskStatus.ARCHIVED)
        }

    def batch(self, first: int) -> list[dict[str, Any]]:
        chance = random.Random(first)
        return [self._one(number, chance) for number in range(first, min(first + _BATCH, self._order.count + 1))]

    def _one(self, number: int, chance: random.Random) -> dict[str, Any]:
        order = self._order
        active = number > order.count - order.active
        status = self._status(active, chance)
        template = self._templates[status]
        submitted = order.now - _DAYS * _DAY * (1 - number / order.count)
        owner = 0 if not active and chance.random() < 0.1 else chance.randrange(USERS)
        cpu = chance.choice((1, 2, 4, 8))
        started, seconds = submitted + chance.uniform(1, 600), chance.expovariate(1 / 1800)
        times = [submitted, started, started + 0.3, started + seconds, started + seconds + _DAY]
        document: dict[str, Any] = {
            **template,
            "_id": number,
            "submitted_at": submitted,
            "queued_at": submitted,
            "user": {**template["user"], "id": f"user{owner:03}", "uid": 20000 + owner, "gid": 20000 + owner},
            "spec": {
                **template["spec"],
                "name": f"align-{chance.randrange(100_000)}",
                "cpu": cpu,
                "ram": 2 * cpu,
                "image": chance.choice(_IMAGES),
            },
            "shape": _shape(cpu),
            "submission": f"{number:032x}",
            "history": [{**entry, "at": at} for entry, at in zip(template["history"], times, strict=False)],
        }
        document["status_at"] = document["history"][-1]["at"]
        if template["placement"]:
            node = f"node{chance.randrange(_NODES)}"
            document |= {"placement": {**template["placement"], "node": node, "at": started}, "started_at": times[2]}
        if template["ended_at"]:
            document |= {"ended_at": times[3], "exit_code": 0 if chance.random() < 0.9 else 1}
        return document

    def _status(self, active: bool, chance: random.Random) -> TaskStatus:
        if active:
            return TaskStatus.RUNNING if chance.random() < self._order.running else TaskStatus.PENDING
        return TaskStatus.ARCHIVED if chance.random() < _ARCHIVED else TaskStatus.OVER


def _shape(cpu: int) -> str:
    return f"cpu={cpu} ram={2 * cpu}"


def _template(status: TaskStatus) -> Task:
    way = [TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER, TaskStatus.ARCHIVED]
    passed = way[: way.index(status) + 1]
    ran, ended = TaskStatus.RUNNING in passed, TaskStatus.OVER in passed
    return Task(
        id=0,
        status=status,
        status_at=1,
        submitted_at=1,
        queued_at=1,
        attempt=int(ran),
        user=TaskUser(id="user", uid=20000, gid=20000, groups=[20000, 30000], home="/home/user"),
        spec=Spec(
            name="align",
            description="one of a million",
            tags=["benchmark", "stock"],
            cpu=1,
            ram=2,
            image=tasks.IMAGE,
            cmd="#!/bin/sh\nset -e\nbwa mem -t 4 reference.fa reads_1.fq.gz reads_2.fq.gz > aligned.sam\n",
        ),
        shape=_shape(1),
        placement=Placement(node="node", executor="simulated", at=1, epoch=1) if ran else None,
        started_at=1 if ran else None,
        ended_at=1 if ended else None,
        exit_code=0 if ended else None,
        ending=Ending.EXITED if ended else None,
        submission="0" * 32,
        history=[
            {"at": 0.0, "status": step, "attempt": int(step is not TaskStatus.PENDING), "note": None} for step in passed
        ],
    )


def _fill(order: Order) -> Stock:
    # Without waiting for the disk, since only later reads are measured.
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(order.url, w=1, journal=False)
    database = client[order.database]
    documents = _Documents(order)
    began = time.perf_counter()

    def insert(first: int) -> None:
        database["tasks"].insert_many(documents.batch(first), ordered=False)

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(insert, range(1, order.count + 1, _BATCH)):
            pass
    database["counters"].update_one({"_id": "task"}, {"$max": {"value": order.count}}, upsert=True)
    client.admin.command("fsync")  # the sizes are those of what is written
    seconds = time.perf_counter() - began
    found = database.command("collStats", "tasks")
    client.close()
    return Stock(seconds, int(found["size"]), int(found["storageSize"]), int(found["totalIndexSize"]))


if __name__ == "__main__":
    json.dump(asdict(_fill(Order(**json.load(sys.stdin)))), sys.stdout)
