"""Write the mails that task owners requested to the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from services.watcher.mail import templates
from shared import errors
from shared.lifecycle import ENDED
from shared.models.notice import NoticeEvent
from shared.models.task import Task
from shared.runtime import lifetime
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.units import addresses

log = structlog.get_logger(__name__)

_BATCH = 100


class OutboxWriter:
    """
    Finds the mails that are due by the tasks themselves, so that transitions need not care about them. A mail is written before
    the task records it: after a crash in between it is written again under the same id, which changes nothing.
    """

    def __init__(self, stores: Stores, directories: TaskDirectories, *, poll: float) -> None:
        self._stores = stores
        self._directories = directories
        self._poll = poll

    async def run(self, stop: asyncio.Event) -> None:
        """Write due mails until `stop`."""
        async for _ in lifetime.every(stop, self._poll):
            try:
                while not stop.is_set() and await self._write_some() == _BATCH:
                    pass
            except errors.StoreUnavailable as error:
                log.warning("outbox.not_written", error=str(error))

    async def _write_some(self) -> int:
        tasks = await self._stores.outbox.owing(limit=_BATCH)
        for task in tasks:
            await self._write(task)
        return len(tasks)

    async def _write(self, task: Task) -> None:
        # The current address: it may have changed since the task was submitted.
        owner = await self._stores.users.get(task.user.id)
        if owner is not None and not owner.active:
            log.info("mail.owner_disabled", task_id=task.id, user=owner.id)
        elif owner is not None and owner.email and addresses.is_address(owner.email):
            directory = str(self._directories.path(task.place))
            notices = [templates.notice(task, event, to=owner.email, directory=directory) for event in due(task)]
            await self._stores.outbox.write(notices)
        else:
            log.warning("mail.no_address", task_id=task.id, user=task.user.id)
        await self._stores.outbox.told(task, None if task.status in ENDED else task.attempt)


def due(task: Task) -> Iterator[NoticeEvent]:
    """Yield the events whose mails the owner of a task has not got yet."""
    if task.told is None:
        return
    # A short task may end before this loop sees it running: the first mail is sent all the same.
    if task.started_at is not None and task.attempt > task.told:
        yield NoticeEvent.RUNNING
    if task.status in ENDED:
        yield NoticeEvent.OVER
