"""Task directories on `shared_dir`: their paths, and the files that GoDocker writes and reads there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from shared import clock, errors
from shared.models import attempt_files
from shared.models.attempt_files import Result
from shared.models.task import Place
from shared.rules import installation_errors
from shared.storage import beneath, outputs, trees

log = structlog.get_logger(__name__)

SCRIPT = "cmd.sh"
URIS = "godocker-uris.txt"
FOLDER = "tasks"
_TASK = "task"  #: file beside the wrappers' that names the task
_PROBE, _PROBE_SIZE = ".probe-", 4096  #: bytes, the least size of a directory with its script
#: Folder of the wrappers' files, apart from the task's: a task that cleans up its directory must not free its attempt to be
#: taken again.
ATTEMPTS = "attempts"
_LINE = 64  #: most bytes of a wrapper's line
_PER_FOLDER = 1000  #: tasks below one folder: directories with millions of entries are slow everywhere


class TaskDirectories:
    """All task directories below one `shared_dir`."""

    def __init__(self, shared_dir: Path) -> None:
        self._root = shared_dir.absolute() / FOLDER
        self._attempts = shared_dir.absolute() / ATTEMPTS

    @staticmethod
    def relative(place: Place) -> str:
        """Return a task's directory, relative to `shared_dir`."""
        own = f"{FOLDER}/{place.task // _PER_FOLDER}/{place.task}"
        return own if place.index is None else f"{own}/{place.index}"

    def path(self, place: Place) -> Path:
        """`<shared_dir>/tasks/<id // 1000>/<id>`; for a child of an array `<that of its parent>/<index>`."""
        return _below(self._root, place)

    def state(self, place: Place) -> Path:
        """The directory of the task's wrappers, made like its own."""
        return _below(self._attempts, place)

    async def prepare(
        self, place: Place, *, uid: int, gid: int, script: str, uris: Sequence[str] = (), attempt: int = 1
    ) -> Path:
        """
        Create the task's directory with its script, owned by the user and closed to others, and return its path. May be
        repeated, for the same attempt or a later one: files of earlier attempts stay, their output under other names
        (`outputs`).

        Raises `errors.StorageError`.
        """
        return await asyncio.to_thread(self.make, place, uid=uid, gid=gid, script=script, uris=uris, attempt=attempt)

    def highest(self) -> int:
        """Return the highest id of a task that has a directory here; 0 if there is none."""
        for folder in sorted(_numbers(self._root), reverse=True):
            if numbers := _numbers(self._root / str(folder)):
                return max(numbers)
        return 0

    async def read_result(self, place: Place, attempt: int) -> Result | None:
        """Return the result that an attempt's wrapper left; None if it never ran. Raises `errors.StorageError`."""
        return await asyncio.to_thread(self._read_result, place, attempt)

    def _read_result(self, place: Place, attempt: int) -> Result | None:
        # First the wrappers' own directory, which newer versions use: the one in the task's belongs to the task's owner,
        # who can write anything.
        return _read_state(self.state(place), attempt) or read_result(self.path(place), attempt)

    async def remove(self, place: Place) -> None:
        """
        Remove the task's directory with its contents (for an array's parent, including all children), following no links. A
        missing one is fine. Raises `errors.StorageError`.
        """
        await asyncio.to_thread(self._remove, place)

    def _remove(self, place: Place) -> None:
        trees.remove(self.path(place))
        trees.remove(self.state(place))

    def make(
        self,
        place: Place,
        *,
        uid: int,
        gid: int,
        script: str,
        uris: Sequence[str] = (),
        attempt: int = 1,
        submission: str | None = None,
    ) -> Path:
        """
        Run `prepare` in this thread, which waits for the disk. `submission` tells the task from earlier ones with its id: a
        directory of another submission is moved aside.
        """
        path, state_path = self.path(place), self.state(place)
        owner = self._owner(uid, gid)
        try:
            is_new = self._make_both(path, state_path)
            if submission is not None and not is_new and _is_anothers(state_path, submission):
                _set_aside(path)
                _set_aside(state_path)
                is_new = self._make_both(path, state_path)
        except OSError as error:
            raise installation_errors.of_storage(error, "the task's directory could not be made") from error
        try:
            directory = beneath.open_directory(str(path))
            try:
                outputs.open_to_owner(directory)
                states = [outputs.folder(directory, attempt_files.STATE)]
                try:
                    states.append(beneath.open_directory(str(state_path)))
                    if owner:
                        for state in states:
                            os.fchown(state, *owner)
                    if submission is not None and (is_new or not beneath.read_small(states[-1], _TASK, limit=1)):
                        beneath.write_new(states[-1], _TASK, submission.encode(), mode=0o400, owner=None)
                    outputs.keep(directory, states, attempt=attempt)
                finally:
                    for state in states:
                        os.close(state)
                beneath.write_new(directory, SCRIPT, script.encode(), mode=0o700, owner=owner)
                if uris:
                    text = "".join(f"{uri}\n" for uri in uris)
                    beneath.write_new(directory, URIS, text.encode(), mode=0o600, owner=owner)
                if owner:
                    os.fchown(directory, *owner)
            finally:
                os.close(directory)
        except OSError as error:
            raise installation_errors.of_storage(
                error, "the task's directory could not be prepared", own=True
            ) from error
        return path

    def probe(self) -> float:
        """
        Write and remove a small file where task directories are created. Return its time on the clock of the file system.
        Raises `errors.StorageUnavailable`.
        """
        try:
            self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=_PROBE, dir=self._root)
            try:
                os.write(descriptor, b"\0" * _PROBE_SIZE)
                os.fsync(descriptor)  # some file systems fail only here
                return os.fstat(descriptor).st_mtime
            finally:
                os.unlink(name)
                os.close(descriptor)
        except OSError as error:
            raise installation_errors.of_storage(error, "nothing can be written") from error

    def _make_both(self, path: Path, state: Path) -> bool:
        """Make the task's directory and that of its wrappers. False if the latter was there."""
        is_new = self._make(self._attempts, state)
        self._make(self._root, path)
        return is_new

    @staticmethod
    def _make(root: Path, path: Path) -> bool:
        # The task's own directory first: asking again and again for the folders above locks them for those beside us.
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return False
        except FileNotFoundError:
            # Others may pass through the folders above, to the user's own directory, but not list them. An array's folder
            # is one of these and ours: its contents are mounted, so nobody may add anything to it.
            between = [parent for parent in reversed(path.parents) if root in parent.parents]
            for folder in (root, *between):
                folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
                return True
            return False
        return True

    @staticmethod
    def _owner(uid: int, gid: int) -> tuple[int, int] | None:
        """Return the new owner of files; None if that is us. Only root can give files away."""
        if os.geteuid() == 0:
            return uid, gid
        if os.geteuid() == uid:
            return None
        raise errors.StorageError(
            f"the task's directory cannot be given to uid {uid}: GoDocker runs as uid {os.geteuid()}, not as root"
        )


