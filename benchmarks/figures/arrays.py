"""Time to accept an array, and children per second from submission to over."""

from __future__ import annotations

import json
import time

from benchmarks import samples, tasks
from benchmarks.bench import Bench
from benchmarks.results import Row, Target
from benchmarks.systems import processes, simulated
from benchmarks.systems.gateway import Gateway
from tests.support.harness.system import System

TITLE = "Arrays: accepted, and submit to over on the simulated executor"
LIMIT = 150.0

_ORIGINAL = 119  #: tasks/s of the original, a published figure for a similar machine
_ACCEPTED = Target(1.0, at_least=False, words="an array of 10,000 is accepted within a second")
_RATE = Target(10.0, at_least=True, words="10 times the original's 119 tasks/s")
#: No child fits, so only the submission of the array is measured.
_TOO_SMALL = {"GODOCKER_NODES": json.dumps([{"name": "small", "cpus": 0.5, "memory": 1}])}


def run(bench: Bench) -> None:
    with simulated.running(environment=_TOO_SMALL) as system, Gateway(system) as gateway:
        gateway.submit(_array(1))
        for count in (1, 10_000, 100_000):
            _accept(bench, gateway, count, times=bench.size(21, 5))
    with simulated.running() as system, Gateway(system) as gateway:
        gateway.submit(_array(100))
        gateway.wait_all_over(timeout=30)
        _go_all_the_way(bench, system, gateway, bench.size(10_000, 1000))
    bench.remark(simulated.REMARK)


def _array(count: int) -> dict[str, object]:
    task = tasks.typical()
    requirements = task["requirements"]
    assert isinstance(requirements, dict)
    return {**task, "requirements": {**requirements, "array": {"values": count}}}


def _accept(bench: Bench, gateway: Gateway, count: int, *, times: int) -> None:
    latencies = []
    for _ in range(times):
        began = time.monotonic()
        gateway.submit(_array(count))
        latencies.append(time.monotonic() - began)
    found = samples.milliseconds(latencies)
    bench.add(
        Row(
            f"an array of {count}, answered",
            round(samples.median(latencies), 4),
            "s",
            spread=f"p50 {found['p50_ms']:.1f} ms, most {found['max_ms']:.1f} ms of {times}",
            target=_ACCEPTED if count >= 10_000 else None,
            measured=max(latencies),
            details=found,
        )
    )


def _go_all_the_way(bench: Bench, system: System, gateway: Gateway, count: int) -> None:
    bench.say(f"an array of {count} to its end")
    before = processes.cpu_seconds(system)
    began = time.time()
    parent = gateway.submit(_array(count))
    over = gateway.wait_status(parent, "over", poll=0.05, timeout=100)
    seconds = over - began
    shares = processes.cpu_shares(before, processes.cpu_seconds(system), seconds)
    status = gateway.status(parent)
    if status["exitcode"] != 0:
        raise RuntimeError(f"the array did not end well: {status}")
    rate = count / seconds
    bench.add(
        Row(
            f"an array of {count}, submit to over",
            round(rate, 1),
            "children/s",
            spread=f"{seconds:.1f} s",
            compared=f"{rate / _ORIGINAL:.1f} times the original's {_ORIGINAL}/s (published)",
            target=_RATE,
            measured=rate / _ORIGINAL,
            details={"children": count, "seconds": round(seconds, 2), "cores": shares},
        )
    )
    busiest = ", ".join(f"{name} {share:.2f}" for name, share in list(shares.items())[:5])
    bench.remark(f"cores in use: {busiest}")
