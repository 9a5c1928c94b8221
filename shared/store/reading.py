"""Read documents one by one, skipping and reporting those that are malformed."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import structlog

from shared import clock
from shared.observe import metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")

TASKS = "tasks"

_AGAIN = 600.0  #: seconds until the same document is reported again; loops read it several times a second
_MOST_TOLD = 10_000
_next_report: dict[tuple[str, str], float] = {}  #: time of the next report of each document

#: Errors that malformed documents raise, pydantic's among them.
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError)


async def each(
    read: Callable[[dict[str, Any]], T], documents: AsyncIterable[dict[str, Any]], *, of: str = TASKS
) -> list[T]:
    """Return `read` of each document of collection `of`, without malformed ones."""
    return [found async for found in one_by_one(read, documents, of=of)]


async def one_by_one(
    read: Callable[[dict[str, Any]], T], documents: AsyncIterable[dict[str, Any]], *, of: str = TASKS
) -> AsyncIterator[T]:
    """Yield `read` of each document, holding one in memory at a time."""
    async for document in documents:
        try:
            found = read(document)
        except _UNREADABLE as error:
            _report(of, document, error)
        else:
            yield found


def one(read: Callable[[dict[str, Any]], T], document: dict[str, Any] | None, *, of: str = TASKS) -> T | None:
    """Return `read` of a document; None if there is none or it is malformed."""
    if document is None:
        return None
    try:
        return read(document)
    except _UNREADABLE as error:
        _report(of, document, error)
        return None


def numbers(*fields: str) -> Callable[[dict[str, Any]], Any]:
    """Return a reader that takes the integers in these fields (dotted names) as a tuple."""

    def read(document: dict[str, Any]) -> tuple[int, ...]:
        found = []
        for field in fields:
            value: Any = document
            for name in field.split("."):
                value = value[name]
            if type(value) is not int:
                raise TypeError(f"{field} is of another type")
            found.append(value)
        return tuple(found)

    return read


def _report(collection: str, document: Mapping[str, Any], error: Exception) -> None:
    is_task = collection == TASKS
    (metrics.UNREADABLE if is_task else metrics.UNREADABLE_DOCUMENTS.labels(collection)).inc()
    now, name = clock.monotonic(), document.get("_id")
    if now < _next_report.get((collection, str(name)), now):
        return
    if len(_next_report) >= _MOST_TOLD:
        _next_report.clear()
    _next_report[collection, str(name)] = now + _AGAIN
    text = f"{type(error).__name__}: {error}"
    if is_task:
        log.error("task.unreadable", task_id=name, error=text)
    else:
        log.error("document.unreadable", collection=collection, id=str(name), error=text)
