"""Durable submissions per second through the Web API, compared with bare inserts into the same MongoDB."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.loads import inserts, submits
from benchmarks.results import Row, Target
from benchmarks.systems import processes, simulated
from benchmarks.systems.gateway import Gateway
from tests.support.harness.system import System

TITLE = "Durable submissions through the Web API"
LIMIT = 150.0

_SLURMRESTD = 341  #: job submissions/s, a published figure for a similar machine
_TARGET = Target(3.0, at_least=True, words="3 times slurmrestd's 341/s")
_CONNECTIONS = (1, 16, 64)
#: No task fits, so only submission is measured, with a scheduler that enters each task into its book.
_TOO_SMALL = {"GODOCKER_NODES": json.dumps([{"name": "small", "cpus": 0.5, "memory": 1}])}
_ASLEEP = ("scheduler", "watcher")


def run(bench: Bench) -> None:
    seconds = 1.0 if bench.quick else 3.0
    for workers in (1, 2):
        arguments = ("--workers", str(workers))
        with (
            simulated.running(*arguments, environment=_TOO_SMALL) as system,
            Gateway(system) as gateway,
        ):
            submits.run(submits.Order(gateway.url, gateway.token, 16, seconds=1.0))
            bare = _bare(bench, system, seconds)
            for connections in _CONNECTIONS:
                _measure(bench, system, gateway, workers, connections, seconds, bare)
            with processes.held_still(system, _ASLEEP):
                for connections in _CONNECTIONS[1:]:
                    _measure(bench, system, gateway, workers, connections, seconds, bare, alone=True)
    bench.remark(
        "every 200 is a document on disk: write concern majority with journal, in the gateway and in the bare inserts"
    )
    bench.remark("slurmrestd's figure is a published one for a similar machine, not from this run")


def _bare(bench: Bench, system: System, seconds: float) -> dict[int, float]:
    """Return inserts per second of task-like documents, one by one, by number of connections."""
    bench.say("bare inserts")
    rates = {}
    for connections in _CONNECTIONS:
        order = inserts.Order(system.settings().mongo_url, system.settings().mongo_db, connections, seconds)
        rates[connections] = inserts.run(order).rate
    return rates


def _measure(
    bench: Bench,
    system: System,
    gateway: Gateway,
    workers: int,
    connections: int,
    seconds: float,
    bare: Mapping[int, float],
    *,
    alone: bool = False,
) -> None:
    before = processes.cpu_seconds(system)
    sent = submits.run(submits.Order(gateway.url, gateway.token, connections, seconds=seconds))
    shares = processes.cpu_shares(before, processes.cpu_seconds(system), sent.seconds)
    times = samples.milliseconds(sent.latencies)
    ratio = sent.rate / _SLURMRESTD
    how = "scheduler and watcher stopped" if alone else "scheduler taking them in, nothing placeable"
    bench.add(
        Row(
            f"{workers} gateway process(es), {connections} connection(s), {how}",
            round(sent.rate, 1),
            "tasks/s",
            spread=f"p50 {times['p50_ms']:.1f} ms, p99 {times['p99_ms']:.1f} ms",
            compared=(
                f"{sent.rate / bare[connections]:.2f} of {bare[connections]:.0f} bare inserts/s; "
                f"{ratio:.1f} times slurmrestd"
            ),
            # The target is for throughput; one connection measures latency.
            target=_TARGET if connections > 1 else None,
            measured=ratio,
            details={
                **times,
                "failures": sent.failures,
                "bare_inserts_rate": round(bare[connections], 1),
                "cores": dict(itertools.islice(shares.items(), 6)),
                "generator_cpu": round(sent.cpu, 3),
            },
        )
    )
    if sent.failures:
        bench.remark(f"{sent.failures} submissions of {connections} connection(s) were not answered 200")
