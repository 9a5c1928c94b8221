"""Tasks of the demonstration, submitted and followed through the Web API like any client's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from shared import clock
from shared.rules.exit_codes import EXIT_KILLED

BURST = 20

_HELLO = """#!/bin/sh
echo "Hello from task $GODOCKER_JID."
echo "I run as uid $(id -u) in $(pwd) on $(uname -s)."
"""


@dataclass(slots=True)
class Tracked:
    """A task with its expected and observed results. Times are seconds on the monotonic clock."""

    name: str
    command: str
    expected: int
    kill: bool = False
    id: int = 0
    document: dict[str, Any] = field(default_factory=dict)
    sent_at: float = 0.0
    running_at: float | None = None
    kill_at: float | None = None
    over_at: float | None = None

    @property
    def status(self) -> dict[str, Any]:
        return self.document.get("status") or {}

    @property
    def is_over(self) -> bool:
        return self.over_at is not None

    @property
    def is_as_expected(self) -> bool:
        return self.is_over and self.status.get("exitcode") == self.expected

    @property
    def log_path(self) -> str | None:
        """Path of the task's output on this machine, from its volumes."""
        volumes = (self.document.get("container") or {}).get("volumes") or []
        paths = [volume["path"] for volume in volumes if volume.get("name") == "go-docker"]
        return f"{paths[0]}/god.log" if paths else None


def tasks() -> list[Tracked]:
    """Return all tasks of the demonstration."""
    return [
        Tracked("prints", _HELLO, 0),
        Tracked("fails with code 3", "exit 3", 3),
        Tracked("is killed while running", "sleep 300", EXIT_KILLED, kill=True),
        *(Tracked(f"burst {number}", f"echo {number}", 0) for number in range(1, BURST + 1)),
    ]


class Session:
    """A logged-in client of the Web API."""

    def __init__(self, base_url: str, user: str, apikey: str) -> None:
        self._http = httpx.Client(base_url=f"{base_url}/api/1.0", timeout=30, trust_env=False)
        answer = self._http.post("/authenticate", json={"user": user, "apikey": apikey}).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def close(self) -> None:
        self._http.close()

    def send(self, task: Tracked, image: str) -> None:
        task.sent_at = clock.monotonic()
        body = {
            "meta": {"name": task.name},
            "requirements": {"cpu": 0.25, "ram": 0.1},
            "container": {"image": image, "volumes": [], "network": False, "root": False},
            "command": {"interactive": False, "cmd": task.command},
        }
        task.id = self._http.post("/task", json=body).raise_for_status().json()["id"]

    def follow(self, tracked: Sequence[Tracked]) -> None:
        """Update every task that is not over, and kill the task to be killed once it runs."""
        for task in tracked:
            if task.is_over:
                continue
            task.document = self._http.get(f"/task/{task.id}").raise_for_status().json()
            now = clock.monotonic()
            primary = task.status.get("primary")
            if primary == "running" and task.running_at is None:
                task.running_at = now
            if primary == "over":
                task.over_at = now
            if task.kill and task.running_at and task.kill_at is None:
                task.kill_at = now
                self._http.delete(f"/task/{task.id}").raise_for_status()

    def kill_all(self, tracked: Sequence[Tracked]) -> None:
        """Request the kill of every task that is not over."""
        for task in tracked:
            if task.id and not task.is_over:
                self._http.delete(f"/task/{task.id}")
