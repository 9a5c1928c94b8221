"""
Application tokens, and the bearer with which an application asks for a token's user.

The bearer is a JWT `{"app_token": <the token>}` signed with `shared_secret_passphrase` (HS256). It is not a session:
sessions are signed with another secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError

from shared import errors

ALGORITHM = "HS256"
MAX_LENGTH = 4096  #: characters; longer bearers are rejected unread
_BYTES = 32


def generate() -> tuple[str, str]:
    """Return a token of 256 random bits, which is shown once, and its stored hash."""
    secret = secrets.token_urlsafe(_BYTES)
    return secret, digest(secret)


def digest(token: str) -> str:
    """Return the stored hash of a token. With that much entropy a plain hash protects it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def check_bearer(bearer: str, token: str, *, secret: str) -> None:
    """Raise `errors.NotAuthenticated` unless `bearer` was made for `token` with `secret`."""
    if not bearer or len(bearer) > MAX_LENGTH:
        raise errors.NotAuthenticated("the bearer is not a token of an application")
    try:
        # The list of algorithms keeps a token from choosing its own (RFC 8725, 3.1).
        claims = jwt.decode(bearer, secret, algorithms=[ALGORITHM])
        named = claims.get("app_token")
    except ExpiredSignatureError:
        raise errors.TokenExpired("the bearer has expired: sign a new one") from None
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise errors.NotAuthenticated("the bearer is not signed with the secret of applications") from None
    if not isinstance(named, str) or not hmac.compare_digest(digest(named), digest(token)):
        raise errors.NotAuthenticated("the bearer was made for another application token")
