"""List a directory as JSON, sorted by name; a long listing goes to a file, not to memory."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import IO, Any
from urllib.parse import quote_from_bytes

import orjson

from shared import errors
from shared.storage import resolve

SHORT = 10_000  #: entries; shorter listings do not wait for long ones
_IN_MEMORY = 1024 * 1024  #: bytes of JSON; more goes to the system's temporary directory
_BATCH = 1000


class TooLong(Exception):
    """The directory has too many entries."""


def names(directory: int, *, limit: int) -> list[str]:
    """Return the names in a directory, sorted. Raises `TooLong` after reading `limit` of them."""
    listed: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            listed.append(entry.name)
            if len(listed) > limit:
                raise TooLong
    listed.sort()
    return listed


def write(directory: int, *, limit: int) -> tuple[IO[bytes], int]:
    """
    Return the listing as an open file, and its size in bytes. A million names take some 80 MB of memory while they are
    sorted, and none while they are sent. Raises `TooLong` and OSError.
    """
    listed = names(directory, limit=limit)
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    separator = b"["
    for begin in range(0, len(listed), _BATCH):
        items = [item for name in listed[begin : begin + _BATCH] if (item := _item(directory, name)) is not None]
        if items:
            file.write(separator + orjson.dumps(items)[1:-1])
            separator = b","
    file.write(b"[]" if separator == b"[" else b"]")
    size = file.tell()
    file.seek(0)
    return file, size


def too_long(limit: int) -> errors.Conflict:
    return errors.Conflict(f"the directory has more than {limit} entries: too many to list")


def _item(directory: int, name: str) -> dict[str, Any] | None:
    """Return one entry; None if it would not be served. A name that is not UTF-8 is also given in URL encoding."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None  # removed meanwhile
    is_directory = stat.S_ISDIR(status.st_mode)
    if not (is_directory or resolve.is_servable(status)):
        return None
    kind = "dir" if is_directory else "file"
    item: dict[str, Any] = {"name": name, "type": kind, "size": 0 if is_directory else status.st_size}
    if not name.isascii():
        raw = os.fsencode(name)
        try:
            raw.decode()
        except UnicodeDecodeError:
            item |= {"name": raw.decode("utf-8", "replace"), "encoded": quote_from_bytes(raw, safe="")}
    return item
