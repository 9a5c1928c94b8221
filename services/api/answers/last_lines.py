"""Read the last lines of a task's error output, to explain how it ended."""

from __future__ import annotations

import asyncio

import structlog

from services.api.context import Context
from shared import errors
from shared.auth.grants import Grant, Mode
from shared.lifecycle import TaskStatus
from shared.models.task import Task
from shared.wording import texts

log = structlog.get_logger(__name__)

FILE = "god.err"
LINES = 10
WIDTH = 300  #: characters of one line
_BYTES = 4096
_TIMEOUT = 3.0  #: seconds; an explanation does without these lines


async def of_errors(context: Context, task: Task) -> str:
    """Return the last lines of `god.err` of a task that is over; empty if there are none or they cannot be read."""
    if (
        task.status is not TaskStatus.OVER
        or task.purge is not None
        or task.array is not None
        or task.started_at is None
    ):
        return ""
    grant = Grant(context.directories.relative(task.place), Mode.READ)
    try:
        async with asyncio.timeout(_TIMEOUT):
            content = await context.files.tail(grant, FILE.encode(), most=_BYTES)
    except (errors.FilesUnavailable, errors.TransferBroken, TimeoutError) as error:
        log.info("output.not_read", task_id=task.id, error=str(error) or type(error).__name__)
        return ""
    return plain(content, is_cut=len(content) == _BYTES)


def plain(content: bytes, *, is_cut: bool) -> str:
    """
    Return the last `LINES` lines of `content`, each of at most `WIDTH` characters, with control characters as their
    numbers. `is_cut`: the content may begin in the middle of a line.
    """
    lines = content.decode(errors="replace").replace("\r\n", "\n").rstrip("\n").split("\n")
    if is_cut and len(lines) > 1:
        del lines[0]
    return "\n".join(_short(texts.printable(line, keep="\t")) for line in lines[-LINES:])


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
