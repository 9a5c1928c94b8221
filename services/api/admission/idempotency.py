"""Answer a repeated request with the same `Idempotency-Key` as it was answered the first time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated

import orjson
from fastapi import Header, Request

from services.api.context import Context
from shared import clock, errors
from shared.models.receipt import RequestKey
from shared.models.task import Task
from shared.models.user import User

HEADER = "Idempotency-Key"
_PAUSE = 0.02  #: seconds before the receipt of a concurrent request is read again


SentKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Any text, new for each new request. A request repeated within a day with the same key "
        "gets the first answer and creates nothing.",
        examples=["3f0c6f4e-0d3b-4a55-9d0c-6a0d5b8f3f0e"],
    ),
]


async def key_of(request: Request, caller: User, sent: str | None) -> RequestKey | None:
    """Return the key of a request of `caller`, if one was `sent`. Raises `errors.InvalidInput`."""
    if sent is None:
        return None
    if len(request.headers.getlist(HEADER)) > 1:
        raise errors.InvalidInput.of(f"header.{HEADER}", "must not be there twice")
    return RequestKey(caller.id, sent, digest(await request.body()))


def digest(body: bytes) -> str:
    """Return a hash of a JSON text that ignores the order of names and the escapes. Raises `errors.InvalidInput`."""
    try:
        canonical = orjson.dumps(orjson.loads(body or b"null"), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # orjson writes fewer levels than it reads
        raise errors.InvalidInput.of("body", "is nested too deeply to be sent with a key") from None
    return hashlib.sha256(canonical).hexdigest()


async def once(context: Context, key: RequestKey | None, admit: Callable[[], Awaitable[list[Task]]]) -> list[int]:
    """
    Return the numbers of a request's tasks. If a request with this `key` was stored before, return its numbers;
    otherwise admit the tasks with `admit` and store all or none.

    Raises `errors.KeyReused`, `errors.TooManyRequests`, `errors.StoreUnavailable`, and what `admit` raises.
    """
    deadline = clock.monotonic() + context.settings.mongo_timeout
    while True:
        # Before admission: a request that was accepted once is not checked again, whatever has changed since.
        if key is not None and (receipt := await context.stores.receipts.get(key.receipt_id)) is not None:
            if receipt.body != key.body:
                raise errors.KeyReused()
            return receipt.ids
        ids = await context.submissions.submit_whole(await admit(), key)
        if ids is not None:
            return ids
        if clock.monotonic() > deadline:
            raise errors.StoreUnavailable("another request with this key is still being answered")
        await asyncio.sleep(_PAUSE)
