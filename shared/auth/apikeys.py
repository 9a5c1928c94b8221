"""API keys: made here, stored as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from shared.models.user import ApiKeyHash

_BYTES = 32
_HINT = 6
_PLURAL = {"application token": "application tokens", "share of a task": "shares of tasks"}

#: Compared with if there is no such user, so that both answers take the same time.
NOBODY = ApiKeyHash(hash="0" * 64, hint="")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A new key: `secret` is shown once, `stored` is stored."""

    secret: str
    stored: ApiKeyHash


def generate() -> ApiKey:
    """Return a key of 256 random bits. With that much entropy a plain hash protects it."""
    secret = secrets.token_urlsafe(_BYTES)
    return ApiKey(secret, ApiKeyHash(hash=_digest(secret), hint=secret[:_HINT]))


def matches(secret: str, stored: ApiKeyHash) -> bool:
    """Return whether `stored` was made from `secret`."""
    return hmac.compare_digest(_digest(secret), stored.hash)


def staying(*, app_tokens: int, shares: int) -> str | None:
    """Return, as a sentence, which credentials of a user remain valid after the key was replaced; None if there are none."""
    counted = ((app_tokens, "application token"), (shares, "share of a task"))
    named = [f"{count} {name if count == 1 else _PLURAL[name]}" for count, name in counted if count]
    return f"{' and '.join(named)} {'stays' if app_tokens + shares == 1 else 'stay'} good" if named else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
