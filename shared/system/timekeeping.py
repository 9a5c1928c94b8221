"""Keep a service's time in line with the MongoDB server's, so that differences between machines' clocks decide nothing."""

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
SOON = 0.2  #: seconds between comparisons until the server has answered one; until then times are those of this machine
_GOODBYE = 1.0  #: seconds
TOLERATED = 1.0  #: tolerated seconds: NTP keeps closer time, and an answer may be slow


class Timekeeper:
    """
    Compares the clocks and follows the server where they differ (Cristian, 1989). Within the measuring error our own clock
    continues, since no answer is as even.
    """

    def __init__(self, stores: Stores, directories: TaskDirectories | None) -> None:
        """`directories` are the task directories whose file times are compared too; None if the service reads none."""
        self._stores = stores
        self._directories = directories
        self._is_noticed = self._has_looked = False

    async def look(self) -> None:
        """Read the time of the server and of the file system. Raises `errors.StoreUnavailable`."""
        asked_at, began = clock.now(), clock.monotonic()
        theirs = await self._stores.now()
        took = clock.monotonic() - began
        machine = clock.of_machine()
        ahead = _beyond(asked_at, theirs, took)
        # Count from here: a jump of this machine's clock does not matter.
        clock.anchor(theirs + took / 2 if ahead else asked_at + took)
        self._has_looked = True
        self._report(_beyond(machine - took, theirs, took))
        if self._directories is not None:
            await self._compare_files(self._directories)

    async def run(self, stop: asyncio.Event) -> None:
        """Compare every `EVERY` seconds, at first every `SOON` seconds, until `stop`."""
        while await lifetime.pause(stop, EVERY if self._has_looked else SOON):
            await self.try_look()

    async def try_look(self) -> None:
        """Compare the clocks, unless the server does not answer."""
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

    def _report(self, ahead: float) -> None:
        metrics.CLOCK_AHEAD.labels("machine").set(ahead)
        if self._is_noticed is not bool(ahead):
            self._is_noticed = bool(ahead)
            event = "clock.differs" if ahead else "clock.agrees"
            log.warning(event, ahead=round(ahead, 1), of="the clock of the MongoDB server, which counts")


def _beyond(asked_at: float, theirs: float, took: float) -> float:
    """
    Return the seconds that our clock is ahead of theirs, read at some moment within `took` seconds; 0 within the measuring
    error.
    """
    ahead = asked_at + took / 2 - theirs
    return ahead if abs(ahead) > took / 2 + TOLERATED else 0.0


@asynccontextmanager
async def synchronized(stores: Stores, directories: TaskDirectories | None = None) -> AsyncIterator[None]:
    """Keep the server's time, from the first comparison on, which is tried before anything else."""
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
