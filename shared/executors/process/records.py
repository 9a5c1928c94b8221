"""The files that say which runs exist: one per run, written before its process is made."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from shared.executors import base

NODE = "localhost"  #: the only node of this executor

_SUFFIX = ".json"
_NEW = "new"  #: below the records: files that are being written, where nobody looks for records


@dataclass(frozen=True, slots=True)
class Record:
    """
    One run. Without a `pid` it is an intent: the process may have been made or not, and the starter died before it
    could say which, or is about to say it.
    """

    task_id: int
    attempt: int
    uid: int
    directory: str
    boot: str  #: `proc.boot_id` at the start
    started_at: float  #: seconds since the epoch
    pid: int | None = None
    start: int | None = None  #: ticks after the boot
    gpus: Sequence[str] = ()
    ports: Sequence[Sequence[int]] = ()  #: of the run, and that of the node which is meant by it
    system: str | None = None  #: see `base.Handle`

    @property
    def handle(self) -> base.Handle:
        return base.Handle(NODE, self.task_id, self.attempt, self.system)

    @property
    def name(self) -> str:
        return base.run_name(self.task_id, self.attempt, self.system)


class Records:
    """
    The records of one node. The directory belongs to GoDocker alone: what stands in it is trusted. Scheduler
    and watcher share it. Records of another system that was given the same directory are as good as not there.
    """

    def __init__(self, directory: Path, *, owner: base.Owner | None = None, root: str = "/") -> None:
        """`owner`: whose records are read, None for anybody's; `root`: the tasks' directories of its runs lie in it."""
        self.directory = directory.absolute()
        self._owner = owner
        self._root = root

    def prepare(self) -> None:
        (self.directory / _NEW).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.directory, 0o700)
        self.sweep()

    def sweep(self) -> None:
        """Remove the drafts of writers that died between the draft and its record."""
        try:
            drafts = os.listdir(self.directory / _NEW)
        except FileNotFoundError:
            return
        for draft in drafts:
            writer = draft.split(".")[-2:][0]
            if writer.isdigit() and not os.path.exists(f"/proc/{writer}"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.directory / _NEW / draft)

    def claim(self, record: Record) -> bool:
        """Write a new record; False where the run has one."""
        new = self._write(record)
        try:
            os.link(new, self._path(record.name))
        except FileExistsError:
            return False
        finally:
            os.unlink(new)
        return True

    def update(self, record: Record) -> None:
        os.replace(self._write(record), self._path(record.name))

    def read(self, name: str) -> Record | None:
        try:
            record = Record(**orjson.loads(self._path(name).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return record if self._is_ours(record) else None

    def _is_ours(self, record: Record) -> bool:
        if self._owner is None or record.system == self._owner.mark:
            return True
        # Made by a version without marks: a copy of the records has another system's directories in them.
        is_early = record.system is None and self._owner.earlier is not None
        return is_early and base.is_beneath(record.directory, self._root)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(name))

    def names(self) -> Sequence[str]:
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return [name for entry in entries if (name := run_name(entry))]

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}{_SUFFIX}"

    def _write(self, record: Record) -> Path:
        path = self.directory / _NEW / f"{record.name}.{os.getpid()}.{threading.get_native_id()}"
        # What is not there is left out: an earlier version does not read a record with fields that it does not know.
        fields = {name: value for name, value in asdict(record).items() if value not in ((), None)}
        path.write_bytes(orjson.dumps(fields))
        return path


def run_name(file_name: str) -> str | None:
    """The run that a file is the record of; None for other files."""
    name = file_name.removesuffix(_SUFFIX)
    return name if name != file_name and base.parse_name(name) else None
