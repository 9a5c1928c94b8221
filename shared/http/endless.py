"""Close the answers that have no end of their own when the server stops: it would wait for them, and then break them off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

_open: WeakSet[asyncio.Event] = WeakSet()


@contextmanager
def closing() -> Iterator[asyncio.Event]:
    """An event that is set when the server of this process stops."""
    event = asyncio.Event()
    _open.add(event)
    try:
        yield event
    finally:
        _open.discard(event)


def close_all() -> None:
    """Ask every open stream of this process to end."""
    for event in list(_open):
        event.set()
