"""
Client of the Web API of GoDocker.

    with Client("http://godocker.lab:8080", user="alice", apikey=…) as client:
        task = client.wait(client.submit("echo hello", image="busybox"))
        print(task.exit_code, client.log(task.id).decode())

Each name is loaded when it is first used: commands that only parse their arguments import no HTTP library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from godocker_client.aio import AsyncClient
    from godocker_client.client import Client
    from godocker_client.following import AttemptEvent, EndEvent, Event, LogEvent
    from godocker_client.task import Task

__all__ = ["AsyncClient", "AttemptEvent", "Client", "EndEvent", "Event", "LogEvent", "Task"]

_MODULES = {"AsyncClient": "aio", "Client": "client", "Task": "task"}  #: of the names that `following` does not define


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'following')}"), name)
