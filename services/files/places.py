"""The directories that grants name: find things in them, make them for their owners."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared import errors
from shared.auth.grants import Grant
from shared.storage import personal, resolve

Owner = tuple[int, int]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Places:
    """Everything below one `shared_dir`. The methods block: they are for a thread."""

    def __init__(self, shared_dir: Path) -> None:
        self._shared_dir = shared_dir

    @contextlib.contextmanager
    def opened(self, grant: Grant) -> Iterator[int]:
        """A descriptor of the granted directory. Raises `errors.NotFound` and `errors.StorageError`."""
        names = resolve.components(grant.directory.encode())
        with resolve.translated(), _closing(self._shared()) as shared:
            place = resolve.open_beneath(shared, names, _DIRECTORY)
        with _closing(place):
            yield place

    def made(self, grant: Grant) -> contextlib.AbstractContextManager[int]:
        """The same, made for its owner where it is not there yet."""
        return self._made(resolve.components(grant.directory.encode()), grant.owner)

    def staging(self) -> contextlib.AbstractContextManager[int]:
        """A directory that is ours alone, on the same disk as personal storage: what is in it can be renamed there."""
        return self._made(resolve.components(personal.STAGING.encode()), None)

    @contextlib.contextmanager
    def _made(self, names: list[bytes], owner: Owner | None) -> Iterator[int]:
        with resolve.translated(), contextlib.ExitStack() as stack:
            # Others may pass through the folders above, for the user's own directory, but not list them.
            here = stack.enter_context(_closing(self._shared()))
            for name in names[:-1]:
                here = stack.enter_context(_closing(_enter(here, name, 0o711, None)))
            place = _enter(here, names[-1], 0o700, owner)
        with _closing(place):
            yield place

    def find(self, grant: Grant, path: bytes) -> resolve.Found | None:
        """
        What `path` is in the granted directory, open. None for a personal storage in which there never was anything. Raises
        `errors.NotFound` and `errors.StorageError`.
        """
        names = resolve.components(path)
        try:
            with self.opened(grant) as place:
                found = resolve.find(place, names)
        except errors.NotFound:
            if grant.owner is not None and not names:
                return None
            raise
        if path.endswith(b"/") and not found.is_directory:
            os.close(found.descriptor)
            raise errors.NotFound("there is no such directory")
        return found

    def _shared(self) -> int:
        return os.open(self._shared_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def entered(place: int, names: Sequence[bytes], owner: Owner | None) -> Iterator[int]:
    """A directory below `place`, made with those above it. Raises `errors.Conflict` where something else is in the way."""
    here = os.dup(place)
    try:
        for name in names:
            try:
                below = _enter(here, name, 0o700, owner)
            except NotADirectoryError:
                raise errors.Conflict("a part of the path is there already and is not a directory") from None
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _enter(parent: int, name: bytes, mode: int, owner: Owner | None) -> int:
    """A descriptor of the directory `name`, made where there is none. Raises OSError; NotADirectoryError for a link too."""
    made = False
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
        made = True
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if made:
            status = os.fstat(descriptor)
            os.fchmod(descriptor, mode)  # whatever the umask took
            # Only what we made: its owner may have put another in its place.
            if owner is not None and os.geteuid() == 0 and stat.S_ISDIR(status.st_mode) and status.st_uid == 0:
                os.fchown(descriptor, *owner)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
