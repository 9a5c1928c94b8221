"""
Load generator that inserts documents one by one as fast as MongoDB accepts them, in its own process:
`python -m benchmarks.loads.inserts`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import pymongo

from benchmarks import tasks
from shared.lifecycle import TaskStatus
from shared.models.task import Spec, Task, TaskUser, shape_of

COLLECTION = "benchmark_inserts"
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Order:
    url: str
    database: str
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Inserted:
    count: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def run(order: Order) -> Inserted:
    """Insert from a new process and wait for it. Raises `subprocess.SubprocessError`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loads.inserts"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return Inserted(**json.loads(done.stdout))


def _document(number: int) -> dict[str, Any]:
    """Return a document as large as a stored task."""
    spec = Spec(name="benchmark", cpu=1, ram=0.1, image=tasks.IMAGE, cmd="/bin/true")
    return Task(
        id=number,
        status=TaskStatus.PENDING,
        status_at=0,
        submitted_at=0,
        queued_at=0,
        user=TaskUser(id="admin", uid=0, gid=0),
        spec=spec,
        shape=shape_of(spec),
        submission="0" * 32,
        history=[{"at": 0.0, "status": "pending", "attempt": 0, "note": None}],
    ).document()


def _insert(order: Order) -> Inserted:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        order.url, w="majority", journal=True, maxPoolSize=order.connections
    )
    collection = client[order.database][COLLECTION]
    collection.drop()
    template, numbers = _document(0), itertools.count(1)
    began = time.perf_counter()

    def insert() -> None:
        while time.perf_counter() - began < order.seconds:
            collection.insert_one({**template, "_id": next(numbers)})

    threads = [threading.Thread(target=insert) for _ in range(order.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    count = collection.estimated_document_count()
    collection.drop()
    client.close()
    return Inserted(count, seconds)


if __name__ == "__main__":
    json.dump(asdict(_insert(Order(**json.load(sys.stdin)))), sys.stdout)
