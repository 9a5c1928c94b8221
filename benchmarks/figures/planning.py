"""Planning passes over books and clusters of all sizes, under both policies, and memory per pending task."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.results import Row, Target
from services.scheduler import cycle
from services.scheduler.cluster import Cluster
from services.scheduler.placement import planning
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation
from services.scheduler.placement.planning import Plan, Terms
from services.scheduler.policies import registry, usage_view
from services.scheduler.queue.book import Book
from services.scheduler.why_pending.refresh import ShapeReasons
from shared.executors.types import NodeReport
from shared.models.usage_sums import Priorities, UsageSum
from shared.models.work import Pending
from shared.settings import Settings
from shared.units.sizes import GB

TITLE = "One planning pass"
LIMIT = 120.0

_PENDING, _NODES = (1_000, 10_000, 100_000, 1_000_000), (10, 100, 1_000)
_QUICK_PENDING, _QUICK_NODES = (1_000, 100_000), (10, 1_000)
_USERS, _PROJECTS = 200, 20
_CPUS, _MEMORY = 16.0, 64 * GB  #: of a node
_TARGET = Target(100.0, at_least=False, words="at most 100 ms")
_TARGET_OF = (100_000, 1_000)  #: pending and nodes that the target speaks of
_USUAL = [(cpu, ram) for cpu in (1, 2, 4, 8) for ram in (1, 2, 4, 8, 16)]
_SEED = 20
_NOW = 1_700_000_000.0
_POLICIES = ("fifo", "fairshare")


def run(bench: Bench) -> None:
    for pending in _QUICK_PENDING if bench.quick else _PENDING:
        book = _weighed(bench, pending)
        for nodes in _QUICK_NODES if bench.quick else _NODES:
            for policy in _POLICIES:
                _measure(bench, policy, book, nodes)
        del book
    # Users may request 1.001 GB, 1.002 GB and so on: each shape has its own reason, and almost each task its own lane.
    odd = _book(100_000, [(1, 1 + number / 1000) for number in range(5_000)])
    odd.add([Pending(100_001, 0, "user0", "project0", "all of a node", _CPUS, _MEMORY, _NOW - 1000 * 86400.0)])
    for policy in _POLICIES:
        for cluster, what in (
            (_full(1_000), "full cluster"),
            (_full(1_000, spared=1), "room on the one node that is kept for the head"),
            (_empty(1_000), "empty cluster"),
        ):
            _measure_odd(bench, policy, odd, cluster, what)


def _measure_odd(bench: Bench, policy: str, odd: Book, cluster: Cluster, what: str) -> None:
    times, plan = _passes(bench, policy, odd, cluster)
    details = times.details
    bench.add(
        Row(
            f"100,000 pending in 5,000 different shapes, {len(odd.lanes):,} lanes, 1,000 nodes, {policy}: {what}",
            details["p50_ms"],
            "ms",
            _spread(details),
            f"{len(plan.placements)} placed, {len(plan.unplaced)} shapes without room",
            _TARGET,
            details=details,
        )
    )


def _weighed(bench: Bench, pending: int) -> Book:
    """Return a book, and a row with its memory."""
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    book = _book(pending, _USUAL)
    seconds = time.perf_counter() - began
    taken = psutil.Process().memory_info().rss - before
    if pending >= 100_000:  # less than that is in memory that others left
        what = f"The book of {pending:,} pending tasks, {len(book.lanes):,} lanes"
        spread = f"{taken / 1024**2:.0f} MB in all"
        bench.add(Row(what, round(taken / pending), "bytes per task", spread, f"filled in {seconds:.1f} s"))
    return book


def _measure(bench: Bench, policy: str, book: Book, nodes: int) -> None:
    times, plan = _passes(bench, policy, book, _full(nodes))
    empty_times, empty_plan = _passes(bench, policy, book, _empty(nodes))
    details, empty = times.details, empty_times.details
    placed = len(empty_plan.placements)
    rate = placed / samples.median(empty_times.seconds)
    bench.add(
        Row(
            f"{len(book):,} pending, {nodes:,} nodes, {_USERS} users, {policy}: full cluster, nothing fits",
            details["p50_ms"],
            "ms",
            spread=_spread(details),
            compared=f"empty cluster: {placed} placed in {empty['p50_ms']:g} ms, {rate:,.0f} placements/s; "
            f"{len(plan.unplaced)} shapes without room in the full one",
            target=_TARGET if (len(book), nodes) == _TARGET_OF else None,
            details={**details, "empty": empty, "placed": placed, "placements_per_second": round(rate)},
        )
    )


def _spread(details: dict[str, float]) -> str:
    passes = f"{details['min_ms']:g}–{details['max_ms']:g} ms, {details['samples']} passes"
    return f"{passes}; of the processor at least {details['cpu_min_ms']:g} ms"


@dataclass(slots=True)
class _Times:
    """Duration of each pass in seconds, elapsed and processor time; on a busy machine only the latter is reliable."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def details(self) -> dict[str, float]:
        cpu = samples.milliseconds(self.cpu)
        return {**samples.milliseconds(self.seconds), "cpu_p50_ms": cpu["p50_ms"], "cpu_min_ms": cpu["min_ms"]}


