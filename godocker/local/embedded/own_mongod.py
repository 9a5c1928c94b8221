"""Access to the database of a `godocker up` that may not be running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from godocker.local import leftovers
from godocker.local.data_directory import DataDirectory
from godocker.local.embedded import servers
from shared import errors
from shared.settings import Settings

START_TIMEOUT = 60.0  #: seconds


@contextmanager
def database(settings: Settings) -> Iterator[None]:
    """
    Run the system's own mongod during the block if the system has one and is not running. Raises
    `errors.ConfigurationError`.
    """
    directory = DataDirectory(settings.data_dir)
    with contextlib.ExitStack() as cleanup:
        if _is_own(settings, directory) and _lock(directory, cleanup):
            leftovers.end(directory.run, directory.path)
            server = servers.mongod(directory.path, password=directory.secret("store_password"))
            server.child.start()
            cleanup.callback(server.child.stop, servers.STOP_GRACE)
            servers.wait_ready([server], timeout=START_TIMEOUT)
        yield


def _lock(directory: DataDirectory, cleanup: contextlib.ExitStack) -> bool:
    """Lock the directory and return True; return False if the system is running."""
    try:
        cleanup.enter_context(directory.held())
    except errors.ConfigurationError:
        return False
    return True


def _is_own(settings: Settings, directory: DataDirectory) -> bool:
    """Return whether the database is the mongod that `up` starts for this directory."""
    if not directory.has_environment():
        return False
    return settings.mongo_url == servers.mongo_url(directory.path, password=directory.secret("store_password"))
