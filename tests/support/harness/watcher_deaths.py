"""
A watcher that is killed at one moment of a task's end: `python -m tests.support.harness.watcher_deaths MOMENT`, with its
settings in the environment. Its next write to MongoDB of that kind is answered by SIGKILL; until then it works as any other.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pymongo import monitoring

from services.watcher import __main__ as watcher
from shared.config import loading


class Moment(StrEnum):
    """In the order in which they come."""

    SEEN = "seen"  #: the end was seen, and is about to be written
    WRITTEN = "written"  #: it is written, and nobody was told
    COUNTING = "counting"  #: its usage is about to be counted
    COUNTED = "counted"  #: it is, and the run still there
    REMOVED = "removed"  #: that is not there any more, and nobody wrote so


class Death(monitoring.CommandListener):
    """Kills this process at the moment."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._awaited: set[int] = set()  #: requests whose answer is the moment

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        word = _word(event.command_name, event.command)
        if word is self._moment:
            os.kill(os.getpid(), signal.SIGKILL)
        if (word, self._moment) in {(Moment.SEEN, Moment.WRITTEN), (Moment.COUNTING, Moment.COUNTED)}:
            self._awaited.add(event.request_id)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if event.request_id in self._awaited:
            os.kill(os.getpid(), signal.SIGKILL)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def _word(name: str, command: Mapping[str, Any]) -> Moment | None:
    """Return the kind of a command to MongoDB that is about to be sent, if it belongs to the end of a task."""
    collection = command.get(name)
    if (name, collection) == ("insert", "usage"):
        return Moment.COUNTING
    if (name, collection) != ("update", "tasks"):
        return None
    values = [update["u"].get("$set", {}) for update in command["updates"]]
    if any(value.get("status") == "over" for value in values):
        return Moment.SEEN
    return Moment.REMOVED if {"settled": True} in values else None


if __name__ == "__main__":
    monitoring.register(Death(Moment(sys.argv[1])))
    watcher.run(loading.load())
