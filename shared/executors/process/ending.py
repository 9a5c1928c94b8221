"""Record the end of a run: the shim rewrites the whole record with the end added."""

from __future__ import annotations

import contextlib
import os
import time

from shared.executors.process import descendants
from shared.executors.process.request import Request

NEW = "new"  #: folder below the records for files that are being written
SUFFIX = ".json"
STATE = ".godocker"  #: below the task's directory, the same as for containers
INFO = "god.info"

_END = 512  #: most bytes that an end needs
_AGAIN = 1.0  #: seconds until a failed write of an end is retried


class Ending:
    """The known facts about the end."""

    def __init__(self) -> None:
        self.number: int | None = None  #: exit code, or the signal that ended the command
        self.by_signal = False
        self.at = 0.0
        self.told = False  #: we sent it SIGTERM
        self.killed = False  #: its command was alive when the run was killed
        self.error: tuple[str, int] | None = None  #: the failed step before the command, with its error
        self.cpu = 0.0  #: seconds, of all collected processes

    def note(self, status: int, at: float) -> None:
        """Note that the command ended with this status (wait(2))."""
        self.by_signal = os.WIFSIGNALED(status)
        self.number = os.WTERMSIG(status) if self.by_signal else os.WEXITSTATUS(status)
        self.at = at

    @property
    def code(self) -> int | None:
        """The exit code by the convention of shells: 128 and more for a signal."""
        return None if self.number is None else self.number + 128 * self.by_signal


class Room:
    """The record of a run with room for its end, which is reserved before the command begins."""

    def __init__(self, request: Request, records: int, home: int, child: int) -> None:
        self._request = request
        self._records = records
        self._home = home
        self._name = f"{request.name}{SUFFIX}"
        self._started = f"started.{request.attempt}"
        self._draft = f"{NEW}/{request.name}.{os.getpid()}"
        me = os.getpid()
        self.began_at = time.time()
        self._text = (
            f'{request.record},"pid":{me},"start":{descendants.start_of(me)},"command":{child},'
            f'"command_start":{descendants.start_of(child)},"started_at":{self.began_at!r}'
        )
        self._size = len(self._text.encode()) + _END
        self._descriptor = -1
        self._info = -1
        self._is_placed = False  # the record has the end

    def take(self) -> bool:
        """
        Take the attempt. Return False where it has a record. Raises OSError where there is no room for it.

        Until the end, the reserved room holds a second copy of the record, in case the first is incomplete.
        """
        text = f"{self._text}}}".encode()
        self._descriptor = self._make(self._draft, text.ljust(self._size))
        try:
            # A reader that finds it before it is written waits a moment or reads the copy.
            os.close(self._make(self._name, text))
        except FileExistsError:
            self._forget(self._draft)
            return False
        except OSError:
            self.give_back()
            raise
        return True

    def give_back(self) -> None:
        self._forget(self._name)
        self._forget(self._draft)

    def is_second(self) -> bool:
        """
        Return whether the attempt began earlier and its record was removed since: then its file is in the task's directory. If we
        are root, only a file owned by root counts, which no task can create.
        """
        try:
            return os.lstat(f"{STATE}/{self._started}", dir_fd=self._home).st_uid == os.geteuid()
        except OSError:
            return False

    def leave_beginning(self) -> None:
        """Record in the task's directory that the attempt began, as a container does. A full disk is tolerated."""
        try:
            state = self._open_state()
            try:
                _write_new(state, self._started, f"{os.getpid()}\n", None)
            finally:
                os.close(state)
            self._info = _make_new(self._home, INFO, f"{int(self.began_at)}\n", self._request.identity)
        except OSError:
            pass

    def write(self, ending: Ending) -> None:
        """
        Write the end, retrying until it succeeds: only the shim knows it. If the record was removed, the end is no longer
        needed.
        """
        if ending.error is None or ending.error[0] != "second":
            self._leave_end(ending)
        text = f"{self._text}{self._end(ending)}}}".encode().ljust(self._size)
        while not self._write(text):
            time.sleep(_AGAIN)

    def _end(self, ending: Ending) -> str:
        step, number = ending.error or ("", 0)
        return (
            f',"ended_at":{max(ending.at, self.began_at)!r},"code":{"null" if ending.code is None else ending.code},'
            f'"by_signal":{str(ending.by_signal).lower()},"told":{str(ending.told).lower()},'
            f'"killed":{str(ending.killed).lower()},"step":"{step}","error":{number},'
            f'"full":{str(self._is_full()).lower()},"cpu":{ending.cpu:.3f}'
        )

    def _write(self, text: bytes) -> bool:
        try:
            os.stat(self._name, dir_fd=self._records)
        except FileNotFoundError:
            self._forget(self._draft)
            return True
        except OSError:
            return False
        try:
            if os.fstat(self._descriptor).st_nlink == 0:
                self._descriptor = self._make(self._draft, text)
                self._is_placed = False
            os.pwrite(self._descriptor, text, 0)
            if not self._is_placed:
                os.replace(self._draft, self._name, src_dir_fd=self._records, dst_dir_fd=self._records)
                self._is_placed = True
            # Last, so that the end is seen without a wait for the disk.
            os.fdatasync(self._descriptor)
        except FileNotFoundError:
            self._make_folder()
            return False
        except OSError:
            return False
        return True

    def _make_folder(self) -> None:
        with contextlib.suppress(OSError):
            os.mkdir(NEW, 0o700, dir_fd=self._records)

    def _leave_end(self, ending: Ending) -> None:
        """Record the end in the task's directory, and the beginning if the task removed it: nothing of the task lives now."""
        identity = self._request.identity
        try:
            state = self._open_state()
            try:
                if not self.is_second():
                    _write_new(state, self._started, f"{os.getpid()}\n", None)
                _write_new(state, f"exit.{self._request.attempt}", f"{ending.code}\n", identity)
            finally:
                os.close(state)
            if self._info >= 0 and os.fstat(self._info).st_nlink:
                os.write(self._info, f"{int(ending.at)}\n".encode())
            else:
                _write_new(self._home, INFO, f"{int(self.began_at)}\n{int(ending.at)}\n", identity)
        except OSError:
            pass

    def _open_state(self) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            return os.open(STATE, flags, dir_fd=self._home)
        except FileNotFoundError:
            os.mkdir(STATE, 0o700, dir_fd=self._home)
            state = os.open(STATE, flags, dir_fd=self._home)
            if self._request.identity is not None:
                os.fchown(state, self._request.identity[0], self._request.identity[1])
            return state

    def _is_full(self) -> bool:
        try:
            found = os.statvfs(self._home)
        except OSError:
            return False
        return found.f_bavail == 0 or (found.f_files > 0 and found.f_favail == 0)

    def _make(self, name: str, content: bytes) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=self._records)
        if os.write(descriptor, content) != len(content):
            raise OSError(28, "written in part")
        return descriptor

    def _forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._records)


def _write_new(directory: int, name: str, text: str, identity: tuple[int, int, list[int]] | None) -> None:
    os.close(_make_new(directory, name, text, identity))


def _make_new(directory: int, name: str, text: str, identity: tuple[int, int, list[int]] | None) -> int:
    """Create a file in the task's directory. A file that the task planted there is removed, never written to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        descriptor = os.open(name, flags, 0o644, dir_fd=directory)
    except FileExistsError:
        os.unlink(name, dir_fd=directory)
        descriptor = os.open(name, flags, 0o644, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
        if identity is not None:
            os.fchown(descriptor, identity[0], identity[1])
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
