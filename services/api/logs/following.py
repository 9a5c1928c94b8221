"""
Follow the output of a task from any byte to its last attempt's end.

    wait for the attempt ──► `log` events while it runs ──► the rest, once it ended ──► `attempt` of the next, or `end`

Nothing is kept between requests: the id of an event is the position after it, from which a client can continue at any
gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from services.api.logs.attempt_files import AttemptFiles
from services.api.logs.position import Position, Stream
from services.api.logs.task_watch import Watched
from services.api.streams.text import Decoder
from shared import errors
from shared.models.work import Progress

log = structlog.get_logger(__name__)

_QUEUED = 2  #: pieces of at most 64 KiB
_RETRY_FIRST, _RETRY_MOST = 0.2, 2.0  #: seconds after the files service broke off
_ABSENT = 0.2  #: seconds between two attempts to open a file that does not exist yet


@dataclass(frozen=True, slots=True)
class Event:
    """One event for the client. `position` is the one after it."""

    name: str
    data: dict[str, Any]
    position: Position


class Follower:
    """Follows one task for one client."""

    def __init__(
        self,
        files: AttemptFiles,
        watched: Watched,
        streams: Sequence[Stream],
        position: Position,
        *,
        lines: int | None = None,
        to_attempt: int | None = None,
    ) -> None:
        """`lines`: begin with this number of last lines. `to_attempt`: end with this attempt, even if others follow."""
        self._files = files
        self._watched = watched
        self._streams = streams
        self._position = position
        self._lines = {stream: lines for stream in streams}
        self._to_attempt = to_attempt
        self._decoders = {stream: Decoder() for stream in streams}

    async def events(self) -> AsyncIterator[Event]:
        """Yield everything up to the end of the task. Waits while the task waits."""
        is_new = not self._position.attempt
        progress = await self._watched.now()
        while progress is not None:
            if not self._position.attempt and progress.attempt:
                self._position = Position(progress.attempt)
            attempt = self._position.attempt
            if attempt and attempt <= progress.attempt:
                if is_new:
                    yield Event("attempt", {"attempt": attempt, "node": progress.node}, self._position)
                async for event in self._attempt(progress):
                    yield event
                progress = await self._watched.now()
                if progress is None:
                    break
                if attempt < progress.attempt and attempt != self._to_attempt:
                    self._position, is_new = Position(attempt + 1), True
                    self._lines = dict.fromkeys(self._streams)
                    continue
                if attempt == self._to_attempt and not progress.is_live(attempt):
                    break
            if progress.has_ended:
                break
            progress = await self._watched.changed()
        yield Event("end", _end(progress), self._position)

    async def _attempt(self, progress: Progress) -> AsyncIterator[Event]:
        """Yield the rest of the current attempt, until it has ended."""
        attempt = self._position.attempt
        if progress.is_live(attempt):
            async with _pumps(self._pump(stream, attempt, progress) for stream in self._streams) as pieces:
                changed = asyncio.ensure_future(self._watched.changed())
                arrived = asyncio.ensure_future(pieces.get())
                try:
                    while True:
                        await asyncio.wait({changed, arrived}, return_when=asyncio.FIRST_COMPLETED)
                        if arrived.done():
                            for event in self._events(*arrived.result()):
                                yield event
                            arrived = asyncio.ensure_future(pieces.get())
                            continue
                        latest = changed.result()
                        if latest is None or not latest.is_live(attempt):
                            break
                        changed = asyncio.ensure_future(self._watched.changed())
                finally:
                    changed.cancel()
                    arrived.cancel()
                    await asyncio.wait({changed, arrived})
        for stream in self._streams:
            async for event in self._rest(stream):
                yield event

    async def _rest(self, stream: Stream) -> AsyncIterator[Event]:
        """Yield what an ended attempt wrote after the position."""
        attempt, delay = self._position.attempt, _RETRY_FIRST
        while (progress := await self._watched.now()) is not None:
            offset = self._position.of(stream) + self._decoders[stream].held_back
            try:
                answer = await self._files.open(stream, attempt, progress, offset=offset, lines=self._lines[stream])
                if answer is not None:
                    self._begin(stream, answer.offset)
                    async with contextlib.aclosing(answer.pieces) as pieces:
                        at = answer.offset
                        async for piece in pieces:
                            for event in self._events(stream, at, piece):
                                yield event
                            at += len(piece)
                break
            except errors.RangeNotSatisfiable:
                break  # the file became shorter, and its content may have been sent
            except (errors.FilesUnavailable, errors.TransferBroken) as error:
                log.info("log.retried", task_id=progress.id, error=str(error), retry_in=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _RETRY_MOST)
        if text := self._decoders[stream].rest():
            yield self._event(stream, text)
        self._decoders[stream] = Decoder()

    async def _pump(self, stream: Stream, attempt: int, progress: Progress) -> AsyncIterator[tuple[Stream, int, bytes]]:
        """Yield the pieces of a stream with their offsets as they are written; retry when the files service fails."""
        offset, delay = self._position.of(stream), _RETRY_FIRST
        while True:
            try:
                answer = await self._files.open(
                    stream, attempt, progress, offset=offset, lines=self._lines[stream], follow=True
                )
                if answer is not None:
                    delay, offset = _RETRY_FIRST, answer.offset
                    self._begin(stream, offset)
                    async with contextlib.aclosing(answer.pieces) as pieces:
                        async for piece in pieces:
                            yield stream, offset, piece
                            offset += len(piece)
            except errors.RangeNotSatisfiable:
                offset = 0  # the file became shorter: its writer started again
            except (errors.FilesUnavailable, errors.TransferBroken) as error:
                log.info("log.retried", task_id=progress.id, error=str(error), retry_in=delay)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _RETRY_MOST)
                continue
            await asyncio.sleep(_ABSENT)

    def _begin(self, stream: Stream, offset: int) -> None:
        """Record where the last lines begin, if they were requested."""
        if self._lines[stream] is not None:
            self._lines[stream] = None
            self._position = self._position.at(stream, offset)

    def _events(self, stream: Stream, offset: int, piece: bytes) -> list[Event]:
        decoder = self._decoders[stream]
        if offset != self._position.of(stream) + decoder.held_back:
            # The last lines begin later, or the file became shorter.
            decoder = self._decoders[stream] = Decoder()
            self._position = self._position.at(stream, offset)
        text = decoder.decode(piece)
        return [self._event(stream, text)] if text else []

    def _event(self, stream: Stream, text: str) -> Event:
        begin = self._position.of(stream)
        self._position = self._position.at(stream, begin + len(text.encode("utf-8", "surrogateescape")))
        return Event("log", {"stream": stream, "offset": begin, "text": text}, self._position)


def _end(progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {"status": "deleted"}
    return {
        "status": progress.status,
        "attempt": progress.attempt,
        "ending": progress.ending,
        "exit_code": progress.exit_code,
        "reason": progress.reason,
    }


@contextlib.asynccontextmanager
async def _pumps(sources: Any) -> AsyncIterator[asyncio.Queue[tuple[Stream, int, bytes]]]:
    """Yield a queue that all `sources` fill concurrently; each waits while it is full."""
    queue: asyncio.Queue[tuple[Stream, int, bytes]] = asyncio.Queue(_QUEUED)

    async def fill(source: Any) -> None:
        async with contextlib.aclosing(source) as pieces:
            async for piece in pieces:
                await queue.put(piece)

    tasks = [asyncio.create_task(fill(source), name="follow-log") for source in sources]
    try:
        yield queue
    finally:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                log.error("log.pump_failed", exc_info=error)
