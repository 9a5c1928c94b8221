"""Latency of the gateway's answers about tasks with a million tasks stored."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.loads import stock
from benchmarks.results import Row
from benchmarks.systems import processes, simulated
from benchmarks.systems.gateway import Gateway
from godocker.local.embedded import servers
from tests.support.harness.system import System

TITLE = "Questions with a million tasks in the store"
LIMIT = 400.0

_ASLEEP = ("scheduler", "watcher")  #: they would start what waits, and miss the runs of what is running
_SEED = 20
_PAGE = 25
_WARM = 3  #: answers of each question that are not counted


@dataclass(frozen=True, slots=True)
class _Question:
    """A request. `path` is computed for each repetition; `times` is the number of repetitions."""

    what: str
    gateway: Gateway
    path: Callable[[], str]
    times: int
    method: str = "GET"


def run(bench: Bench) -> None:
    count, active = bench.size(1_000_000, 50_000), bench.size(20_000, 1_000)
    with simulated.running() as system, processes.held_still(system, _ASLEEP):
        settings = system.settings()
        order = stock.Order(settings.mongo_url, settings.mongo_db, count, active, time.time())
        try:
            _fill(bench, order)
            _ask(bench, system, order)
        finally:
            stock.empty(order)
    bench.remark("one question after the other over one connection, one gateway process; scheduler and watcher asleep")
    bench.remark(
        f"{stock.BUSIEST} has {order.count // 10:,} tasks, every other user about {order.count // 220:,}; mongod has "
        f"{servers.MONGO_CACHE:g} GB of cache, as `godocker up` starts it"
    )


def _fill(bench: Bench, order: stock.Order) -> None:
    bench.say(f"storing {order.count:,} tasks")
    found = stock.fill(order)
    bench.remark(
        f"{order.count:,} tasks of {stock.USERS} users, {order.active:,} of them active, stored in {found.seconds:.0f} s "
        f"({order.count / found.seconds:.0f}/s): {found.documents / 1e6:.0f} MB of documents; on disk "
        f"{found.on_disk / 1e6:.0f} MB, and {found.indexes / 1e6:.0f} MB of indexes"
    )


def _ask(bench: Bench, system: System, order: stock.Order) -> None:
    keys = {user: system.add_user(user) for user in (stock.TYPICAL, stock.BUSIEST)}
    tokens = {user: system.token(user, key) for user, key in keys.items()}
    with (
        Gateway(system) as admin,
        Gateway(system, tokens[stock.TYPICAL]) as typical,
        Gateway(system, tokens[stock.BUSIEST]) as busiest,
    ):
        for question in (
            *_of_everybody(bench, admin, order),
            *_of_a_user(bench, typical, stock.TYPICAL),
            *_pages(bench, typical, stock.TYPICAL),
            *_pages(bench, busiest, stock.BUSIEST),
        ):
            _measure(bench, question)


def _of_everybody(bench: Bench, admin: Gateway, order: stock.Order) -> list[_Question]:
    chance = random.Random(_SEED)
    return [
        _Question(
            "GET task/{id}, any", admin, lambda: f"/task/{chance.randint(1, order.count)}", bench.size(3000, 300)
        ),
        _Question("GET task/status/running/count", admin, lambda: "/task/status/running/count", bench.size(500, 100)),
        _Question(f"GET task/active/all, {order.active:,}", admin, lambda: "/task/active/all", bench.size(7, 2)),
        _Question("GET task/over/all, the last 100", admin, lambda: "/task/over/all", bench.size(300, 50)),
    ]


def _of_a_user(bench: Bench, gateway: Gateway, user: str) -> list[_Question]:
    times = bench.size(300, 50)
    return [
        _Question(f"GET task/active, {user}, {stock.USERS} users alike", gateway, lambda: "/task/active", times),
        _Question(f"GET task/over, {user}, the last 100", gateway, lambda: "/task/over", times),
        _Question(f"POST task/over/100/100, {user}", gateway, lambda: "/task/over/100/100", times, "POST"),
    ]


def _pages(bench: Bench, gateway: Gateway, user: str) -> list[_Question]:
    chance, times = random.Random(_SEED), bench.size(100, 20)
    page = f"/task/over?draw=1&limit={_PAGE}"
    return [
        _Question(f"page of {_PAGE}, {user}", gateway, lambda: f"{page}&start={chance.randrange(0, 100)}", times),
        _Question(f"page of {_PAGE}, {user}, by name", gateway, lambda: f"{page}&start=50&orderBy=name", times),
        _Question(f"page of {_PAGE}, {user}, what many match", gateway, lambda: f"{page}&regex=tool1", times),
        _Question(
            f"page of {_PAGE}, {user}, what few match",
            gateway,
            lambda: f"{page}&regex=align-{chance.randrange(1000, 9999)}",
            times,
        ),
    ]


def _measure(bench: Bench, question: _Question) -> None:
    taken, size = [], 0
    for number in range(_WARM + question.times):
        path = question.path()
        began = time.perf_counter()
        size = len(question.gateway.fetch(question.method, path))
        if number >= _WARM:
            taken.append(time.perf_counter() - began)
    times = samples.milliseconds(taken)
    bench.add(
        Row(
            question.what,
            times["p50_ms"],
            "ms (p50)",
            spread=f"p99 {times['p99_ms']:g} ms; {times['min_ms']:g}–{times['max_ms']:g} ms, {len(taken)} answers",
            details={**times, "bytes": size},
        )
    )
