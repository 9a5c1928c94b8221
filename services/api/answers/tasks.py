"""Answers that show tasks, with the scheduler's verdicts and the nodes' silences joined in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from services.api.context import Context
from services.api.wire import task as wire
from services.api.wire.answers import Json
from shared import errors
from shared.http import streaming
from shared.models.task import Task
from shared.store.tasks.lists import Stream

_CHUNK = 100  #: tasks that are made ready at once, a few milliseconds' work


async def one(here: Context, task: Task) -> Json:
    return Json((await documents(here, [task]))[0])


async def many(here: Context, tasks: Sequence[Task]) -> Json:
    return Json(await documents(here, tasks))


async def documents(here: Context, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The tasks as the Web API shows them."""
    verdicts, silences = await here.verdicts(tasks), await here.silences(tasks)
    addresses = await here.public_addresses(tasks)
    return [
        wire.shown(
            task,
            directories=here.directories,
            verdict=verdicts.get(task.id),
            silence=silences.get(task.placement.node) if task.placement else None,
            address=addresses.get(task.placement.node) if task.placement else None,
        )
        for task in tasks
    ]


async def status(here: Context, task: Task) -> dict[str, Any]:
    """Where a task is, and why, as the Web API shows it."""
    verdicts, silences = await here.verdicts([task]), await here.silences([task])
    silence = silences.get(task.placement.node) if task.placement else None
    return wire.status(task, verdict=verdicts.get(task.id), silence=silence)


async def streamed(here: Context, tasks: Stream) -> Response:
    """
    The tasks as a JSON array, sent as they are read: any number of them in flat memory, and others have their turn in between.
    Raises `errors.StoreUnavailable` where the first of them cannot be read; where later ones cannot, the answer breaks off.
    """
    begun = await _some(tasks)
    if len(begun) < _CHUNK:
        return await many(here, begun)
    kind = {"Content-Type": Json.media_type}
    return streaming.Streamed(_pieces(here, begun, tasks), status=200, headers=kind, release=tasks.aclose)


async def _pieces(here: Context, begun: list[Task], tasks: Stream) -> streaming.Pieces:
    separator, chunk = b"[", begun
    try:
        while chunk:
            yield separator + orjson.dumps(await documents(here, chunk))[1:-1]
            separator, chunk = b",", await _some(tasks)
    except errors.StoreUnavailable as error:
        raise errors.TransferBroken(f"the tasks could not be read to the last: {error}") from error
    yield b"]"


async def _some(tasks: Stream) -> list[Task]:
    found: list[Task] = []
    async for task in tasks:
        found.append(task)
        if len(found) == _CHUNK:
            break
    return found
