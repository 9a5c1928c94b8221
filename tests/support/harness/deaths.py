"""
Gateways that are killed in the middle of a request: `python -m tests.support.harness.deaths` with a request as JSON on its
standard input, and settings in the environment.

The first gateway is killed before its first word with MongoDB, the next when that was answered, the third before the second word
…, until one lives to answer. Where `NUMBER` stands in the request, each puts its own. Prints how many were killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from pymongo import monitoring

from services.api import app, context
from shared.broker import broker
from shared.config import loading
from shared.executors.types import Feature
from shared.settings import Settings
from shared.store import stores
from tests.support.harness import gateway

MOST = 60  #: most gateways


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: str


class Death(monitoring.CommandListener):
    """SIGKILL at the event of this number: a command that is about to be sent, or was answered."""

    def __init__(self, number: int) -> None:
        self._left = number

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self._count()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._count()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def answer(application: FastAPI, configured: Settings, sent: Request) -> None:
    async with stores.connect(configured) as opened, broker.connect(configured) as hints:
        application.state.context = context.build(configured, opened, hints, frozenset(Feature))
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answered = await client.post(gateway.API + sent.path, headers=sent.headers, content=sent.body)
        # Messages at the end of a process are no part of the request.
        os._exit(0 if answered.status_code == 200 else 1)


def live(application: FastAPI, configured: Settings, template: str, number: int) -> int:
    """Answer the request in a child process and return its wait status, as `os.waitpid` does."""
    pid = os.fork()
    if pid == 0:
        monitoring.register(Death(number))
        sent = Request(**json.loads(template.replace("NUMBER", str(number))))
        asyncio.run(answer(application, configured, sent))
    return os.waitpid(pid, 0)[1]


def main() -> None:
    application, configured, template = app.document(), loading.load(), sys.stdin.read()
    for number in range(1, MOST):
        ended = live(application, configured, template, number)
        if not os.WIFSIGNALED(ended):
            assert os.WEXITSTATUS(ended) == 0, f"gateway {number} did not answer 200"
            print(number - 1)
            return
    raise AssertionError("no gateway lived to answer")


def environment(configured: Settings) -> dict[str, str]:
    """Return the settings of such a gateway as environment variables."""
    names = ("instance", "shared_dir", "data_dir", "mongo_url", "mongo_db", "redis_socket", "redis_prefix")
    secret = ("secret_passphrase", "shared_secret_passphrase")
    values: dict[str, Any] = {name: getattr(configured, name) for name in names}
    values |= {name: getattr(configured, name).get_secret_value() for name in secret}
    return {f"GODOCKER_{name.upper()}": str(value) for name, value in values.items()}


if __name__ == "__main__":
    main()
