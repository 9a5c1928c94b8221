"""Tasks per second on Docker, compared with the bare engine."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import batches, samples
from benchmarks.bench import Bench
from benchmarks.results import Row, Target
from benchmarks.systems import docker_engine
from benchmarks.systems.gateway import Gateway, NotDone
from godocker.docker.local_engine import LocalEngine
from tests.support.harness.system import running_system

TITLE = "Tasks on Docker"
LIMIT = 150.0

_CONCURRENCY = 8  #: starts at a time, ours (the default of a node) and bare
_REMOVED = 30.0  #: seconds in which the last containers must be gone
_TARGET = Target(0.9, at_least=True, words="0.9 of the bare engine")


def run(bench: Bench) -> None:
    count, rounds = bench.size(60, 30), bench.size(3, 1)
    with (
        docker_engine.running_engine() as engine,
        tempfile.TemporaryDirectory(prefix="god-bench-") as folder,
        running_system(executor="docker", environment=docker_engine.environment(engine)) as system,
        Gateway(system) as gateway,
        asyncio.Runner() as runner,
    ):
        bare = runner.run(docker_engine.bare(engine, Path(folder)))
        try:
            ours, over, theirs = [], [], []
            _through_gateway(engine, gateway, 8)
            runner.run(bare.rate(8, concurrency=_CONCURRENCY))
            for _ in range(rounds):
                removed, ended = _through_gateway(engine, gateway, count)
                ours.append(removed)
                over.append(ended)
                theirs.append(runner.run(bare.rate(count, concurrency=_CONCURRENCY)))
                bench.say(f"{ours[-1]:.2f}/s through GoDocker, {theirs[-1]:.2f}/s on the bare engine")
        finally:
            runner.run(bare.close())
    _add(bench, count, ours, over, theirs)


def _through_gateway(engine: LocalEngine, gateway: Gateway, count: int) -> tuple[float, float]:
    """Return tasks per second until the last container is removed, and until the last task is over."""
    batch = batches.through_gateway(gateway, count)
    deadline = time.monotonic() + _REMOVED
    while docker_engine.containers_left(engine):
        if time.monotonic() > deadline:
            raise NotDone(f"containers are left {_REMOVED:g} s after the last task was over")
        time.sleep(0.05)
    return count / (time.time() - batch.began), count / batch.seconds


def _add(bench: Bench, count: int, ours: list[float], over: list[float], theirs: list[float]) -> None:
    rate, bare = samples.median(ours), samples.median(theirs)
    bench.add(
        Row(
            f"{count} x /bin/true sent at once, until the last container is removed",
            round(rate, 2),
            "tasks/s",
            spread=f"{min(ours):.2f}–{max(ours):.2f}, {len(ours)} rounds; until over {samples.median(over):.2f}/s",
            compared=(
                f"bare create+start+wait+remove, {_CONCURRENCY} at a time: {bare:.2f}/s "
                f"({min(theirs):.2f}–{max(theirs):.2f}); ratio {rate / bare:.2f}"
            ),
            target=_TARGET,
            measured=rate / bare,
            details={"godocker": ours, "godocker_until_over": over, "bare": theirs},
        )
    )
    bench.remark("rounds of GoDocker and of the bare engine by turns, on the same engine, with the same containers")
