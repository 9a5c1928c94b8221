"""A cheap client of the gateway with one persistent connection."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.harness.system import System

LOOK = 0.05  #: seconds between two looks at the counts


class NotDone(Exception):
    """An awaited state was not reached."""


class Gateway:
    """A session of the administrator, or of the user with the given token."""

    def __init__(self, system: System, token: str | None = None) -> None:
        self.url = system.base_url
        self.token = token or system.token()
        self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the parsed answer. Raises `NotDone` for a status other than 200."""
        return json.loads(self.fetch(method, path, body))

    def fetch(self, method: str, path: str, body: object = None) -> bytes:
        """Return the answer's bytes. Raises `NotDone` for a status other than 200."""
        content = json.dumps(body).encode() if body is not None else None
        return self._sent(method, path, content, "application/json")

    def put_file(self, path: str, content: bytes) -> None:
        """Send a request with a body. Raises `NotDone` for a status other than 200."""
        self._sent("PUT", path, content, "application/octet-stream")

    def _sent(self, method: str, path: str, content: bytes | None, kind: str) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        self._connection.request(method, f"/api/1.0{path}", content, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != http.client.OK:
            raise NotDone(f"{method} {path} is answered {answer.status}: {data[:300]!r}")
        return data

    def submit(self, task: dict[str, object]) -> int:
        return int(self.ask("POST", "/task", task)["id"])

    def status(self, task_id: int) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("GET", f"/task/{task_id}/status")["status"]
        return status

    @contextlib.contextmanager
    def asking(self, path: str, *, every: float) -> Iterator[None]:
        """Repeat a request every `every` seconds during the block, in a thread with its own connection, ignoring the answers."""
        stop = threading.Event()

        def ask() -> None:
            connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
            while not stop.wait(every):
                connection.request("GET", f"/api/1.0{path}", headers={"Authorization": f"Bearer {self.token}"})
                connection.getresponse().read()
            connection.close()

        asker = threading.Thread(target=ask, name="asker")
        asker.start()
        try:
            yield
        finally:
            stop.set()
            asker.join()

    def wait_status(self, task_id: int, primary: str, *, poll: float, timeout: float = 30.0) -> float:
        """Return when (seconds since the epoch) the task was first seen in a state, or beyond it."""
        past = ("over",) if primary == "over" else (primary, "over")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.status(task_id)["primary"] in past:
                return time.time()
            time.sleep(poll)
        raise NotDone(f"task {task_id} is not {primary} after {timeout:g} s: {self.status(task_id)}")

    def wait_all_over(self, *, timeout: float) -> float:
        """Return when (seconds since the epoch) no task was pending or running."""
        deadline = time.monotonic() + timeout
        # In this order, a task that changes state between the two requests is seen by the second.
        while left := self._count("pending") + self._count("running"):
            if time.monotonic() > deadline:
                raise NotDone(f"{left} tasks are not over after {timeout:g} s")
            time.sleep(LOOK)
        return time.time()

    def check_ended_well(self, count: int) -> None:
        """Raise `NotDone` unless the last `count` tasks ran and exited with 0, since a refused task is over soon too."""
        ended = [task["status"] for task in self.ask("GET", f"/task/over?limit={count}")]
        bad = [status["reason"] for status in ended if status["exitcode"] != 0]
        if bad or len(ended) != count:
            raise NotDone(f"{len(ended)} of {count} tasks ended, {len(bad)} of them badly: {bad[:1]}")

    def _count(self, status: str) -> int:
        return int(self.ask("GET", f"/task/status/{status}/count")["total"])
