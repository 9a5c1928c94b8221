"""Send a file from an offset or its last lines on, and follow what is appended."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.files import reading
from services.files.context import Context, ContextDep
from services.files.logs import following, tails
from services.files.routes.files import FilePath, Granted
from shared import errors
from shared.http import streaming
from shared.storage import resolve

router = APIRouter()

MOST_TAIL = 16 * 1024 * 1024  #: bytes that are searched for last lines
_PIECE = 128 * 1024

OFFSET, SIZE = "X-GoDocker-Offset", "X-GoDocker-Size"


@router.get("/log")
async def read_log(
    context: ContextDep,
    grant: Granted,
    path: FilePath,
    offset: Annotated[int, Query(ge=0)] = 0,
    lines: Annotated[int | None, Query(ge=0)] = None,
    follow: bool = False,
) -> Response:
    """
    Answer the bytes from `offset`, or the last `lines` lines, up to the current end of the file; with `follow`, without
    end. The headers give the offset of the first byte and the size of the file.
    """
    target = await context.threads.lookup(context.places.find, grant, path)
    if target is None or target.is_directory:
        if target is not None:
            os.close(target.descriptor)
        raise errors.NotFound("there is no such file")
    try:
        size = target.status.st_size
        if lines is not None:
            with resolve.translated():
                offset = await context.threads.lookup(
                    tails.offset_of_last_lines, target.descriptor, size, lines=lines, most=MOST_TAIL
                )
        elif offset > size:
            raise errors.RangeNotSatisfiable(size)
        return _answer(context, target, offset, size, follow=follow)
    except BaseException:
        os.close(target.descriptor)
        raise


def _answer(context: Context, target: resolve.Found, offset: int, size: int, *, follow: bool) -> Response:
    async def release() -> None:
        os.close(target.descriptor)

    headers = {
        OFFSET: str(offset),
        SIZE: str(size),
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    if follow:
        return streaming.Streamed(
            following.grown(target, offset, context.threads), status=200, headers=headers, release=release
        )
    headers["Content-Length"] = str(size - offset)
    return streaming.Streamed(_pieces(context, target, offset, size), status=200, headers=headers, release=release)


async def _pieces(context: Context, target: resolve.Found, offset: int, size: int) -> streaming.Pieces:
    while offset < size:
        piece = await reading.piece(target.descriptor, min(_PIECE, size - offset), offset, context.threads)
        yield piece
        offset += len(piece)
