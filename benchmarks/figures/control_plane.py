"""Tasks per second from submission to over if running them costs nothing."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.loads import submits
from benchmarks.results import Row, Target
from benchmarks.systems import processes, simulated
from benchmarks.systems.gateway import Gateway
from tests.support.harness.system import System

TITLE = "Control plane, submit to over, simulated executor"
LIMIT = 100.0

_ORIGINAL = 119  #: tasks/s of the original, a published figure for a similar machine
_TARGET = Target(10.0, at_least=True, words="10 times the original's 119 tasks/s")
_CONNECTIONS = 64


def run(bench: Bench) -> None:
    for workers in (1,) if bench.quick else (1, 2):
        with simulated.running("--workers", str(workers)) as system, Gateway(system) as gateway:
            order = submits.Order(gateway.url, gateway.token, _CONNECTIONS, count=100)
            submits.run(order)
            gateway.wait_all_over(timeout=30)
            _measure(bench, workers, system, gateway, bench.size(5000, 1000))
    bench.remark(simulated.REMARK)


def _measure(bench: Bench, workers: int, system: System, gateway: Gateway, count: int) -> None:
    bench.say(f"{count} tasks, {workers} worker(s)")
    before = processes.cpu_seconds(system)
    sent = submits.run(submits.Order(gateway.url, gateway.token, _CONNECTIONS, count=count))
    seconds = gateway.wait_all_over(timeout=90) - sent.began
    shares = processes.cpu_shares(before, processes.cpu_seconds(system), seconds)
    gateway.check_ended_well(count)
    rate = count / seconds
    bench.add(
        Row(
            f"{count} tasks sent over {_CONNECTIONS} connections, {workers} gateway process(es)",
            round(rate, 1),
            "tasks/s",
            spread=f"accepted at {sent.rate:.0f}/s, all over {seconds - sent.seconds:.1f} s after the last",
            compared=f"{rate / _ORIGINAL:.1f} times the original's {_ORIGINAL}/s (published)",
            target=_TARGET,
            measured=rate / _ORIGINAL,
            details={
                "tasks": count,
                "seconds": round(seconds, 2),
                "submit_rate": round(sent.rate, 1),
                "failures": sent.failures,
                "cores": shares,
                "generator_cpu": round(sent.cpu, 3),
            },
        )
    )
    busiest = ", ".join(f"{name} {share:.2f}" for name, share in list(shares.items())[:5])
    bench.remark(f"cores in use with {workers} gateway process(es): {busiest}; load generator {sent.cpu:.2f}")
