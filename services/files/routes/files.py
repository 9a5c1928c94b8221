"""Routes of the files service: read, write and remove below the granted directory, and check its room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.files.context import ContextDep
from shared import errors
from shared.auth import grants
from shared.auth.grants import Grant, Mode

router = APIRouter()

_ROOM = "/room"  #: needs a grant to write
_BODY_TIMEOUT = 60.0  #: seconds within which the next piece of a body must arrive

_bearer = HTTPBearer(auto_error=False)


async def _granted(
    request: Request, context: ContextDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Grant:
    """Return the request's grant, whose mode must be the one that the method needs."""
    grant = grants.read(credentials.credentials if credentials else "", key=context.key)
    reads = request.method in ("GET", "HEAD") and request.url.path != _ROOM
    needed = Mode.READ if reads else Mode.WRITE
    if grant.mode is not needed:
        raise errors.NotAllowed(f"the grant does not allow to {needed}")
    return grant


async def _path(request: Request) -> bytes:
    # Not by the framework: it would decode the path, and file names are bytes.
    _, _, path = bytes(request.scope["query_string"]).partition(b"path=")
    return unquote_to_bytes(path)


Granted = Annotated[Grant, Depends(_granted)]
FilePath = Annotated[bytes, Depends(_path)]


@router.get("/files")
@router.head("/files")
async def read(request: Request, context: ContextDep, grant: Granted, path: FilePath) -> Response:
    target = await context.threads.lookup(context.places.find, grant, path)
    if target is None:
        return context.downloads.empty()
    if target.is_directory:
        return await context.downloads.directory(target)
    return await context.downloads.file(target, path.rpartition(b"/")[2], request.headers)


@router.put("/files")
async def write(request: Request, context: ContextDep, grant: Granted, path: FilePath) -> Response:
    declared = request.headers.get("content-length", "")
    size = await context.uploads.receive(
        grant, path, _body(request), declared=int(declared) if declared.isdecimal() else None
    )
    return _message("File stored", size=size)


@router.get(_ROOM)
async def room(context: ContextDep, grant: Granted, size: Annotated[int, Query(ge=0)]) -> Response:
    await context.uploads.check_room(grant, size)
    return _message("There is room")


@router.delete("/files")
async def remove(context: ContextDep, grant: Granted, path: FilePath) -> Response:
    await context.remover.remove(grant, path)
    context.quotas.changed(grant.directory)
    return _message("File removed")


async def _body(request: Request) -> AsyncIterator[bytes]:
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(_BODY_TIMEOUT):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise errors.BodyIncomplete("the file did not arrive completely") from None
        yield piece


def _message(message: str, **fields: int) -> Response:
    body = orjson.dumps({"msg": message, **fields})
    return Response(body, headers={"Content-Type": "application/json; charset=UTF-8"})
