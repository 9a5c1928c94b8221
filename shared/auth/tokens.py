"""
Session tokens, and tasks as tokens for others: made and checked in this module alone.

A token is a JWT (RFC 7519) signed with HS256 and `secret_passphrase`. It is bound to the API key it was given for and to
the count of the user's shut-outs: replacing the key or disabling the user ends every earlier session for good.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError

from shared import clock, errors
from shared.auth import moments

ALGORITHM = "HS256"
ISSUER = "godocker"
SESSION = "session"  #: audience, which no other token has
MAX_LENGTH = 4096  #: characters; longer tokens are rejected unread
_EXPIRED = "the token has expired: get a new one by POST /api/1.0/authenticate"
_NOT_OURS = "the token is not one of ours: get one by POST /api/1.0/authenticate"
_REMEMBERED = 4096  #: tokens whose checked signatures are cached

_REQUIRED = {f"require_{claim}": True for claim in ("exp", "iat", "sub", "aud", "iss")}


@dataclass(frozen=True, slots=True)
class Session:
    """An authenticated caller. `key` is the fingerprint of the API key the session was given for."""

    user: str
    key: str


def fingerprint(apikey_hash: str, shut_outs: int = 0) -> str:
    """
    Return a hash of the API key's hash and of `shut_outs`, the number of times the user was disabled: enough to notice a
    change, useless otherwise. A count, unlike a time, does not depend on a clock.
    """
    return f"{apikey_hash[:16]}.{shut_outs}" if shut_outs else apikey_hash[:16]


def make_session(user: str, apikey_hash: str, *, secret: str, now: float, seconds: int, shut_outs: int = 0) -> str:
    """Return a token that is valid for `seconds` from `now`. `shut_outs`: see `fingerprint`."""
    claims = {
        "iss": ISSUER,
        "aud": SESSION,
        "sub": user,
        "key": fingerprint(apikey_hash, shut_outs),
        "iat": int(now),
        "exp": int(now) + seconds,
    }
    return str(jwt.encode(claims, secret, algorithm=ALGORITHM))


def read_session(token: str, *, secret: str) -> Session:
    """Return the session of a token. Raises `errors.NotAuthenticated` for any fault in it."""
    if not token or len(token) > MAX_LENGTH:
        raise errors.NotAuthenticated(_NOT_OURS)
    try:
        session, expires_at = _read(token, secret)
    except ExpiredSignatureError:
        raise errors.TokenExpired(_EXPIRED) from None
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise errors.NotAuthenticated(_NOT_OURS) from None
    if expires_at < int(clock.now()):
        raise errors.TokenExpired(_EXPIRED)
    return session


@functools.lru_cache(maxsize=_REMEMBERED)
def _read(token: str, secret: str) -> tuple[Session, int]:
    """
    Return a token's session and expiry. Cached, since the check costs more than the rest of a request: of what was checked,
    only the expiry can change. Rejected tokens raise and are not cached.
    """
    # The list of algorithms keeps a token from choosing its own (RFC 8725, 3.1).
    claims: dict[str, Any] = jwt.decode(
        token,
        secret,
        algorithms=[ALGORITHM],
        audience=SESSION,
        issuer=ISSUER,
        options={**_REQUIRED, **moments.NOT_HERE},
    )
    user, key = claims.get("sub"), claims.get("key")
    # Our tokens have no start of validity.
    if not isinstance(user, str) or not isinstance(key, str) or "nbf" in claims:
        raise ValueError("claims")
    return Session(user, key), int(claims["exp"])


def make_task(document: dict[str, Any], *, secret: str, now: float, seconds: int) -> str:
    """
    Return a task as a JWT for services that know `shared_secret_passphrase`. We never accept it: it is signed with another
    secret and has another audience than a session.
    """
    claims = {"iss": ISSUER, "aud": "task", "task": document, "iat": int(now), "exp": int(now) + seconds}
    return str(jwt.encode(claims, secret, algorithm=ALGORITHM))
