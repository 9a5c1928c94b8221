"""Log levels of an event stream: a quiet engine is normal, a broken stream is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from shared import errors
from shared.executors import types
from shared.executors.docker import client, container_ids, events, skew


class Engine:
    """An engine whose streams all end in the same way, until it is closed."""

    name = "n1"

    def __init__(self, cause: Exception, *, connects: bool, streams: int) -> None:
        self._cause, self._connects, self._left = cause, connects, streams

    @property
    def is_closed(self) -> bool:
        return self._left == 0

    @asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        self._left -= 1

        async def messages() -> AsyncIterator[dict[str, Any]]:
            raise errors.NodeUnavailable(self.name, "no answer from the engine in time") from self._cause
            yield {}

        if not self._connects:
            raise errors.NodeUnavailable(self.name, "no answer from the engine in time") from self._cause
        yield messages()


@pytest.mark.parametrize(
    ("cause", "connects", "said"),
    [
        (TimeoutError(), True, ("events.quiet", "debug")),
        (TimeoutError(), False, ("events.reconnect", "info")),
        (ConnectionResetError(), True, ("events.reconnect", "info")),
    ],
)
async def test_only_a_stream_that_fell_silent_is_quiet(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, connects: bool, said: tuple[str, str]
) -> None:
    monkeypatch.setattr(events, "BACKOFF", (0.0, 0.0))
    engine = Engine(cause, connects=connects, streams=3)
    stream = events.watch(
        cast("client.Engine", engine),
        owner=types.Owner("ours", None),
        root="/shared",
        seen=container_ids.Known(),
        skew=skew.Skew("n1"),
    )
    with capture_logs() as lines:
        seen = [event.kind async for event in stream]
    assert seen == [types.EventKind.RESYNC] * (3 if connects else 0)
    assert {(line["event"], line["log_level"]) for line in lines} == {said}