def _passes(bench: Bench, name: str, book: Book, cluster: Cluster) -> tuple[_Times, Plan]:
    """Return the durations of passes including reasons, each with the previous reservation, and the last plan."""
    policy, used = registry.build(Settings(scheduler_policy=name)), _used()
    times, plan = _Times(), Plan()
    for _ in range(bench.size(11, 5)):
        began, cpu = time.perf_counter(), time.process_time()
        nodes = cluster.snapshot()
        turns = policy.begin(book.lanes, usage_view.view(used, (), now=_NOW))
        plan = planning.plan(
            turns, nodes, limit=cycle.PLACEMENTS, terms=Terms(rules=Rules(_NOW, last=plan.reservation))
        )
        ShapeReasons().refresh(plan.unplaced, nodes, now=0.0, reservation=plan.reservation)
        times.cpu.append(time.process_time() - cpu)
        times.seconds.append(time.perf_counter() - began)
    return times, plan


def _book(pending: int, shapes: Sequence[tuple[float, float]]) -> Book:
    dice = random.Random(_SEED)
    owners = [(f"user{number}", f"project{number % _PROJECTS}") for number in range(_USERS)]
    named = [(f"cpu={cpu:g} ram={ram:g}", cpu, round(ram * GB)) for cpu, ram in shapes]
    book = Book()
    tasks = []
    for number in range(1, pending + 1):
        (user, project), (shape, cpu, memory) = dice.choice(owners), dice.choice(named)
        tasks.append(Pending(number, 0, user, project, shape, cpu, memory, _NOW - pending + number))
    book.add(tasks)
    return book


def _used() -> usage_view.Snapshot:
    """Return users' usage of a month and their running tasks, each a little more than the one before."""
    users = [(f"user{number}", f"project{number % _PROJECTS}", 1 + number / _USERS) for number in range(_USERS)]
    hours = 3600.0 * 720
    return usage_view.Snapshot(
        _NOW,
        tuple(UsageSum(user, project, 500, hours * more, hours * more, hours * more) for user, project, more in users),
        tuple(UsageSum(user, project, 40, hours * more, hours, hours, 80.0, 160.0) for user, project, more in users),
        Priorities({user: 100 * (more - 1) for user, _, more in users}, {}),
    )


def _empty(nodes: int) -> Cluster:
    cluster = Cluster()
    cluster.observe(
        NodeReport(f"node{number}", "docker", ready=True, reason=None, cpus=_CPUS, memory=_MEMORY + 4096 * number)
        for number in range(nodes)
    )
    return cluster


def _full(nodes: int, *, spared: int = 0) -> Cluster:
    """Return nodes without free capacity, except that some have seven eighths free."""
    cluster = _empty(nodes)
    for number in range(nodes * 8):
        if number < nodes or number % nodes >= spared:
            cluster.allocate(10_000_000 + number, 1, Allocation(f"node{number % nodes}", _CPUS / 8, _MEMORY // 8))
    return cluster
