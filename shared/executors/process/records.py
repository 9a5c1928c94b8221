"""The files that say which runs exist: one per run, written by its shim before the command begins, and once more at its end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson
import pydantic
import structlog

from shared import clock, errors
from shared.executors import types
from shared.executors.process.ending import NEW, SUFFIX
from shared.executors.process.record import NODE, Record
from shared.observe import metrics

log = structlog.get_logger(__name__)

_WRITE_TIME, _LOOKS = 2.0, 40  #: seconds, in so many looks, until what was made is surely written


class Records:
    """
    The records of one node. The directory belongs to GoDocker alone: what stands in it is trusted. Scheduler
    and watcher share it. Records of another system that was given the same directory are as good as not there.
    """

    def __init__(self, directory: Path, *, owner: types.Owner | None = None, root: str = "/") -> None:
        """`owner`: whose records are read, None for anybody's; `root`: the tasks' directories of its runs lie in it."""
        self.directory = directory.absolute()
        self._owner = owner
        self._root = root
        self._told: set[str] = set()  #: the unreadable ones that were logged

    def prepare(self) -> None:
        (self.directory / NEW).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.directory, 0o700)
        self.sweep()

    def sweep(self) -> None:
        """Remove the drafts of writers that died between the draft and its record."""
        try:
            drafts = os.listdir(self.directory / NEW)
        except FileNotFoundError:
            return
        for draft in drafts:
            name, writer = draft.split(".")[:2] if draft.count(".") else (draft, "")
            if writer.isdigit() and not os.path.exists(f"/proc/{writer}"):
                # Of a run that has a record it may be the second copy, which goes with it.
                if draft.count(".") == 1 and self._path(name).exists():
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.directory / NEW / draft)

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def read(self, name: str) -> Record | None:
        """
        The record of a run; None where it has none. Where it cannot be read its second copy counts, as long as that is there,
        and otherwise it says no more than that there is one. Raises `errors.NodeUnavailable`.
        """
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise errors.NodeUnavailable(NODE, f"the record of {name} cannot be read: {error.strerror}") from error
        record = _parsed(content) or self._unreadable(name)
        return record if record is not None and self._is_ours(record) else None

    def update(self, record: Record) -> None:
        os.replace(self._write(record), self._path(record.name))

    def _is_ours(self, record: Record) -> bool:
        if self._owner is None or record.system == self._owner.mark:
            return True
        # Made by a version without marks: a copy of the records has another system's directories in them.
        is_early = record.system is None and self._owner.earlier is not None
        return is_early and (not record.readable or types.is_beneath(record.directory, self._root))

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(name))
        self._told.discard(name)

    def names(self) -> Sequence[str]:
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return [name for entry in entries if (name := run_name(entry))]

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}{SUFFIX}"

    def _unreadable(self, name: str) -> Record | None:
        """What is known of a run whose record says nothing: it is made before it is written, and has a copy by then."""
        for look in range(_LOOKS):
            try:
                age = clock.now() - self._path(name).stat().st_mtime
            except FileNotFoundError:
                return None  # removed while we looked
            if copy := self._copy(name):
                if age > _WRITE_TIME:
                    self._tell(name)
                return copy
            if age > _WRITE_TIME:
                break
            if look:
                time.sleep(_WRITE_TIME / _LOOKS)
            # Its shim may have put the copy in its place between the two looks.
            if record := _parsed(self._bytes(name)):
                return record
        self._tell(name)
        parsed = types.parse_name(name)
        assert parsed is not None
        return Record(parsed[0], parsed[1], -1, "", "", 0.0, system=parsed[2], readable=False)

    def _bytes(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except OSError:
            return b""

    def _copy(self, name: str) -> Record | None:
        """The second copy. It is not put in the place of the first: its shim does that, with the end, and would lose it to us."""
        for path in (self.directory / NEW).glob(f"{name}.*"):
            with contextlib.suppress(OSError):
                if (record := _parsed(path.read_bytes())) and record.name == name:
                    return record
        return None

    def _tell(self, name: str) -> None:
        if name not in self._told:
            self._told.add(name)
            metrics.RECORDS_UNREADABLE.inc()
            log.error("process.record_unreadable", run=name, path=str(self._path(name)))

    def _write(self, record: Record) -> Path:
        path = self.directory / NEW / f"{record.name}.{os.getpid()}.{threading.get_native_id()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, orjson.dumps(asdict(record)))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return path


_RECORD = pydantic.TypeAdapter(Record)


def _parsed(content: bytes) -> Record | None:
    try:
        return _RECORD.validate_json(content)  # what a later version adds is left out
    except pydantic.ValidationError:
        return None


def run_name(file_name: str) -> str | None:
    """The run that a file is the record of; None for other files."""
    name = file_name.removesuffix(SUFFIX)
    return name if name != file_name and types.parse_name(name) else None
