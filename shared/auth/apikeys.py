"""API keys: made here, stored as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from shared.models.user import ApiKeyHash

_BYTES = 32
_HINT = 6

#: Compared with where there is no such user, so that both answers take the same work.
NOBODY = ApiKeyHash(hash="0" * 64, hint="")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A new key: `secret` is shown once, `stored` is what is kept."""

    secret: str
    stored: ApiKeyHash


def generate() -> ApiKey:
    """A key of 256 random bits: with that much entropy a plain hash keeps it, there is nothing to guess."""
    secret = secrets.token_urlsafe(_BYTES)
    return ApiKey(secret, ApiKeyHash(hash=_digest(secret), hint=secret[:_HINT]))


def matches(secret: str, stored: ApiKeyHash) -> bool:
    """Whether `secret` is the key that `stored` was made from."""
    return hmac.compare_digest(_digest(secret), stored.hash)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
