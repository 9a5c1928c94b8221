"""Ask the gateway, at little cost: one connection that is kept open."""

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
    """What was waited for did not come."""


class Gateway:
    """A session of the administrator, or of the user whose token is given."""

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
        """The answer's content. Raises `NotDone` for any status but 200."""
        return json.loads(self.fetch(method, path, body))

    def fetch(self, method: str, path: str, body: object = None) -> bytes:
        """The same, as it was sent."""
        content = json.dumps(body).encode() if body is not None else None
        return self._sent(method, path, content, "application/json")

    def put_file(self, path: str, content: bytes) -> None:
        """Raises `NotDone` for any status but 200."""
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
        """Ask the same question `every` seconds meanwhile, whatever is answered, from a thread with a connection of its own."""
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
        """When (seconds since the epoch) the task was first seen there, or past it."""
        past = ("over",) if primary == "over" else (primary, "over")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.status(task_id)["primary"] in past:
                return time.time()
            time.sleep(poll)
        raise NotDone(f"task {task_id} is not {primary} after {timeout:g} s: {self.status(task_id)}")

    def wait_all_over(self, *, timeout: float) -> float:
        """When (seconds since the epoch) no task of anybody was waiting or running any more."""
        deadline = time.monotonic() + timeout
        # In this order: a task that moves on between the two questions is seen by the second.
        while left := self._count("pending") + self._count("running"):
            if time.monotonic() > deadline:
                raise NotDone(f"{left} tasks are not over after {timeout:g} s")
            time.sleep(LOOK)
        return time.time()

    def check_ended_well(self, count: int) -> None:
        """Raises `NotDone` unless the last `count` tasks really ran, to exit code 0: one that is refused is over soon, too."""
        ended = [task["status"] for task in self.ask("GET", f"/task/over?limit={count}")]
        bad = [status["reason"] for status in ended if status["exitcode"] != 0]
        if bad or len(ended) != count:
            raise NotDone(f"{len(ended)} of {count} tasks ended, {len(bad)} of them badly: {bad[:1]}")

    def _count(self, status: str) -> int:
        return int(self.ask("GET", f"/task/status/{status}/count")["total"])
