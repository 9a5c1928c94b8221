"""One planning pass over 100,000 pending tasks, 1,000 nodes and 200 users."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.results import Row, Target
from services.scheduler import cycle, placement
from services.scheduler.cluster import Allocation, Cluster
from services.scheduler.pending import Book
from services.scheduler.policies.fifo import FifoPass
from shared.executors.base import NodeReport
from shared.store.work import GB, Pending

TITLE = "One planning pass"
LIMIT = 60.0

_PENDING, _NODES, _USERS = 100_000, 1_000, 200
_CPUS, _MEMORY = 16.0, 64 * GB  #: of a node
_TARGET = Target(100.0, at_least=False, words="at most 100 ms")
_USUAL = [(cpu, ram) for cpu in (1, 2, 4, 8) for ram in (1, 2, 4, 8, 16)]
_SEED = 20


def run(bench: Bench) -> None:
    book = _book(_USUAL)
    for what, cluster in (("full cluster, nothing fits", _full()), ("empty cluster", _empty())):
        _measure(bench, what, book, cluster)
    # Nobody is kept from asking for 1.001 GB, 1.002 GB and so on: a shape costs a reason of its own.
    odd = [(1, 1 + number / 1000) for number in range(5_000)]
    _measure(bench, "full cluster, 5,000 different shapes", _book(odd), _full())


def _measure(bench: Bench, what: str, book: Book, cluster: Cluster) -> None:
    times: list[float] = []
    placed = reasons = 0
    for _ in range(bench.size(15, 5)):
        began = time.perf_counter()
        plan = placement.plan(FifoPass(book.lanes), cluster.snapshot(), limit=cycle.PLACEMENTS)
        times.append(time.perf_counter() - began)
        placed, reasons = len(plan.placements), len(plan.reasons)
    details = samples.milliseconds(times)
    bench.add(
        Row(
            f"{_PENDING:,} pending, {_NODES:,} nodes, {_USERS} users: {what}",
            details["p50_ms"],
            "ms",
            spread=f"{details['min_ms']:g}–{details['max_ms']:g} ms, {len(times)} passes",
            compared=f"{placed} placed, {reasons} shapes told why not",
            target=_TARGET,
            details=details,
        )
    )


def _book(shapes: Sequence[tuple[float, float]]) -> Book:
    dice = random.Random(_SEED)
    book = Book()
    tasks = []
    for number in range(1, _PENDING + 1):
        cpu, ram = dice.choice(shapes)
        user = f"user{dice.randrange(_USERS)}"
        tasks.append(
            Pending(number, 0, user, "default", f"cpu={cpu:g} ram={ram:g}", cpu, round(ram * GB), 1_000_000.0 + number)
        )
    book.add(tasks)
    return book


def _empty() -> Cluster:
    cluster = Cluster()
    cluster.observe(
        NodeReport(f"node{number}", "docker", ready=True, reason=None, cpus=_CPUS, memory=_MEMORY + 4096 * number)
        for number in range(_NODES)
    )
    return cluster


def _full() -> Cluster:
    cluster = _empty()
    for number in range(_NODES * 8):
        cluster.allocate(10_000_000 + number, 1, Allocation(f"node{number % _NODES}", _CPUS / 8, _MEMORY // 8))
    return cluster
