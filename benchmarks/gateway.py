"""Ask the gateway, at little cost: one connection that is kept open."""

from __future__ import annotations

import http.client
import json
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.system import System

LOOK = 0.05  #: seconds between two looks at the counts


class NotDone(Exception):
    """What was waited for did not come."""


class Gateway:
    """A session of the administrator."""

    def __init__(self, system: System) -> None:
        self.url = system.base_url
        self.token = system.token()
        self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's content. Raises `NotDone` for any status but 200."""
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self._connection.request(method, f"/api/1.0{path}", content, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != http.client.OK:
            raise NotDone(f"{method} {path} is answered {answer.status}: {data[:300]!r}")
        return json.loads(data)

    def submit(self, task: dict[str, object]) -> int:
        return int(self.ask("POST", "/task", task)["id"])

    def status(self, task_id: int) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("GET", f"/task/{task_id}/status")["status"]
        return status

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

    def _count(self, status: str) -> int:
        return int(self.ask("GET", f"/task/status/{status}/count")["total"])
