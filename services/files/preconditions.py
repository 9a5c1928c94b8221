"""Conditional requests (RFC 9110, 13): whether a file is sent, is known already, or is not the one that was meant. Pure."""

from __future__ import annotations

import email.utils
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

_RECENT = 2.0  #: seconds in which a file may have been changed twice without its times showing it


class Outcome(Enum):
    SEND = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a file from another. `etag` is weak while the file has only just been changed."""

    etag: str
    modified: int  #: seconds since the epoch

    @property
    def is_strong(self) -> bool:
        return not self.etag.startswith("W/")

    @property
    def last_modified(self) -> str:
        return email.utils.formatdate(self.modified, usegmt=True)


def validators(status: os.stat_result, *, now: float) -> Validators:
    """The validators of a file at `now`."""
    # A task can set the time of modification as it likes, the time of change it cannot.
    state = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
    digest = hashlib.blake2b(state.encode(), digest_size=12).hexdigest()
    recent = now - status.st_ctime < _RECENT
    # The date of a file from before 1970, or of the far future, is not one that HTTP can say.
    modified = min(max(int(status.st_mtime), 0), int(now))
    return Validators(f'W/"{digest}"' if recent else f'"{digest}"', modified)


def evaluate(headers: Mapping[str, str], known: Validators) -> Outcome:
    """What a GET or HEAD with these headers (names in lower case) comes to, in the order of RFC 9110, 13.2.2."""
    if (match := headers.get("if-match")) is not None:
        if match.strip() != "*" and not (known.is_strong and known.etag in _tags(match)):
            return Outcome.FAILED
    elif (date := _date(headers.get("if-unmodified-since"))) is not None and known.modified > date:
        return Outcome.FAILED
    if (none_match := headers.get("if-none-match")) is not None:
        opaque = {tag.removeprefix("W/") for tag in _tags(none_match)}
        if none_match.strip() == "*" or known.etag.removeprefix("W/") in opaque:
            return Outcome.NOT_MODIFIED
    elif (date := _date(headers.get("if-modified-since"))) is not None and known.modified <= date:
        return Outcome.NOT_MODIFIED
    return Outcome.SEND


def is_range_wanted(headers: Mapping[str, str], known: Validators) -> bool:
    """Whether `Range` counts: without `If-Range`, or where that names the very state that the file is in (13.1.5)."""
    wanted = headers.get("if-range")
    if wanted is None:
        return True
    if not known.is_strong:
        return False
    return wanted.strip() in (known.etag, known.last_modified)


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


def _date(header: str | None) -> int | None:
    if header is None:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(header).timestamp())
    except (ValueError, OverflowError):
        return None  # a date that cannot be read is as if it were not there (13.1.3)
