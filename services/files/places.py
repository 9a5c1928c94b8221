"""Open and make the directories that grants name, and find files in them."""

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
    """The directories below `shared_dir`. The methods block: call them in a thread."""

    def __init__(self, shared_dir: Path) -> None:
        self._shared_dir = shared_dir

    @contextlib.contextmanager
    def opened(self, grant: Grant) -> Iterator[int]:
        """Yield a descriptor of the granted directory. Raises `errors.NotFound` and `errors.StorageError`."""
        names = resolve.components(grant.directory.encode())
        with resolve.translated(), _closing(self._shared()) as shared:
            place = resolve.open_beneath(shared, names, _DIRECTORY)
        with _closing(place):
            yield place

    def made(self, grant: Grant) -> contextlib.AbstractContextManager[int]:
        """Yield a descriptor of the granted directory, and make it for its owner if it does not exist."""
        return self._made(resolve.components(grant.directory.encode()), grant.owner)

    def staging(self) -> contextlib.AbstractContextManager[int]:
        """
        Yield the staging directory, which only we can enter, on the disk of the personal storage: files can be renamed
        there.
        """
        return self._made(resolve.components(personal.STAGING.encode()), None)

    @contextlib.contextmanager
    def _made(self, names: list[bytes], owner: Owner | None) -> Iterator[int]:
        with resolve.translated(), contextlib.ExitStack() as stack:
            # Users may pass through the folders above their directory, but not list them.
            current = stack.enter_context(_closing(self._shared()))
            for name in names[:-1]:
                current = stack.enter_context(_closing(_enter(current, name, 0o711, None)))
            place = _enter(current, names[-1], 0o700, owner)
        with _closing(place):
            yield place

    def find(self, grant: Grant, path: bytes) -> resolve.Found | None:
        """
        Open `path` in the granted directory. Return None for a personal storage that was never used. Raises
        `errors.NotFound` and `errors.StorageError`.
        """
        names = resolve.components(path)
        try:
            with self.opened(grant) as place:
                target = resolve.find(place, names)
        except errors.NotFound:
            if grant.owner is not None and not names:
                return None
            raise
        if path.endswith(b"/") and not target.is_directory:
            os.close(target.descriptor)
            raise errors.NotFound("there is no such directory")
        return target

    def _shared(self) -> int:
        return os.open(self._shared_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def entered(place: int, names: Sequence[bytes], owner: Owner | None) -> Iterator[int]:
    """Yield a directory below `place`; make it and those above it. Raises `errors.Conflict` if a file is in the way."""
    current = os.dup(place)
    try:
        for name in names:
            try:
                below = _enter(current, name, 0o700, owner)
            except NotADirectoryError:
                raise errors.Conflict("a part of the path exists and is not a directory") from None
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def _enter(parent: int, name: bytes, mode: int, owner: Owner | None) -> int:
    """
    Return a descriptor of the directory `name`, and make it if it does not exist. Raises OSError; NotADirectoryError
    for a link too.
    """
    made = False
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
        made = True
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if made:
            status = os.fstat(descriptor)
            os.fchmod(descriptor, mode)  # undoes the umask
            # Only the directory that we made: its owner may have replaced it by another.
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
