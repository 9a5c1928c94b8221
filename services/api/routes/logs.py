"""List the attempts of a task, and get or follow their output."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPAuthorizationCredentials
from starlette.responses import PlainTextResponse, Response

from services.api.access import callers, guards
from services.api.access.callers import MaybeCaller
from services.api.access.guards import VisibleTask
from services.api.answers import attempts
from services.api.context import Context, ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.logs import position
from services.api.logs.attempt_files import AttemptFiles
from services.api.logs.following import Follower
from services.api.logs.position import Position, Stream
from services.api.streams import sse
from services.api.wire.attempt import AttemptOut
from shared import errors
from shared.auth.grants import Grant, Mode
from shared.http import streaming
from shared.models.task import Task
from shared.models.work import Progress

router = routers.make("tasks")

MOST_LINES = 100_000
_OFFSET, _SIZE = "X-GoDocker-Offset", "X-GoDocker-Size"
_TEXT = {"schema": {"type": "string"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes as they were written; with `Accept: text/event-stream` the events",
        "headers": {
            _OFFSET: {"description": "Offset of the first byte of this answer", "schema": {"type": "integer"}},
            _SIZE: {"description": "Current size of the output in bytes", "schema": {"type": "integer"}},
        },
        "content": {"text/plain": _TEXT, "text/event-stream": _TEXT},
    },
}


@router.get(
    "/task/{task_id}/attempts",
    response_model=list[AttemptOut],
    responses=AUTHENTICATED | responses(404),
    summary="List the attempts to run a task",
)
async def list_attempts(task: VisibleTask) -> Json:
    """
    Return each attempt with its node, its times, how it ended and where its output is. A task has more than one attempt if its
    node failed, if it was rescheduled, or if a start was undone.
    """
    return Json(attempts.of(task))


@router.get(
    "/task/{task_id}/log",
    response_class=PlainTextResponse,
    responses=AUTHENTICATED | _ANSWERS | responses(404, 416, 429),
    summary="Get the output of a task, or follow it",
)
async def get_task_log(
    request: Request,
    task: VisibleTask,
    context: ContextDep,
    caller: MaybeCaller,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(callers.bearer)],
    share: Annotated[str | None, Depends(guards.share_token)],
    stream: Annotated[
        Stream | None, Query(description="`out` or `err`; default: `out`, or both when the output is followed")
    ] = None,
    offset: Annotated[int, Query(ge=0, description="First byte to send")] = 0,
    tail: Annotated[int | None, Query(ge=0, le=MOST_LINES, description="Send only this number of last lines")] = None,
    attempt: Annotated[int | None, Query(ge=1, description="Attempt; default: the last one")] = None,
    last_event_id: Annotated[str | None, Query(description="Continue after this event, like the header")] = None,
    last_event: Annotated[str | None, Header(alias="Last-Event-ID", include_in_schema=False)] = None,
) -> Response:
    """
    Answers the bytes as `text/plain`. With `Accept: text/event-stream`, the output is followed until the task is over:
    events `log` (`stream`, `offset`, `text`), `attempt` when one begins, and `end` with the status and the exit code.
    The id of an event is the position after it: with `Last-Event-ID` nothing is missed or sent twice. A byte that is
    not UTF-8 becomes the character U+DC00 plus the byte (Python: `text.encode("utf-8", "surrogateescape")` returns the
    bytes).
    """
    if task.array is not None:
        raise errors.NotFound(
            f"task {task.id} is an array: its children have output, the first is {task.array.first_id}"
        )
    if attempt is not None and attempt > max(1, task.attempt):
        raise errors.NotFound(f"task {task.id} has had {task.attempt} attempts")
    files = AttemptFiles(context.files, Grant(context.directories.relative(task.place), Mode.READ))
    if "text/event-stream" not in request.headers.get("accept", ""):
        return await _bytes(files, task, stream or Stream.OUT, attempt, offset=offset, lines=tail)
    resumed = last_event_id or last_event
    begin = (
        position.parse(resumed) if resumed else _begin(attempt or (task.attempt if offset else None), stream, offset)
    )

    async def check() -> None:
        await guards.visible_task(task.id, context, await callers.maybe_caller(request, credentials), share)

    follower_lines = None if resumed else tail
    release = context.streams.take(caller.id if caller else f"share of task {task.id}")
    streams = list(Stream) if stream is None else [stream]
    return sse.response(
        _followed(context, task, files, streams, begin, follower_lines, attempt), check=check, release=release
    )


def _begin(attempt: int | None, stream: Stream | None, offset: int) -> Position:
    begin = Position(attempt or 0)
    return begin.at(stream or Stream.OUT, offset) if attempt else begin


async def _followed(
    context: Context,
    task: Task,
    files: AttemptFiles,
    streams: list[Stream],
    begin: Position,
    lines: int | None,
    to_attempt: int | None,
) -> AsyncGenerator[sse.Event, None]:
    with context.watch.watching(task.id) as watched:
        follower = Follower(files, watched, streams, begin, lines=lines, to_attempt=to_attempt)
        async for event in follower.events():
            yield sse.Event(event.name, event.data, str(event.position))


async def _bytes(
    files: AttemptFiles, task: Task, stream: Stream, attempt: int | None, *, offset: int, lines: int | None
) -> Response:
    if task.purge is not None:
        raise errors.NotFound(f"the files of task {task.id} were removed")
    progress = Progress(task.id, task.attempt, task.status, started_at=task.started_at)
    answer = await files.open(stream, attempt or task.attempt, progress, offset=offset, lines=lines)
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if answer is None:
        if offset:
            raise errors.RangeNotSatisfiable(0)
        return Response(b"", headers={**headers, _OFFSET: "0", _SIZE: "0"})
    sizes = {_OFFSET: str(answer.offset), _SIZE: str(answer.size), "Content-Length": str(answer.size - answer.offset)}

    async def release() -> None:
        await answer.pieces.aclose()

    return streaming.Streamed(answer.pieces, status=200, headers={**headers, **sizes}, release=release)
