"""
Every service is restarted in turn while tasks come at a steady pace, as in an upgrade: none is lost, none is made twice, and no
request fails. GODOCKER_LONG_TESTS does so for five minutes.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.acceptance.conftest import Ground
from tests.acceptance.lifecycle.test_interruption import check_at_the_end
from tests.conftest import FIGURES
from tests.support import waiting
from tests.support.harness.system import System

pytestmark = pytest.mark.long  # see `make test-long`

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
BETWEEN = 10.0 if LONG else 5.0  #: seconds between two restarts
RESTARTS = 30 if LONG else 5
QUIET = 30.0 if LONG else 8.0  #: seconds of the same load before the first restart
A_SECOND = 10  #: tasks
GATEWAYS = 2
SERVICES = ("api", "scheduler", "watcher", "api-2", "files")
_CLIENTS = 16
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """A task: its number, and the seconds from its due time until it was accepted."""

    task_id: int
    seconds: float


class Load:
    """
    Sends tasks by the clock, whatever becomes of those before, each with an Idempotency-Key, and sends those again that got no
    answer or were asked to come later: as a careful client does.
    """

    def __init__(self, ground: Ground, client: httpx.Client) -> None:
        self._ground = ground
        self._client = client
        self.exit_codes: dict[str, int | None] = {}
        self.answers: Counter[str] = Counter()
        self._numbers = itertools.count()

    def run(self, seconds: float) -> list[Sent]:
        """Submit tasks for `seconds`, and return their results."""
        began = time.monotonic()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            sent: list[Future[Sent]] = []
            for number in range(round(seconds * A_SECOND)):
                due = began + number / A_SECOND
                threading.Event().wait(max(0.0, due - time.monotonic()))
                sent.append(clients.submit(self._send, next(self._numbers), due))
            return [one.result(timeout=120) for one in sent]

    def _send(self, number: int, due: float) -> Sent:
        name = f"task{number}"
        self.exit_codes[name] = number % 7
        task = self._ground.task(name, self._ground.witness.script(seconds=0.1 * (number % 5), exit_code=number % 7))
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        for _ in range(_TRIES):
            try:
                answer = self._client.post("/api/1.0/task", json=task, headers=headers)
            except httpx.TransportError as error:
                # The connection was closed at the moment in which it was used again (RFC 9112, 9.3.1).
                self.answers[type(error).__name__] += 1
                continue
            self.answers[str(answer.status_code)] += 1
            if answer.status_code == 200:
                return Sent(answer.json()["id"], time.monotonic() - due)
            assert answer.status_code == 503, answer.text
            threading.Event().wait(float(answer.headers["Retry-After"]))
        raise AssertionError("the gateway did not come back")


@pytest.mark.timeout(900 if LONG else 300)
@pytest.mark.parametrize("ground", ["process"], indirect=True)
def test_tasks_come_and_end_while_every_service_is_restarted_in_turn(
    ground: Ground, record_property: Callable[[str, object], None]
) -> None:
    with ground.system("--workers", str(GATEWAYS)) as system:
        with system.client(system.token()) as client:
            load = Load(ground, client)
            quiet = load.run(QUIET)
            with restarts(system) as done:
                restless = load.run(BETWEEN * (RESTARTS + 1))
        assert len(done) == RESTARTS
        sent = [*quiet, *restless]
        ids = [one.task_id for one in sent]
        assert len(set(ids)) == len(ids), "each request made a task of its own"
        figures = check_at_the_end(system, ground, ids, dict(load.exit_codes))
        assert figures.tasks == len(ids), "and no task was made twice"
        assert "internal_error" not in system.log("api") + system.log("api-2")
        record_property(
            FIGURES,
            f"{figures}; {RESTARTS} restarts in {len(restless) / A_SECOND:.0f} s; submit quiet {said(quiet)}, "
            f"restarting {said(restless)}; answers {dict(load.answers)}",
        )


@contextmanager
def restarts(system: System) -> Iterator[list[str]]:
    """Restart one service after the other, `BETWEEN` seconds apart, and return those that are back."""
    done: list[str] = []
    stop = threading.Event()

    def run() -> None:
        for service in itertools.islice(itertools.cycle(SERVICES), RESTARTS):
            if stop.wait(BETWEEN):
                return
            before = system.kill(service, signal.SIGTERM)
            waiting.until_blocking(
                lambda service=service, before=before: system.pid(service) != before,
                f"{service} is started again",
                timeout=40,
            )
            done.append(service)

    thread = threading.Thread(target=run, name="restarts")
    thread.start()
    try:
        yield done
        thread.join(timeout=60)
    finally:
        stop.set()
        thread.join(timeout=60)


def said(sent: Sequence[Sent]) -> str:
    """Return median, 99th percentile and maximum of the times, in milliseconds."""
    times = sorted(one.seconds * 1000 for one in sent)
    return f"p50 {times[len(times) // 2]:.0f} ms, p99 {times[int(len(times) * 0.99)]:.0f} ms, max {times[-1]:.0f} ms"
