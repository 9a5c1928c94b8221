"""Answers that show tasks, joined with their pending reasons and unreachable nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from services.api.context import Context
from services.api.http.json_responses import Json
from services.api.wire import task as wire
from shared import errors
from shared.http import streaming
from shared.models.task import Task
from shared.store.tasks.lists import Stream

_CHUNK = 100  #: tasks rendered at once, in a few milliseconds


async def one(context: Context, task: Task) -> Json:
    return Json((await documents(context, [task]))[0])


async def many(context: Context, tasks: Sequence[Task]) -> Json:
    return Json(await documents(context, tasks))


async def documents(context: Context, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Return the tasks as the Web API shows them."""
    reasons, unreachable = await context.pending_reasons(tasks), await context.unreachable_nodes(tasks)
    addresses = await context.public_addresses(tasks)
    return [
        wire.shown(
            task,
            directories=context.directories,
            pending_reason=reasons.get(task.id),
            unreachable=unreachable.get(task.placement.node) if task.placement else None,
            address=addresses.get(task.placement.node) if task.placement else None,
        )
        for task in tasks
    ]


async def status(context: Context, task: Task) -> dict[str, Any]:
    """Return the status of a task as the Web API shows it."""
    reasons, nodes = await context.pending_reasons([task]), await context.unreachable_nodes([task])
    unreachable = nodes.get(task.placement.node) if task.placement else None
    return wire.status(task, pending_reason=reasons.get(task.id), unreachable=unreachable)


async def streamed(context: Context, tasks: Stream) -> Response:
    """
    Return the tasks as a JSON array that is sent as they are read: any number of them in constant memory, with turns
    for other requests. Raises `errors.StoreUnavailable` if the first ones cannot be read; if later ones cannot, the
    answer breaks off.
    """
    first = await _next_chunk(tasks)
    if len(first) < _CHUNK:
        return await many(context, first)
    kind = {"Content-Type": Json.media_type}
    return streaming.Streamed(_pieces(context, first, tasks), status=200, headers=kind, release=tasks.aclose)


async def _pieces(context: Context, first: list[Task], tasks: Stream) -> streaming.Pieces:
    separator, chunk = b"[", first
    try:
        while chunk:
            yield separator + orjson.dumps(await documents(context, chunk))[1:-1]
            separator, chunk = b",", await _next_chunk(tasks)
    except errors.StoreUnavailable as error:
        raise errors.TransferBroken(f"not all tasks could be read: {error}") from error
    yield b"]"


async def _next_chunk(tasks: Stream) -> list[Task]:
    chunk: list[Task] = []
    async for task in tasks:
        chunk.append(task)
        if len(chunk) == _CHUNK:
            break
    return chunk
