"""Tasks per second from submission to over with a large backlog, compared with an empty queue."""

from __future__ import annotations

import json
import time

import pymongo

from benchmarks import tasks
from benchmarks.bench import Bench
from benchmarks.loads import stock, submits
from benchmarks.results import Row
from benchmarks.systems import processes, simulated
from benchmarks.systems.gateway import Gateway, NotDone
from shared.lifecycle import ENDED
from tests.support.harness.system import System

TITLE = "Throughput beside a backlog, simulated executor"
LIMIT = 200.0

_CONNECTIONS = 64
_LOOK = 0.05  #: seconds between two looks at what is left
#: One occupied node that the whole backlog waits for, and others with capacity only for tasks with little memory.
_NODES = [
    {"name": "taken", "cpus": 8, "memory": 64},
    *({"name": f"small{number}", "cpus": 1024, "memory": 1.9} for number in range(20)),
]
_ENVIRONMENT = {"GODOCKER_NODES": json.dumps(_NODES)}


def run(bench: Bench) -> None:
    count, backlog = bench.size(5000, 500), bench.size(100_000, 5_000)
    empty = _rate(bench, count, 0)
    beside = _rate(bench, count, backlog)
    bench.add(
        Row(
            f"{count} tasks with {backlog:,} others of {stock.USERS} users pending, one gateway process",
            round(beside, 1),
            "tasks/s",
            compared=f"{beside / empty:.2f} of {empty:.0f} tasks/s with an empty queue",
            details={"empty": round(empty, 1), "ratio": round(beside / empty, 3), "backlog": backlog, "tasks": count},
        )
    )
    bench.remark(simulated.REMARK)


def _rate(bench: Bench, count: int, backlog: int) -> float:
    """Return tasks per second with `backlog` pending tasks."""
    with simulated.running(environment=_ENVIRONMENT) as system, Gateway(system) as gateway:
        settings = system.settings()
        if backlog:
            bench.say(f"storing {backlog:,} tasks")
            # Submitted a while ago: the running scheduler would find recent tasks and place some of them.
            sent_at = time.time() - 60
            stock.fill(stock.Order(settings.mongo_url, settings.mongo_db, backlog, backlog, sent_at, running=0.0))
        last = gateway.submit(tasks.typical("sleep 100000", cpu=8, ram=60))
        gateway.wait_status(last, "running", poll=_LOOK)
        if backlog:
            system.kill("scheduler")  # the next one finds the backlog when it takes over
        gateway.wait_status(gateway.submit(tasks.typical()), "over", poll=_LOOK, timeout=60)
        submits.run(submits.Order(gateway.url, gateway.token, _CONNECTIONS, count=100))
        _wait_over(system, last, timeout=30)
        _check_backlog(gateway, backlog)
        before = processes.cpu_seconds(system)
        sent = submits.run(submits.Order(gateway.url, gateway.token, _CONNECTIONS, count=count))
        seconds = _wait_over(system, last, timeout=90) - sent.began
        shares = processes.cpu_shares(before, processes.cpu_seconds(system), seconds)
        gateway.check_ended_well(count)
        _check_backlog(gateway, backlog)
    busiest = ", ".join(f"{name} {share:.2f}" for name, share in list(shares.items())[:5])
    bench.remark(f"cores in use with {backlog:,} pending: {busiest}; accepted at {sent.rate:.0f}/s")
    return count / seconds


def _wait_over(system: System, last: int, *, timeout: float) -> float:
    """
    Return when (seconds since the epoch) all tasks after `last` were over. The store is queried by number, since counting the
    backlog repeatedly would cost more than the measured work. Raises `NotDone`.
    """
    settings = system.settings()
    left = {"_id": {"$gt": last}, "status": {"$nin": sorted(ENDED)}}
    deadline = time.monotonic() + timeout
    with pymongo.MongoClient[dict[str, object]](settings.mongo_url) as client:
        found = client[settings.mongo_db]["tasks"]
        while found.find_one(left, {"_id": 1}, hint="_id_") is not None:
            if time.monotonic() > deadline:
                raise NotDone(f"tasks after {last} are not over after {timeout:g} s")
            time.sleep(_LOOK)
    return time.time()


def _check_backlog(gateway: Gateway, backlog: int) -> None:
    """Raise `NotDone` unless the backlog, and nothing else, is pending."""
    pending = int(gateway.ask("GET", "/task/status/pending/count")["total"])
    if pending != backlog:
        raise NotDone(f"{pending} tasks are pending, not {backlog}")
