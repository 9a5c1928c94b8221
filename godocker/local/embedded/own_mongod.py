"""The database of a system of `godocker up`, also while that does not run."""

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
    Start the system's own mongod for as long as it is needed, where it has one and does not run; nothing else of it is. Raises
    `errors.ConfigurationError`.
    """
    directory = DataDirectory(settings.data_dir)
    with contextlib.ExitStack() as until_then:
        if _is_own(settings, directory) and _holds(directory, until_then):
            leftovers.end(directory.run, directory.path)
            server = servers.mongod(directory.path, password=directory.secret("store_password"))
            server.child.start()
            until_then.callback(server.child.stop, servers.STOP_GRACE)
            servers.wait_ready([server], timeout=START_TIMEOUT)
        yield


def _holds(directory: DataDirectory, until_then: contextlib.ExitStack) -> bool:
    """Whether the directory is ours from here on; False where the system runs."""
    try:
        until_then.enter_context(directory.held())
    except errors.ConfigurationError:
        return False
    return True


def _is_own(settings: Settings, directory: DataDirectory) -> bool:
    """Whether the database is that of the mongod which `up` starts for this directory."""
    if not directory.has_environment():
        return False
    return settings.mongo_url == servers.mongo_url(directory.path, password=directory.secret("store_password"))
