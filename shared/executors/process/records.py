"""The records of existing runs: one file per run, written by its shim before the command begins and again at its end."""

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

_WRITE_TIME, _LOOKS = 2.0, 40  #: seconds, and reads within them, until a new file is certainly written


class Records:
    """
    The records of one node, shared by scheduler and watcher. The directory belongs to GoDocker alone, so its content is trusted.
    Records of another system that was given the same directory are ignored.
    """

    def __init__(self, directory: Path, *, owner: types.Owner | None = None, root: str = "/") -> None:
        """`owner`: the system whose records are read, None for all; `root`: holds the tasks' directories of its runs."""
        self.directory = directory.absolute()
        self._owner = owner
        self._root = root
        self._logged: set[str] = set()  #: unreadable records that were logged

    def prepare(self) -> None:
        (self.directory / NEW).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.directory, 0o700)
        self.sweep()

    def sweep(self) -> None:
        """Remove drafts of writers that died before the draft became a record."""
        try:
            drafts = os.listdir(self.directory / NEW)
        except FileNotFoundError:
            return
        for draft in drafts:
            name, writer = draft.split(".")[:2] if draft.count(".") else (draft, "")
            if writer.isdigit() and not os.path.exists(f"/proc/{writer}"):
                # If the run has a record, this may be its second copy, which goes with it.
                if draft.count(".") == 1 and self._path(name).exists():
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.directory / NEW / draft)

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def read(self, name: str) -> Record | None:
        """
        Return the record of a run; None where it has none. If it cannot be parsed, its second copy counts while that exists;
        without one, the returned record is marked unreadable. Raises `errors.NodeUnavailable`.
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
        # Of a version without marks: copied records name another system's directories.
        is_early = record.system is None and self._owner.earlier is not None
        return is_early and (not record.readable or types.is_beneath(record.directory, self._root))

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(name))
        self._logged.discard(name)

    def names(self) -> Sequence[str]:
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return [name for entry in entries if (name := run_name(entry))]

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}{SUFFIX}"

    def _unreadable(self, name: str) -> Record | None:
        """Return what is known of a run with an empty record: the file is created before it is written, and has a copy then."""
        for look in range(_LOOKS):
            try:
                age = clock.now() - self._path(name).stat().st_mtime
            except FileNotFoundError:
                return None  # removed meanwhile
            if copy := self._copy(name):
                if age > _WRITE_TIME:
                    self._log_unreadable(name)
                return copy
            if age > _WRITE_TIME:
                break
            if look:
                time.sleep(_WRITE_TIME / _LOOKS)
            # Its shim may have moved the copy into its place between the two reads.
            if record := _parsed(self._bytes(name)):
                return record
        self._log_unreadable(name)
        parsed = types.parse_name(name)
        assert parsed is not None
        return Record(parsed[0], parsed[1], -1, "", "", 0.0, system=parsed[2], readable=False)

    def _bytes(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except OSError:
            return b""

    def _copy(self, name: str) -> Record | None:
        """Return the second copy. It must stay where it is: the shim needs it to write the end."""
        for path in (self.directory / NEW).glob(f"{name}.*"):
            with contextlib.suppress(OSError):
                if (record := _parsed(path.read_bytes())) and record.name == name:
                    return record
        return None

    def _log_unreadable(self, name: str) -> None:
        if name not in self._logged:
            self._logged.add(name)
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
        return _RECORD.validate_json(content)  # fields of later versions are ignored
    except pydantic.ValidationError:
        return None


def run_name(file_name: str) -> str | None:
    """Return the run that a file records; None for other files."""
    name = file_name.removesuffix(SUFFIX)
    return name if name != file_name and types.parse_name(name) else None
