"""Answer a request that comes again under the same `Idempotency-Key` as it was answered before."""

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
_PAUSE = 0.02  #: seconds, until what another request has written is safe to answer from


SentKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Any text, new for each new request. The same request sent again within a day under the same key is "
        "answered as the first one was, and creates nothing.",
        examples=["3f0c6f4e-0d3b-4a55-9d0c-6a0d5b8f3f0e"],
    ),
]


async def key_of(request: Request, caller: User, sent: str | None) -> RequestKey | None:
    """The key of a request of `caller`, if one was `sent`. Raises `errors.InvalidInput`."""
    if sent is None:
        return None
    if len(request.headers.getlist(HEADER)) > 1:
        raise errors.InvalidInput.of(f"header.{HEADER}", "must not be there twice")
    return RequestKey(caller.id, sent, digest(await request.body()))


def digest(body: bytes) -> str:
    """A hash of what a JSON text says, however its names are ordered and its characters spelt. Raises `errors.InvalidInput`."""
    try:
        said = orjson.dumps(orjson.loads(body or b"null"), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # it writes fewer levels than it reads
        raise errors.InvalidInput.of("body", "is nested too deeply to be sent under a key") from None
    return hashlib.sha256(said).hexdigest()


async def once(here: Context, key: RequestKey | None, admit: Callable[[], Awaitable[list[Task]]]) -> list[int]:
    """
    The numbers of the tasks that a request brings: those of its first arrival, if it came before under `key`. Otherwise they are
    admitted by `admit` and stored, all or none.

    Raises `errors.KeyReused`, `errors.TooManyRequests`, `errors.StoreUnavailable`, and what `admit` raises.
    """
    deadline = clock.monotonic() + here.settings.mongo_timeout
    while True:
        # First of all: what was accepted once is not judged again, whatever has changed since.
        if key is not None and (receipt := await here.stores.receipts.get(key.receipt_id)) is not None:
            if receipt.body != key.body:
                raise errors.KeyReused()
            return receipt.ids
        ids = await here.submissions.submit_whole(await admit(), key)
        if ids is not None:
            return ids
        if clock.monotonic() > deadline:
            raise errors.StoreUnavailable("another request with this key is being answered")
        await asyncio.sleep(_PAUSE)
