"""Evaluate conditional requests (RFC 9110, 13): pure."""

from __future__ import annotations

import email.utils
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

_RECENT = 2.0  #: seconds within which two changes may leave the same times


class Outcome(Enum):
    SEND = auto()
    NOT_MODIFIED = auto()  #: the client has the current state
    FAILED = auto()  #: the file is not in the state that the request names


@dataclass(frozen=True, slots=True)
class Validators:
    """Identify a state of a file. `etag` is weak for a moment after a change."""

    etag: str
    modified: int  #: seconds since the epoch

    @property
    def is_strong(self) -> bool:
        return not self.etag.startswith("W/")

    @property
    def last_modified(self) -> str:
        return email.utils.formatdate(self.modified, usegmt=True)


def validators(status: os.stat_result, *, now: float) -> Validators:
    """Return the validators of a file at `now`."""
    # A task can set the modification time, but not the change time.
    state = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
    digest = hashlib.blake2b(state.encode(), digest_size=12).hexdigest()
    recent = now - status.st_ctime < _RECENT
    # HTTP cannot express dates before 1970 or in the far future.
    modified = min(max(int(status.st_mtime), 0), int(now))
    return Validators(f'W/"{digest}"' if recent else f'"{digest}"', modified)


def evaluate(headers: Mapping[str, str], known: Validators) -> Outcome:
    """
    Return the outcome of a GET or HEAD with these headers (names in lower case), in the order of RFC 9110, 13.2.2.
    """
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


def range_applies(headers: Mapping[str, str], known: Validators) -> bool:
    """Return whether `Range` applies: there is no `If-Range`, or it names the current state of the file (13.1.5)."""
    if_range = headers.get("if-range")
    if if_range is None:
        return True
    if not known.is_strong:
        return False
    return if_range.strip() in (known.etag, known.last_modified)


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


def _date(header: str | None) -> int | None:
    if header is None:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(header).timestamp())
    except (ValueError, OverflowError):
        return None  # an invalid date is ignored (13.1.3)
