"""Answers that show tasks, with the scheduler's verdicts and the nodes' silences joined in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from starlette.responses import StreamingResponse

from services.api.context import Context
from services.api.wire import task as wire
from services.api.wire.answers import Json
from shared.models.task import Task


async def one(here: Context, task: Task) -> Json:
    return Json((await documents(here, [task]))[0])


async def many(here: Context, tasks: Sequence[Task]) -> Json:
    return Json(await documents(here, tasks))


async def documents(here: Context, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The tasks as the Web API shows them."""
    verdicts, silences = await here.verdicts(tasks), await here.silences(tasks)
    return [
        wire.shown(
            task,
            directories=here.directories,
            verdict=verdicts.get(task.shape),
            silence=silences.get(task.placement.node) if task.placement else None,
        )
        for task in tasks
    ]


async def status(here: Context, task: Task) -> dict[str, Any]:
    """Where a task is, and why, as the Web API shows it."""
    verdicts, silences = await here.verdicts([task]), await here.silences([task])
    silence = silences.get(task.placement.node) if task.placement else None
    return wire.status(task, verdict=verdicts.get(task.shape), silence=silence)


def streamed(here: Context, tasks: AsyncIterator[Task]) -> StreamingResponse:
    """A JSON array of tasks that are over, sent as they are read: any number of them in flat memory."""

    async def parts() -> AsyncIterator[bytes]:
        separator = b"["
        async for task in tasks:
            yield separator + orjson.dumps(wire.shown(task, directories=here.directories, verdict=None))
            separator = b","
        yield b"[]" if separator == b"[" else b"]"

    return StreamingResponse(parts(), media_type=Json.media_type)
