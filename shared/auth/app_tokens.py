"""
Application tokens, and the bearer with which an application asks for the user of one: a JWT `{"app_token": <the token>}` signed
with `shared_secret_passphrase` (HS256). It is no session: sessions are signed with another secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError

from shared import errors

ALGORITHM = "HS256"
MAX_LENGTH = 4096  #: characters; a longer bearer is not looked at
_BYTES = 32


def generate() -> tuple[str, str]:
    """A token of 256 random bits, which is shown once, and the hash that is kept."""
    secret = secrets.token_urlsafe(_BYTES)
    return secret, digest(secret)


def digest(token: str) -> str:
    """What is kept of a token. With that much entropy a plain hash keeps it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def check_bearer(bearer: str, token: str, *, secret: str) -> None:
    """Raises `errors.NotAuthenticated` unless `bearer` was made for `token` by somebody who knows `secret`."""
    if not bearer or len(bearer) > MAX_LENGTH:
        raise errors.NotAuthenticated("the bearer is not a token of an application")
    try:
        # The list of algorithms is what keeps a token from choosing its own (RFC 8725, 3.1).
        claims = jwt.decode(bearer, secret, algorithms=[ALGORITHM])
        named = claims.get("app_token")
    except ExpiredSignatureError:
        raise errors.TokenExpired("the bearer has expired: sign a new one") from None
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise errors.NotAuthenticated("the bearer is not signed with the secret of applications") from None
    if not isinstance(named, str) or not hmac.compare_digest(digest(named), digest(token)):
        raise errors.NotAuthenticated("the bearer was made for another application token")
