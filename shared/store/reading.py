"""Read tasks one by one: a document that is none, because somebody wrote into the database by hand, stops nobody."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import structlog

from shared import clock, metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")

_AGAIN = 600.0  #: seconds after which the same task is told of again: the loops look several times a second
_MOST_TOLD = 10_000
_told: dict[int, float] = {}  #: when to tell of a task again

#: What reading such a document raises, pydantic's errors among them.
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


async def each(read: Callable[[dict[str, Any]], T], documents: AsyncIterable[dict[str, Any]]) -> list[T]:
    """What `read` makes of each document, without those that it makes nothing of, which are told of."""
    return [found async for found in one_by_one(read, documents)]


async def one_by_one(read: Callable[[dict[str, Any]], T], documents: AsyncIterable[dict[str, Any]]) -> AsyncIterator[T]:
    """The same, with one in memory at a time."""
    async for document in documents:
        try:
            found = read(document)
        except _UNREADABLE as error:
            _tell(document, error)
        else:
            yield found


def _tell(document: Mapping[str, Any], error: Exception) -> None:
    metrics.UNREADABLE.inc()
    now, task_id = clock.monotonic(), document["_id"]
    if now < _told.get(task_id, now):
        return
    if len(_told) >= _MOST_TOLD:
        _told.clear()
    _told[task_id] = now + _AGAIN
    log.error("task.unreadable", task_id=task_id, error=f"{type(error).__name__}: {error}")
