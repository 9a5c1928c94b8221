"""Latency of start and end of a task on an idle Docker Engine."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import samples, tasks
from benchmarks.bench import Bench
from benchmarks.results import Row, Target
from benchmarks.systems import docker_engine
from benchmarks.systems.docker_engine import BareEngine
from benchmarks.systems.gateway import Gateway
from tests.support.harness.system import System, running_system

TITLE = "Launch and end on Docker, idle, image present"
LIMIT = 100.0

_POLL = 0.005  #: seconds between two looks of the client
_REST = 0.2  #: seconds: what is removed meanwhile is not the next one's burden
#: Its last step creates a file whose time shows the end, since busybox's `date` has no fractions.
_COMMAND = "sleep 0.4; : > exited"
_LAUNCH = Target(50.0, at_least=False, words="at most 50 ms above bare create+start")
_END = Target(250.0, at_least=False, words="at most 250 ms")


@dataclass(slots=True)
class _Times:
    """Latencies in seconds, one entry per task."""

    launch: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)


def run(bench: Bench) -> None:
    count = bench.size(25, 8)
    with (
        docker_engine.running_engine() as engine,
        tempfile.TemporaryDirectory(prefix="god-bench-") as folder,
        running_system(executor="docker", environment=docker_engine.environment(engine)) as system,
        Gateway(system) as gateway,
        asyncio.Runner() as runner,
    ):
        bare = runner.run(docker_engine.bare(engine, Path(folder)))
        try:
            ours, theirs = _sample(bench, runner, bare, system, gateway, count)
        finally:
            runner.run(bare.close())
    _add(bench, ours, theirs)


def _sample(
    bench: Bench, runner: asyncio.Runner, bare: BareEngine, system: System, gateway: Gateway, count: int
) -> tuple[_Times, _Times]:
    """Run one task of ours and one bare container alternately, so that both see the same machine. The first pair is a warm-up."""
    ours, theirs = _Times(), _Times()
    for number in range(count + 1):
        if number % 5 == 0:
            bench.say(f"{number} of {count} pairs")
        task_id, *mine = _through_gateway(system, gateway)
        time.sleep(_REST)
        for times, (launch, end) in ((ours, mine), (theirs, _on_engine(runner, bare, gateway, task_id))):
            if number:
                times.launch.append(launch)
                times.end.append(end)
        time.sleep(_REST)
    return ours, theirs


def _through_gateway(system: System, gateway: Gateway) -> tuple[int, float, float]:
    """Return the task's number, and the seconds from submission to running and from exit to over."""
    began = time.time()
    task_id = gateway.submit(tasks.typical(_COMMAND))
    running = gateway.wait_status(task_id, "running", poll=_POLL)
    over = gateway.wait_status(task_id, "over", poll=_POLL)
    directory = system.data_dir / "shared" / "tasks" / str(task_id // 1000) / str(task_id)
    return task_id, running - began, over - _exited(directory)


def _on_engine(runner: asyncio.Runner, bare: BareEngine, gateway: Gateway, task_id: int) -> tuple[float, float]:
    """Run bare containers with the same polling of the gateway, so that its cost on two cores affects both alike."""
    with gateway.asking(f"/task/{task_id}/status", every=_POLL):
        done = runner.run(bare.run(_COMMAND))
    return done.started - done.began, done.ended - _exited(done.directory)


def _exited(directory: Path) -> float:
    return (directory / "exited").stat().st_mtime


def _add(bench: Bench, ours: _Times, theirs: _Times) -> None:
    above = 1000 * (samples.median(ours.launch) - samples.median(theirs.launch))
    _row(bench, "submit → running, as the client sees it", ours.launch, theirs.launch, "create+start", _LAUNCH, above)
    _row(bench, "exit of the command → over, as the client sees it", ours.end, theirs.end, "wait", _END, None)
    bench.remark(
        f"the client looks every {1000 * _POLL:g} ms, beside the bare runs too; targets are held against the medians"
    )
    bench.remark(
        "from the command's last line to the engine's word that the container has ended is the engine's own time: "
        "what bare wait shows"
    )


def _row(
    bench: Bench,
    what: str,
    ours: list[float],
    theirs: list[float],
    call: str,
    target: Target,
    measured: float | None,
) -> None:
    mine, bare = samples.milliseconds(ours), samples.milliseconds(theirs)
    bench.add(
        Row(
            what,
            mine["p50_ms"],
            "ms (median)",
            spread=f"{mine['min_ms']:.0f}–{mine['max_ms']:.0f} ms, {len(ours)} tasks",
            compared=(
                f"bare {call} {bare['p50_ms']:.0f} ms ({bare['min_ms']:.0f}–{bare['max_ms']:.0f}): "
                f"{mine['p50_ms'] - bare['p50_ms']:+.0f} ms"
            ),
            target=target,
            measured=measured,
            details={"godocker": mine, "bare": bare},
        )
    )