def _below(root: Path, place: Place) -> Path:
    own = f"{place.task // _PER_FOLDER}/{place.task}"
    return root / (own if place.index is None else f"{own}/{place.index}")


def _is_anothers(path: Path, submission: str) -> bool:
    """Return whether a state directory belongs to another task. Versions without state directories wrote nothing."""
    state = beneath.open_directory(str(path))
    try:
        found = beneath.read_small(state, _TASK, limit=200)
    finally:
        os.close(state)
    return found is not None and found[0] not in (b"", submission.encode())


def _set_aside(path: Path) -> None:
    """Rename the directory of another task that had this id. Raises OSError."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.before-{number}")
        if not os.path.lexists(aside):
            path.rename(aside)
            log.warning("directory.set_aside", of="another task with this number", to=str(aside))
            return


def _numbers(folder: Path) -> list[int]:
    """Return the entries of a folder whose names are numbers."""
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except FileNotFoundError:
        return []


def read_result(directory: Path, attempt: int) -> Result | None:
    """
    Return the result that an attempt's wrapper left in the task's directory; None if it never ran. Raises
    `errors.StorageError`, and `errors.StorageUnavailable` if that cannot be decided now.
    """
    try:
        task = beneath.open_directory(str(directory))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise installation_errors.of_storage(error, "the task's directory could not be read", own=True) from error
    try:
        state = beneath.open_subdirectory(task, attempt_files.STATE)
    except OSError as error:
        if installation_errors.is_unreadable(error):
            raise installation_errors.of_storage(error, "the task's directory could not be read") from error
        return None
    finally:
        os.close(task)
    try:
        return _read(state, attempt, took_room=False)
    except OSError as error:
        raise installation_errors.of_storage(error, "the task's directory could not be read") from error
    finally:
        os.close(state)


def _read_state(directory: Path, attempt: int) -> Result | None:
    """Return the result from the wrappers' own directory."""
    try:
        state = beneath.open_directory(str(directory))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise installation_errors.of_storage(error, "the attempts of a task could not be read") from error
    try:
        return _read(state, attempt, took_room=True)
    except OSError as error:
        raise installation_errors.of_storage(error, "the attempts of a task could not be read") from error
    finally:
        os.close(state)


def _read(state: int, attempt: int, *, took_room: bool) -> Result | None:
    """
    Return the result in a state directory. `took_room`: the wrapper reserved room for the line of the end before it began
    the command.
    """
    started = beneath.read_small(state, attempt_files.started_file(attempt).split("/")[1], limit=_LINE)
    ended = beneath.read_small(state, attempt_files.exit_file(attempt).split("/")[1], limit=_LINE)
    stopped = beneath.read_small(state, attempt_files.stop_file(attempt).split("/")[1], limit=_LINE)
    if started is None:
        return None
    code, words = _end(ended[0]) if ended else (None, frozenset())
    return Result(
        started_at=clock.of_file(started[1]),
        ended_at=clock.of_file(ended[1]) if ended and code is not None else None,
        exit_code=code,
        pid=_complete_number(started[0]),
        told_to_end=stopped is not None or attempt_files.Word.STOPPED in words,
        began=started[0].endswith(b"\n") and (not took_room or (ended is not None and ended[0].endswith(b"\n"))),
        words=words,
    )


def _end(lines: bytes) -> tuple[int | None, frozenset[attempt_files.Word]]:
    """Return the exit code and its words; no code if the line is incomplete or only reserved room."""
    line, newline, room = lines.partition(b"\n")
    if room.strip(b"_\n"):
        return None, frozenset()
    first, *rest = line.split() or [b""]
    # The file belongs to the task: ignore unknown words and numbers that are no exit code.
    code = _complete_number(first + newline)
    if code is None or code > 255:
        return None, frozenset()
    given = {word.decode(errors="replace") for word in rest}
    return code, frozenset(word for word in attempt_files.Word if word in given)


def _complete_number(line: bytes) -> int | None:
    """Return the number of a complete line, which ends with a newline."""
    if not line.endswith(b"\n") or not line.strip().isdigit():
        return None
    return int(line)
