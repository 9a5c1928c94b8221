"""Follow the output of a task through broken connections: pure, but for the loops that `client` and `aio` have around it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from godocker_client.session import API, Request


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A piece of output. `stream` is `out` or `err`, `offset` that of its first byte in the stream of this attempt."""

    stream: str
    offset: int
    text: str

    @property
    def content(self) -> bytes:
        """The bytes as the task wrote them."""
        return self.text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class AttemptEvent:
    """An attempt begins."""

    attempt: int
    node: str | None


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The task is over, or was deleted: nothing will follow."""

    status: str
    exit_code: int | None
    ending: str | None
    reason: str | None


Event = LogEvent | AttemptEvent | EndEvent


class Following:
    """The position in one stream, kept between two connections."""

    def __init__(
        self, task_id: int, *, stream: str | None = None, tail: int | None = None, attempt: int | None = None
    ) -> None:
        self._path = f"{API}/task/{task_id}/log"
        self._params: dict[str, Any] = {"stream": stream, "tail": tail, "attempt": attempt}
        self._last_id: str | None = None
        self.has_ended = False

    def request(self) -> Request:
        """Return the request that begins behind the last event that was taken."""
        params = {name: value for name, value in self._params.items() if value is not None}
        headers = {"Accept": "text/event-stream"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
            params.pop("tail", None)
        return Request("GET", self._path, params=params, headers=headers)

    def take(self, name: str, data: str, event_id: str) -> Event | None:
        """Return the event, if it is one that is known."""
        event = _event(name, json.loads(data)) if data else None
        if event is not None and event_id:
            self._last_id = event_id
        self.has_ended = self.has_ended or isinstance(event, EndEvent)
        return event


def _event(name: str, data: dict[str, Any]) -> Event | None:
    match name:
        case "log":
            return LogEvent(str(data["stream"]), int(data["offset"]), str(data["text"]))
        case "attempt":
            return AttemptEvent(int(data["attempt"]), data.get("node"))
        case "end":
            return EndEvent(str(data["status"]), data.get("exit_code"), data.get("ending"), data.get("reason"))
    return None
