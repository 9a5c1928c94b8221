"""`/files?path=…`: read, write and remove below the directory that the request's grant names; `/room?size=…` beside it."""

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

from services.files import parts
from services.files.parts import Parts
from shared import errors
from shared.auth import grants
from shared.auth.grants import Grant, Mode

router = APIRouter()

_ROOM = "/room"  #: is asked for with a grant to write
_BODY_TIMEOUT = 60.0  #: seconds in which the next piece of a body must have arrived

_bearer = HTTPBearer(auto_error=False)
Here = Annotated[Parts, Depends(parts.of)]


async def _granted(
    request: Request, here: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Grant:
    """The request's grant, which must be one for what the method does."""
    grant = grants.read(credentials.credentials if credentials else "", key=here.key)
    reads = request.method in ("GET", "HEAD") and request.url.path != _ROOM
    needed = Mode.READ if reads else Mode.WRITE
    if grant.mode is not needed:
        raise errors.NotAllowed(f"the grant is not one to {needed}")
    return grant


async def _path(request: Request) -> bytes:
    # Not by the framework: it would make text of it, and the names of files are bytes.
    _, _, path = bytes(request.scope["query_string"]).partition(b"path=")
    return unquote_to_bytes(path)


Granted = Annotated[Grant, Depends(_granted)]
FilePath = Annotated[bytes, Depends(_path)]


@router.get("/files")
@router.head("/files")
async def read(request: Request, here: Here, grant: Granted, path: FilePath) -> Response:
    found = await here.threads.look(here.places.find, grant, path)
    if found is None:
        return here.downloads.nothing()
    if found.is_directory:
        return await here.downloads.directory(found)
    return await here.downloads.file(found, path.rpartition(b"/")[2], request.headers)


@router.put("/files")
async def write(request: Request, here: Here, grant: Granted, path: FilePath) -> Response:
    declared = request.headers.get("content-length", "")
    size = await here.uploads.receive(
        grant, path, _body(request), declared=int(declared) if declared.isdecimal() else None
    )
    return _said("File stored", size=size)


@router.get(_ROOM)
async def room(here: Here, grant: Granted, size: Annotated[int, Query(ge=0)]) -> Response:
    await here.uploads.check_room(grant, size)
    return _said("There is room")


@router.delete("/files")
async def remove(here: Here, grant: Granted, path: FilePath) -> Response:
    await here.remover.remove(grant, path)
    here.quotas.changed(grant.directory)
    return _said("File removed")


async def _body(request: Request) -> AsyncIterator[bytes]:
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(_BODY_TIMEOUT):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise errors.BodyIncomplete("the file did not arrive to its end") from None
        yield piece


def _said(message: str, **fields: int) -> Response:
    body = orjson.dumps({"msg": message, **fields})
    return Response(body, headers={"Content-Type": "application/json; charset=UTF-8"})
