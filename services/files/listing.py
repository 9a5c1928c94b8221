"""List a directory as JSON, sorted by name, into a file rather than into memory when it is long."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import IO, Any
from urllib.parse import quote_from_bytes

import orjson

from shared import errors
from shared.storage import resolve

SHORT = 10_000  #: entries that are listed without waiting for other long listings
_IN_MEMORY = 1024 * 1024  #: bytes of JSON; more goes to the temporary directory of the system
_BATCH = 1000


class TooLong(Exception):
    """The directory has more entries than were asked for."""


def names(directory: int, *, most: int) -> list[str]:
    """The names in a directory, sorted. Raises `TooLong`, without having read much more than `most` of them."""
    found: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            found.append(entry.name)
            if len(found) > most:
                raise TooLong
    found.sort()
    return found


def write(directory: int, *, most: int) -> tuple[IO[bytes], int]:
    """
    The listing as an open file, and its size in bytes. A million names are some 80 MB of memory while they are sorted, and
    nothing while they are sent. Raises `TooLong` and OSError.
    """
    found = names(directory, most=most)
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it is the caller's
    separator = b"["
    for begin in range(0, len(found), _BATCH):
        items = [item for name in found[begin : begin + _BATCH] if (item := _item(directory, name)) is not None]
        if items:
            file.write(separator + orjson.dumps(items)[1:-1])
            separator = b","
    file.write(b"[]" if separator == b"[" else b"]")
    size = file.tell()
    file.seek(0)
    return file, size


def too_long(most: int) -> errors.Conflict:
    return errors.Conflict(f"the directory has more than {most} entries: too many to be listed")


def _item(directory: int, name: str) -> dict[str, Any] | None:
    """One entry; None for what would not be served either. A name that is not UTF-8 also goes as the URL spells it."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone since
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
