"""Combine many small concurrent calls into few large ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """
    Collects requests while an earlier batch runs, then sends them all at once: like the group commit of a database, one
    caller waits no longer than alone, and a thousand share a round trip.

    An answer comes from a batch that began after its request, so a caller never sees a state older than its call.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        name: str,
        limit: int = 500,
        parallel: int = 1,
    ) -> None:
        """
        `work` takes up to `limit` items and returns one answer each, or an exception, which is raised to that caller alone;
        an exception it raises goes to all callers of the batch. At most `parallel` batches run at a time.
        """
        self._work = work
        self._name = name
        self._limit = limit
        self._parallel = parallel
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, item: Item) -> Answer:
        """Put `item` into the next batch and return its answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    async def drain(self) -> None:
        """Wait until no batch runs."""
        while self._running:
            await asyncio.wait(self._running)

    def _start(self) -> None:
        if self._waiting and len(self._running) < self._parallel:
            task = asyncio.create_task(self._run(), name=f"batch-{self._name}")
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _run(self) -> None:
        batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        try:
            answers = await self._work([item for item, _ in batch])
            if len(answers) != len(batch):
                # Otherwise a caller would wait forever.
                raise RuntimeError(f"batch {self._name}: {len(batch)} questions, {len(answers)} answers")
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # its caller is gone
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
