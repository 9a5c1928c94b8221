"""
Share tokens: let anybody who holds one see one task and its files, and nothing else.

They are opaque and cannot be guessed, so they cannot be taken for a session's token or the other way round; the task keeps the
hash of its one token, so making a new one or none at all ends the old one at once. A token is made of a random nonce, which is
stored, and a secret, which is not: who asks again is given the same one, and who reads the database learns none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from shared.lifecycle import TaskStatus
from shared.models.task import Share, Task

_BYTES = 32
_LABEL = b"godocker share token 1 "  #: a key for this purpose alone (RFC 5869 calls it expanding)


@dataclass(frozen=True, slots=True)
class ShareToken:
    """A token: `secret` is given out, `stored` is what the task keeps."""

    secret: str
    stored: Share


def generate(*, key: str, now: float, seconds: float) -> ShareToken:
    """A new token, good for `seconds` from `now`. `key` is `secret_passphrase`."""
    nonce = secrets.token_urlsafe(_BYTES)
    secret = _made_of(nonce, key)
    return ShareToken(secret, Share(hash=_digest(secret), until=now + seconds, nonce=nonce))


def living(share: Share | None, *, key: str, now: float) -> ShareToken | None:
    """The token of a task that is still good, made again; None where there is none, or its secret is another by now."""
    if share is None or share.nonce is None or now > share.until:
        return None
    secret = _made_of(share.nonce, key)
    return ShareToken(secret, share) if hmac.compare_digest(_digest(secret), share.hash) else None


def opens(secret: str, task: Task, *, now: float) -> bool:
    """Whether `secret` lets its holder see `task` at `now`. Of an archived task there is nothing left to share."""
    if task.share is None or task.status is TaskStatus.ARCHIVED or now > task.share.until:
        return False
    return hmac.compare_digest(_digest(secret), task.share.hash)


def _made_of(nonce: str, key: str) -> str:
    mac = hmac.new(key.encode(), _LABEL + nonce.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
