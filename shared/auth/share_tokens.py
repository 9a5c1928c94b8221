"""
Share tokens: anyone who holds one may read one task and its files.

The rights are those of `Role.SHARED` in `shared.auth.permissions`, which `services.api.access.guards` applies.

They are opaque and unguessable, so none can be mistaken for a session token. A task stores the hash of a single token,
so replacing or clearing it revokes the old one at once. A token is made of a stored random nonce and a secret that is not stored:
repeated requests return the same token, and the database reveals none.
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
_LABEL = b"godocker share token 1 "  #: label of the key for this purpose (the expand step of RFC 5869)


@dataclass(frozen=True, slots=True)
class ShareToken:
    """A token: `secret` is given out, `stored` is stored with the task."""

    secret: str
    stored: Share


def generate(*, key: str, now: float, seconds: float) -> ShareToken:
    """Return a new token, valid for `seconds` from `now`. `key` is `secret_passphrase`."""
    nonce = secrets.token_urlsafe(_BYTES)
    secret = _made_of(nonce, key)
    return ShareToken(secret, Share(hash=_digest(secret), until=now + seconds, nonce=nonce))


def living(share: Share | None, *, key: str, now: float) -> ShareToken | None:
    """Recreate the task's valid token; None if it has none, or `secret_passphrase` has changed."""
    if share is None or share.nonce is None or now > share.until:
        return None
    secret = _made_of(share.nonce, key)
    return ShareToken(secret, share) if hmac.compare_digest(_digest(secret), share.hash) else None


def opens(secret: str, task: Task, *, now: float) -> bool:
    """Return whether `secret` gives access to `task` at `now`. Archived tasks are not shared."""
    if task.share is None or task.status is TaskStatus.ARCHIVED or now > task.share.until:
        return False
    return hmac.compare_digest(_digest(secret), task.share.hash)


def _made_of(nonce: str, key: str) -> str:
    mac = hmac.new(key.encode(), _LABEL + nonce.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
