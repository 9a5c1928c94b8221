"""One planning pass over 100,000 pending tasks, 1,000 nodes and 200 users."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.results import Row, Target
from services.scheduler import cycle, placement, standings
from services.scheduler.cluster import Allocation, Cluster
from services.scheduler.pending import Book
from services.scheduler.policies import registry
from shared.executors.base import NodeReport
from shared.settings import Settings
from shared.store.standings import Priorities, Taken
from shared.store.work import GB, Pending

TITLE = "One planning pass"
LIMIT = 60.0

_PENDING, _NODES, _USERS, _PROJECTS = 100_000, 1_000, 200, 20
_CPUS, _MEMORY = 16.0, 64 * GB  #: of a node
_TARGET = Target(100.0, at_least=False, words="at most 100 ms")
_USUAL = [(cpu, ram) for cpu in (1, 2, 4, 8) for ram in (1, 2, 4, 8, 16)]
_SEED = 20
_NOW = 1_700_000_000.0


def run(bench: Bench) -> None:
    usual = _book(_USUAL)
    # Nobody is kept from asking for 1.001 GB, 1.002 GB and so on: a shape costs a reason of its own.
    odd = _book([(1, 1 + number / 1000) for number in range(5_000)])
    for policy in ("fifo", "fairshare"):
        _measure(bench, policy, "full cluster, nothing fits", usual, _full())
        _measure(bench, policy, "empty cluster", usual, _empty())
        _measure(bench, policy, "full cluster, 5,000 different shapes", odd, _full())


def _measure(bench: Bench, name: str, what: str, book: Book, cluster: Cluster) -> None:
    policy, used = registry.build(Settings(scheduler_policy=name)), _used()
    times: list[float] = []
    placed = refused = 0
    for _ in range(bench.size(15, 5)):
        began = time.perf_counter()
        turns = policy.begin(book.lanes, standings.view(used, (), now=_NOW))
        plan = placement.plan(turns, cluster.snapshot(), limit=cycle.PLACEMENTS)
        times.append(time.perf_counter() - began)
        placed, refused = len(plan.placements), len(plan.unplaced)
    details = samples.milliseconds(times)
    bench.add(
        Row(
            f"{_PENDING:,} pending, {_NODES:,} nodes, {_USERS} users, {name}: {what}",
            details["p50_ms"],
            "ms",
            spread=f"{details['min_ms']:g}–{details['max_ms']:g} ms, {len(times)} passes",
            compared=f"{placed} placed, {refused} shapes without room",
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
        user = dice.randrange(_USERS)
        tasks.append(
            Pending(
                number,
                0,
                f"user{user}",
                f"project{user % _PROJECTS}",
                f"cpu={cpu:g} ram={ram:g}",
                cpu,
                round(ram * GB),
                _NOW - _PENDING + number,
            )
        )
    book.add(tasks)
    return book


def _used() -> standings.Snapshot:
    """What users took in a month, and run now, each a little more than the last."""
    users = [(f"user{number}", f"project{number % _PROJECTS}", 1 + number / _USERS) for number in range(_USERS)]
    hours = 3600.0 * 720
    return standings.Snapshot(
        _NOW,
        tuple(Taken(user, project, 500, hours * more, hours * more, hours * more) for user, project, more in users),
        tuple(Taken(user, project, 40, hours * more, hours, hours, 80.0, 160.0) for user, project, more in users),
        Priorities({user: 100 * (more - 1) for user, _, more in users}, {}),
    )


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
