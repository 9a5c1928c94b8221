"""Serve files of tasks and users: check the rights, and pass the request on to the files service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.api.access.guards import VisibleTask, user_for, visible_task
from services.api.context import Context, ContextDep
from services.api.http import bodies, routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.file_paths import FilePath
from services.api.http.path_params import TaskId
from services.api.wire.answers import Entry, Message
from shared import errors
from shared.auth.grants import Grant, Mode
from shared.auth.permissions import Action
from shared.models.task import Task
from shared.models.user import User
from shared.storage import personal
from shared.units import sizes

router = routers.make("files")

VisibleUser = Annotated[User, user_for(Action.SEE_USER)]
ChangeableUser = Annotated[User, user_for(Action.CHANGE_USER)]

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file as an attachment; for a directory its entries, sorted by name",
        "content": {"application/octet-stream": _BYTES},
    },
    206: {
        "description": "The bytes that `Range` asked for",
        "content": {"application/octet-stream": _BYTES, "multipart/byteranges": _BYTES},
    },
    304: {"description": "The file has not changed since `If-None-Match` or `If-Modified-Since`"},
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
async def get_task_file(request: Request, task: VisibleTask, context: ContextDep, path: FilePath) -> Response:
    """
    An empty path or a directory answers a list, a file its content. Links, pipes, devices and files with more than one
    hard link are neither listed nor served: they may lead to the data of others.
    """
    return await _read(request, context, _of_task(context, task), path)


async def _shared_task(
    task_id: TaskId,
    token: Annotated[str, Path(max_length=256, description="Share token of the task")],
    context: ContextDep,
) -> Task:
    return await visible_task(task_id, context, None, token)


SharedTask = Annotated[Task, Depends(_shared_task)]


@router.get(
    "/task/{task_id}/share/{token}/files/{path:file}",
    response_model=list[Entry],
    responses=_READ,
    summary="Download a file of a shared task, or list a directory",
)
@router.head("/task/{task_id}/share/{token}/files/{path:file}", include_in_schema=False)
async def get_shared_task_file(request: Request, task: SharedTask, context: ContextDep, path: FilePath) -> Response:
    return await _read(request, context, _of_task(context, task), path)


@router.get(
    "/user/{user_id}/files/{path:file}",
    response_model=list[Entry],
    responses=_READ | responses(403),
    summary="Download a file of the personal storage, or list a directory",
)
@router.head("/user/{user_id}/files/{path:file}", include_in_schema=False)
async def get_user_file(request: Request, user: VisibleUser, context: ContextDep, path: FilePath) -> Response:
    """Tasks of the user see the personal storage as `$GODOCKER_DATA`, read only."""
    return await _read(request, context, _of_user(context, user, Mode.READ), path)


@router.put(
    "/user/{user_id}/files/{path:file}",
    response_model=Message,
    responses=AUTHENTICATED | responses(403, 404, 408, 409, 413),
    summary="Upload a file into the personal storage",
    openapi_extra=_UPLOAD,
)
async def put_user_file(request: Request, user: ChangeableUser, context: ContextDep, path: FilePath) -> Response:
    """
    The body is the file, of any size within the user's disk quota. Missing directories are created. An existing file is
    replaced once the new one is complete.
    """
    grant = _of_user(context, user, Mode.WRITE)
    declared = request.headers.get("content-length", "")
    if grant.quota is not None and declared.isdecimal():
        await context.files.check_room(grant, int(declared))
    return await context.files.forward("PUT", grant, path, headers=request.headers, body=_body(request, grant.quota))


@router.delete(
    "/user/{user_id}/files/{path:file}",
    response_model=Message,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Delete a file or a directory of the personal storage",
)
async def delete_user_file(request: Request, user: ChangeableUser, context: ContextDep, path: FilePath) -> Response:
    return await context.files.forward("DELETE", _of_user(context, user, Mode.WRITE), path, headers=request.headers)


@router.get(
    "/task/{task_id}/files", response_model=list[Entry], responses=_LIST, summary="List the directory of a task"
)
async def list_task_files(request: Request, task: VisibleTask, context: ContextDep) -> Response:
    return await _read(request, context, _of_task(context, task), b"")


@router.get(
    "/task/{task_id}/share/{token}/files",
    response_model=list[Entry],
    responses=_LIST,
    summary="List the directory of a shared task",
)
async def list_shared_task_files(request: Request, task: SharedTask, context: ContextDep) -> Response:
    return await _read(request, context, _of_task(context, task), b"")


@router.get(
    "/user/{user_id}/files",
    response_model=list[Entry],
    responses=_LIST | responses(403),
    summary="List the personal storage",
)
async def list_user_files(request: Request, user: VisibleUser, context: ContextDep) -> Response:
    return await _read(request, context, _of_user(context, user, Mode.READ), b"")


async def _read(request: Request, context: Context, grant: Grant, path: bytes) -> Response:
    return await context.files.forward(request.method, grant, path, headers=request.headers)


def _of_task(context: Context, task: Task) -> Grant:
    return Grant(context.directories.relative(task.place), Mode.READ)


def _of_user(context: Context, user: User, mode: Mode) -> Grant:
    try:
        directory = personal.relative(user.id)
    except ValueError:
        raise errors.NotFound("this user has no personal storage") from None
    return Grant(directory, mode, (user.uid, user.gid), _quota(context, user))


def _quota(context: Context, user: User) -> int | None:
    """Return the quota in bytes; None, spelt 0, for no limit."""
    if user.usage.disk is None:
        return context.settings.disk_default_quota or None
    return sizes.parse(user.usage.disk) or None


async def _body(request: Request, quota: int | None) -> AsyncIterator[bytes]:
    """Yield the pieces of the body, up to the quota: the rest could never be stored."""
    size = 0
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(bodies.BODY_TIMEOUT):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise errors.BodyIncomplete("the file did not arrive completely or in time") from None
        size += len(piece)
        if quota is not None and size > quota:
            raise errors.QuotaExceeded(f"the file is larger than the whole personal storage of {sizes.shown(quota)}")
        yield piece
