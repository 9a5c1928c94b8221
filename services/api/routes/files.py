"""Files of tasks and of users: who may have them is decided here, the bytes come from the files service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.api.access import callers
from services.api.access.callers import Here, TaskId, Visible
from services.api.access.subjects import user_for
from services.api.context import Context
from services.api.http import bodies, routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.file_paths import FilePath
from services.api.wire.answers import Entry, Message
from shared import errors
from shared.auth.grants import Grant, Mode
from shared.auth.permissions import Action
from shared.models.task import Task
from shared.models.user import User
from shared.storage import personal
from shared.units import sizes

router = routers.make("files")

Seen = Annotated[User, user_for(Action.SEE_USER)]
Changed = Annotated[User, user_for(Action.CHANGE_USER)]

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file as an attachment; of a directory its entries, sorted by name",
        "content": {"application/octet-stream": _BYTES},
    },
    206: {
        "description": "The bytes that `Range` asked for",
        "content": {"application/octet-stream": _BYTES, "multipart/byteranges": _BYTES},
    },
    304: {"description": "The file is the one that `If-None-Match` or `If-Modified-Since` names"},
}
_READ = AUTHENTICATED | _ANSWERS | responses(404, 409, 412, 416)
_LIST = AUTHENTICATED | responses(404)
_UPLOAD = {"requestBody": {"content": {"application/octet-stream": _BYTES}, "required": True}}


@router.get(
    "/task/{task_id}/files/{path:file}",
    response_model=list[Entry],
    responses=_READ,
    summary="Download a file of a task, or list a directory",
)
@router.head("/task/{task_id}/files/{path:file}", include_in_schema=False)
async def get_task_file(request: Request, task: Visible, here: Here, path: FilePath) -> Response:
    """
    An empty path, or that of a directory, gives its list; that of a file the file. Links, pipes, devices and files with
    more than one hard link are neither listed nor served: they may lead to what is somebody else's.
    """
    return await _read(request, here, _of_task(here, task), path)


async def _shared_task(
    task_id: TaskId, token: Annotated[str, Path(max_length=256, description="Share token of the task")], here: Here
) -> Task:
    return await callers.visible_task(task_id, here, None, token)


Shared = Annotated[Task, Depends(_shared_task)]


@router.get(
    "/task/{task_id}/share/{token}/files/{path:file}",
    response_model=list[Entry],
    responses=_READ,
    summary="Download a file of a shared task, or list a directory",
)
@router.head("/task/{task_id}/share/{token}/files/{path:file}", include_in_schema=False)
async def get_shared_task_file(request: Request, task: Shared, here: Here, path: FilePath) -> Response:
    return await _read(request, here, _of_task(here, task), path)


@router.get(
    "/user/{user_id}/files/{path:file}",
    response_model=list[Entry],
    responses=_READ | responses(403),
    summary="Download a file of the personal storage, or list a directory",
)
@router.head("/user/{user_id}/files/{path:file}", include_in_schema=False)
async def get_user_file(request: Request, user: Seen, here: Here, path: FilePath) -> Response:
    """Tasks of the user see it as `$GODOCKER_DATA`, read only."""
    return await _read(request, here, _of_user(here, user, Mode.READ), path)


@router.put(
    "/user/{user_id}/files/{path:file}",
    response_model=Message,
    responses=AUTHENTICATED | responses(403, 404, 408, 409, 413),
    summary="Upload a file into the personal storage",
    openapi_extra=_UPLOAD,
)
async def put_user_file(request: Request, user: Changed, here: Here, path: FilePath) -> Response:
    """
    The body is the file, of any size that the user's disk quota has room for. Folders on the way are made; a file of the
    name is replaced once all of the new one is there.
    """
    grant = _of_user(here, user, Mode.WRITE)
    declared = request.headers.get("content-length", "")
    if grant.quota is not None and declared.isdecimal():
        await here.files.check_room(grant, int(declared))
    return await here.files.forward("PUT", grant, path, headers=request.headers, body=_body(request, grant.quota))


@router.delete(
    "/user/{user_id}/files/{path:file}",
    response_model=Message,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Delete a file or a directory of the personal storage",
)
async def delete_user_file(request: Request, user: Changed, here: Here, path: FilePath) -> Response:
    return await here.files.forward("DELETE", _of_user(here, user, Mode.WRITE), path, headers=request.headers)


@router.get(
    "/task/{task_id}/files", response_model=list[Entry], responses=_LIST, summary="List the directory of a task"
)
async def list_task_files(request: Request, task: Visible, here: Here) -> Response:
    return await _read(request, here, _of_task(here, task), b"")


@router.get(
    "/task/{task_id}/share/{token}/files",
    response_model=list[Entry],
    responses=_LIST,
    summary="List the directory of a shared task",
)
async def list_shared_task_files(request: Request, task: Shared, here: Here) -> Response:
    return await _read(request, here, _of_task(here, task), b"")


@router.get(
    "/user/{user_id}/files",
    response_model=list[Entry],
    responses=_LIST | responses(403),
    summary="List the personal storage",
)
async def list_user_files(request: Request, user: Seen, here: Here) -> Response:
    return await _read(request, here, _of_user(here, user, Mode.READ), b"")


async def _read(request: Request, here: Context, grant: Grant, path: bytes) -> Response:
    return await here.files.forward(request.method, grant, path, headers=request.headers)


def _of_task(here: Context, task: Task) -> Grant:
    return Grant(here.directories.relative(task.place), Mode.READ)


def _of_user(here: Context, user: User, mode: Mode) -> Grant:
    try:
        directory = personal.relative(user.id)
    except ValueError:
        raise errors.NotFound("this user has no personal storage") from None
    return Grant(directory, mode, (user.uid, user.gid), _quota(here, user))


def _quota(here: Context, user: User) -> int | None:
    """Bytes; None: no limit, which is spelt 0."""
    if user.usage.disk is None:
        return here.settings.disk_default_quota or None
    return sizes.parse(user.usage.disk) or None


async def _body(request: Request, quota: int | None) -> AsyncIterator[bytes]:
    """The body as it comes, up to what could ever fit: the rest of it need not travel any further."""
    size = 0
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(bodies.BODY_TIMEOUT):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise errors.BodyIncomplete("the file did not arrive to its end, or not in time") from None
        size += len(piece)
        if quota is not None and size > quota:
            raise errors.QuotaExceeded(f"the file is larger than the whole personal storage of {sizes.shown(quota)}")
        yield piece
