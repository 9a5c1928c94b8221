"""Remove files and trees: out of their place at once, off the disk in the background, never through a link."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat

import structlog

from services.files import uploads
from services.files.places import Places
from services.files.threads import Threads
from shared import clock, errors
from shared.auth.grants import Grant
from shared.runtime import lifetime
from shared.storage import resolve, trees

log = structlog.get_logger(__name__)

PREFIX = "removed-"
_POLL = 60.0  #: seconds
_ABANDONED = 24 * 3600.0  #: seconds without progress after which an upload is removed: its process is gone
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Remover:
    """Removes files below granted directories, and clears the staging directory."""

    def __init__(self, places: Places, threads: Threads) -> None:
        self._places = places
        self._threads = threads
        self._wake = lifetime.Wakeup()

    async def remove(self, grant: Grant, path: bytes) -> None:
        """
        Remove a file, a link, or a directory with its content. Raises `errors.NotFound` and `errors.StorageError`.
        """
        names = resolve.components(path)
        if not names:
            raise errors.InvalidInput.of("path", "must name a file or a directory")
        if await self._threads.lookup(self._detach, grant, names):
            self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Clear the staging directory at the start and after each removal, until `stop`."""
        while not stop.is_set():
            try:
                await self._threads.lookup(self._sweep, stop)
            except errors.GoDockerError as error:
                log.warning("removal.failed", error=str(error))
            await self._wake.wait(stop, poll=_POLL)

    def _detach(self, grant: Grant, names: list[bytes]) -> bool:
        """
        Remove one name from its directory. Return True if it was a directory, which is now in the staging directory.
        """
        with self._places.opened(grant) as place, resolve.translated():
            parent = resolve.open_beneath(place, names[:-1], _DIRECTORY)
            try:
                if not _is_directory(parent, names[-1]):
                    os.unlink(names[-1], dir_fd=parent)
                    return False
                with self._places.staging() as staging:
                    # Out of its owner's reach, so that it cannot change while it is removed.
                    name = PREFIX + secrets.token_hex(16)
                    os.rename(names[-1], name, src_dir_fd=parent, dst_dir_fd=staging)
                return True
            finally:
                os.close(parent)

    def _sweep(self, stop: asyncio.Event) -> None:
        with self._places.staging() as staging:
            for name in os.listdir(staging):
                if stop.is_set():
                    return
                try:
                    _clear(staging, name)
                except FileNotFoundError:
                    pass  # another replica removed it
                except OSError as error:
                    log.warning("removal.failed", name=name, error=str(error))


def _clear(staging: int, name: str) -> None:
    if name.startswith(PREFIX):
        trees.remove_below(staging, name)
    elif name.startswith(uploads.PREFIX) and _age(staging, name) > _ABANDONED:
        os.unlink(name, dir_fd=staging)


def _is_directory(parent: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _age(staging: int, name: str) -> float:
    return clock.now() - os.stat(name, dir_fd=staging, follow_symlinks=False).st_mtime
