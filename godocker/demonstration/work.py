"""The demonstration's tasks: sent, followed and checked through the Web API, as any client would."""

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
    """A task with what is expected of it and what was seen. Times are seconds on our clock."""

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
    def came_out_right(self) -> bool:
        return self.is_over and self.status.get("exitcode") == self.expected

    @property
    def log_path(self) -> str | None:
        """Where its output is, as its volumes say."""
        volumes = (self.document.get("container") or {}).get("volumes") or []
        paths = [volume["path"] for volume in volumes if volume.get("name") == "go-docker"]
        return f"{paths[0]}/god.log" if paths else None


def tasks() -> list[Tracked]:
    """All that the demonstration runs."""
    return [
        Tracked("prints", _HELLO, 0),
        Tracked("fails with code 3", "exit 3", 3),
        Tracked("is killed while running", "sleep 300", EXIT_KILLED, kill=True),
        *(Tracked(f"burst {number}", f"echo {number}", 0) for number in range(1, BURST + 1)),
    ]


class Session:
    """A user of the Web API."""

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
        """Look once at every task that is not over, and kill the one that is to be killed as soon as it runs."""
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
        """Ask for the end of every task that is not over."""
        for task in tracked:
            if task.id and not task.is_over:
                self._http.delete(f"/task/{task.id}")
