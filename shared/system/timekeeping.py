"""Keep a service's time the one of the MongoDB server: differences between the clocks of machines decide nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from shared import clock, errors
from shared.observe import metrics
from shared.runtime import lifetime
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

EVERY = 10.0  #: seconds
SOON = 0.2  #: seconds between looks, until the server has answered one: until then times are those of this machine
_GOODBYE = 1.0  #: seconds
TOLERATED = 1.0  #: seconds that nobody minds: what keeps time by NTP is nearer, and an answer may be slow


class Timekeeper:
    """
    Compares, and follows the server where it differs (Cristian, 1989). Where both may be right our own clock goes on, since no
    answer is as even as it.
    """

    def __init__(self, stores: Stores, directories: TaskDirectories | None) -> None:
        """`directories`: whose times of files are compared, too; None where the service reads none."""
        self._stores = stores
        self._directories = directories
        self._is_noticed = self._has_looked = False

    async def look(self) -> None:
        """Ask the server what time it is, and the file system. Raises `errors.StoreUnavailable`."""
        asked_at, began = clock.now(), clock.monotonic()
        theirs = await self._stores.now()
        took = clock.monotonic() - began
        machine = clock.of_machine()
        ahead = _beyond(asked_at, theirs, took)
        # From here on it is counted: a jump of this machine's clock is none of ours.
        clock.anchor(theirs + took / 2 if ahead else asked_at + took)
        self._has_looked = True
        self._tell(_beyond(machine - took, theirs, took))
        if self._directories is not None:
            await self._compare_files(self._directories)

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again, until `stop`."""
        while await lifetime.pause(stop, EVERY if self._has_looked else SOON):
            await self.try_look()

    async def try_look(self) -> None:
        """Look, and go on without where the server does not answer."""
        try:
            await self.look()
        except errors.StoreUnavailable as error:
            log.info("clock.not_compared", error=str(error))

    async def _compare_files(self, directories: TaskDirectories) -> None:
        try:
            before = clock.now()
            written_at = await asyncio.to_thread(directories.probe)
        except errors.StorageUnavailable:
            return
        ahead = _beyond(before, written_at, clock.now() - before)
        clock.note_files_ahead(-ahead)

    def _tell(self, ahead: float) -> None:
        metrics.CLOCK_AHEAD.labels("machine").set(ahead)
        if self._is_noticed is not bool(ahead):
            self._is_noticed = bool(ahead)
            event = "clock.differs" if ahead else "clock.agrees"
            log.warning(event, ahead=round(ahead, 1), of="the clock of the MongoDB server, which counts")


def _beyond(asked_at: float, theirs: float, took: float) -> float:
    """Seconds by which ours is ahead of theirs, which was told at some moment of `took` seconds; 0 where both may be right."""
    ahead = asked_at + took / 2 - theirs
    return ahead if abs(ahead) > took / 2 + TOLERATED else 0.0


@asynccontextmanager
async def kept(stores: Stores, directories: TaskDirectories | None = None) -> AsyncIterator[None]:
    """The time is the server's, from the first look on, which is tried before anything else."""
    keeper, stop = Timekeeper(stores, directories), asyncio.Event()
    await keeper.try_look()
    work = asyncio.create_task(keeper.run(stop), name="timekeeping")
    try:
        yield
    finally:
        stop.set()
        work.cancel()
        await asyncio.wait({work}, timeout=_GOODBYE)
        clock.anchor(None)
