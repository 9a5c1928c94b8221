"""
Share tokens: let anybody who holds one see one task and its files, and nothing else.

They are random and opaque, so they cannot be taken for a session's token or the other way round; the task keeps the hash of
its one token, so making a new one or none at all ends the old one at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from shared.lifecycle import TaskStatus
from shared.models.task import Share, Task

_BYTES = 32


@dataclass(frozen=True, slots=True)
class ShareToken:
    """A new token: `secret` is given out once, `stored` is what the task keeps."""

    secret: str
    stored: Share


def generate(*, now: float, seconds: float) -> ShareToken:
    """A token that is good for `seconds` from `now`."""
    secret = secrets.token_urlsafe(_BYTES)
    return ShareToken(secret, Share(hash=_digest(secret), until=now + seconds))


def opens(secret: str, task: Task, *, now: float) -> bool:
    """Whether `secret` lets its holder see `task` at `now`. Of an archived task there is nothing left to share."""
    if task.share is None or task.status is TaskStatus.ARCHIVED or now > task.share.until:
        return False
    return hmac.compare_digest(_digest(secret), task.share.hash)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
