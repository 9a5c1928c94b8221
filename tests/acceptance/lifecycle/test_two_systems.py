"""Tests of two systems that share an engine or a machine: every command runs once, despite kills."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance import conftest
from tests.acceptance.conftest import EXECUTORS, Ground
from tests.acceptance.lifecycle.test_interruption import check_at_the_end, kill_and_await, submit_with_retries
from tests.conftest import FIGURES
from tests.support import naming
from tests.support.harness.system import System

SERVICES = ("api", "scheduler", "watcher")
BETWEEN_KILLS = 1.5  #: seconds


@pytest.fixture(params=EXECUTORS)
def grounds(request: pytest.FixtureRequest) -> Iterator[tuple[Ground, Ground]]:
    """Two systems on one engine or machine, each with its own witness."""
    with conftest.folder() as first, conftest.folder() as second:
        yield conftest._ground(request, first), conftest._ground(request, second)


@pytest.mark.timeout(240)
def test_two_systems_share_an_engine_in_peace(
    grounds: tuple[Ground, Ground], record_property: Callable[[str, object], None]
) -> None:
    record_property(FIGURES, side_by_side(grounds, tasks=20, seconds=8))


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_two_systems_share_an_engine_for_ten_minutes(
    grounds: tuple[Ground, Ground], record_property: Callable[[str, object], None]
) -> None:
    record_property(FIGURES, side_by_side(grounds, tasks=200, seconds=600))


def side_by_side(grounds: tuple[Ground, Ground], *, tasks: int, seconds: float) -> str:
    """Submit `tasks` to each of two systems over `seconds` while services are killed at random, and return the figures."""
    first, second = grounds
    with first.system() as one, second.system() as other:
        pairs = ((one, first), (other, second))
        loads = [Load(system, ground, tasks=tasks, seconds=seconds) for system, ground in pairs]
        with killing([one, other]) as killed:
            for load in loads:
                load.finish(seconds + 120)
        figures = [
            check_at_the_end(system, ground, load.acknowledged, load.exit_codes)
            for (system, ground), load in zip(pairs, loads, strict=True)
        ]
        assert one.mark != other.mark
        for found in figures:
            assert (found.lost, found.runs_twice) == (0, 0)
            assert found.starts == found.attempts == found.tasks >= tasks
        for system in (one, other):
            # Who dies between settling an end and writing that it did leaves a run to be removed later: one of its own.
            assert {naming.system_of(run) for run in strays(system)} <= {system.mark}
    return f"{'; '.join(map(str, figures))}; {len(killed)} services killed in {seconds:g} s"


def strays(system: System) -> list[str]:
    """Return the runs that watchers removed because they belong to no task."""
    lines = [line for line in system.log("watcher").splitlines() if '"run.stray_removed"' in line]
    return [json.loads(line)["run"] for line in lines]


class Load:
    """Submits tasks in a thread, at a steady rate."""

    def __init__(self, system: System, ground: Ground, *, tasks: int, seconds: float) -> None:
        self.acknowledged: list[int] = []
        self.exit_codes: dict[str, int] = {}
        self._system, self._ground = system, ground
        self._tasks, self._seconds = tasks, seconds
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def finish(self, timeout: float) -> None:
        self._thread.join(timeout)
        assert len(self.acknowledged) == self._tasks, "not all tasks were accepted"

    def _run(self) -> None:
        began = time.monotonic()
        with self._system.client(self._system.token()) as client:
            for number in range(self._tasks):
                name = f"task{number}"
                self.exit_codes[name] = number % 7
                script = self._ground.witness.script(seconds=0.5 * (number % 5), exit_code=number % 7)
                self.acknowledged.append(submit_with_retries(client, self._ground.task(name, script)))
                ahead = number * self._seconds / self._tasks - (time.monotonic() - began)
                threading.Event().wait(max(0.0, ahead))


@contextmanager
def killing(systems: list[System]) -> Iterator[list[str]]:
    """Kill random services of the systems, one after the other."""
    killed: list[str] = []
    stop, wrong = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not stop.wait(BETWEEN_KILLS):
                service = random.choice(SERVICES)
                kill_and_await(random.choice(systems), service)
                killed.append(service)
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=run, name="killing")
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join(60)
    assert not wrong, repr(wrong[0])
    assert killed
