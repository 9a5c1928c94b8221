"""Watch directories for names that appear and disappear (inotify(7))."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

#: Called with a name that was added, replaced or removed; with None where names were missed.
OnName = Callable[[str | None], None]

_CREATE, _MOVED_TO, _DELETE = 0x100, 0x80, 0x200
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_HEADER = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_BUFFER = 256 * 1024
_OVERFLOW = -1  #: the watch of an event that reports a full queue


class DirectoryWatcher:
    """One inotify descriptor for any number of directories: a user may have only 128. It belongs to one event loop."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[int, list[OnName]] = {}

    @contextlib.contextmanager
    def listen(self, directory: Path, on_name: OnName) -> Iterator[None]:
        """Call `on_name` in the running loop for each change while the context lasts. Raises OSError."""
        descriptor = self._open()
        # Adding the same directory again returns the same watch.
        watch = self._libc.inotify_add_watch(descriptor, os.fsencode(directory), _CREATE | _MOVED_TO | _DELETE)
        if watch < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {directory}")
        listeners = self._listeners.setdefault(watch, [])
        listeners.append(on_name)
        try:
            yield
        finally:
            listeners.remove(on_name)
            if not listeners and self._descriptor is not None:
                del self._listeners[watch]
                self._libc.inotify_rm_watch(self._descriptor, watch)

    def close(self) -> None:
        if self._descriptor is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            descriptor = self._libc.inotify_init1(_NONBLOCK | _CLOEXEC)
            if descriptor < 0:
                raise OSError(ctypes.get_errno(), "cannot watch directories")
            self._descriptor = int(descriptor)
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._descriptor, self._on_readable)
        return self._descriptor

    def _on_readable(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, _, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            name = data[at : at + length].rstrip(b"\0")
            at += length
            if watch == _OVERFLOW:
                for listeners in self._listeners.values():
                    for listener in listeners:
                        listener(None)
            else:
                for listener in self._listeners.get(watch, ()):
                    listener(os.fsdecode(name))
