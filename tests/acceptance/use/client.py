"""An HTTP client for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.support import waiting


class Client:
    """A logged-in user."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def submit(self, task: dict[str, object]) -> int:
        answer = self.http.post("/api/1.0/task", json=task)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    def task(self, task_id: int) -> dict[str, Any]:
        answer = self.http.get(f"/api/1.0/task/{task_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def status(self, task_id: int) -> dict[str, Any]:
        return dict(self.task(task_id)["status"])

    def kill(self, task_id: int) -> dict[str, Any]:
        answer = self.http.delete(f"/api/1.0/task/{task_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, task_id: int, primary: str = "over", *, timeout: float = 30) -> dict[str, Any]:
        """Wait until the task has a status, and return it."""
        waiting.until_blocking(
            lambda: self.status(task_id)["primary"] == primary, f"task {task_id} is {primary}", timeout=timeout
        )
        return self.task(task_id)

    def run(self, task: dict[str, object], *, timeout: float = 30) -> dict[str, Any]:
        """Submit a task, wait for its end, and return it."""
        return self.wait(self.submit(task), timeout=timeout)


def directory(task: dict[str, Any]) -> Path:
    """Return the task's directory from its volumes."""
    paths = [volume["path"] for volume in task["container"]["volumes"] if volume["name"] == "go-docker"]
    assert len(paths) == 1
    return Path(paths[0])


def output(task: dict[str, Any], name: str = "god.log") -> str:
    return (directory(task) / name).read_text()
