"""
Session tokens, and tasks as tokens for others: made and checked in this module alone, so that there is one place to get wrong.

A token is a JWT (RFC 7519) signed with HS256 and `secret_passphrase`. It is bound to the API key it was given for, and to how
often the user had been shut out by then: replacing the key, or shutting the user out, ends every session from before for good.
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
SESSION = "session"  #: audience: a token made for anything else is not a session
MAX_LENGTH = 4096  #: characters; a longer one is not looked at
_EXPIRED = "the token has expired: get a new one by POST /api/1.0/authenticate"
_NOT_OURS = "the token is not one of ours: get one by POST /api/1.0/authenticate"
_REMEMBERED = 4096  #: tokens in use at a time whose signature is checked once

_REQUIRED = {f"require_{claim}": True for claim in ("exp", "iat", "sub", "aud", "iss")}


@dataclass(frozen=True, slots=True)
class Session:
    """Who is asking. `key` is the fingerprint of the API key the session was given for."""

    user: str
    key: str


def fingerprint(apikey_hash: str, shut_outs: int = 0) -> str:
    """
    What a session keeps of the key it was given for, and of `shut_outs`, how often its user had been shut out: enough to see
    that they changed, useless otherwise. A count and no time: it is the same whatever clock one looks at.
    """
    return f"{apikey_hash[:16]}.{shut_outs}" if shut_outs else apikey_hash[:16]


def make_session(user: str, apikey_hash: str, *, secret: str, now: float, seconds: int, shut_outs: int = 0) -> str:
    """A token that is good for `seconds` from `now`. `shut_outs`: see `fingerprint`."""
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
    """Who a token speaks for. Raises `errors.NotAuthenticated`, whatever is wrong with it."""
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
    What a token says and when it ends. Remembered, since it costs more than all else that a request needs: of what was
    checked, only the end can come later. A token that is refused raises, and is not remembered.
    """
    # The list of algorithms is what keeps a token from choosing its own (RFC 8725, 3.1).
    claims: dict[str, Any] = jwt.decode(
        token,
        secret,
        algorithms=[ALGORITHM],
        audience=SESSION,
        issuer=ISSUER,
        options={**_REQUIRED, **moments.NOT_HERE},
    )
    user, key = claims.get("sub"), claims.get("key")
    # None of ours says from when on it is good.
    if not isinstance(user, str) or not isinstance(key, str) or "nbf" in claims:
        raise ValueError("claims")
    return Session(user, key), int(claims["exp"])


def make_task(document: dict[str, Any], *, secret: str, now: float, seconds: int) -> str:
    """
    A task as a JWT for services that know `shared_secret_passphrase`. It is nothing that we ever accept: it is signed
    with another secret and has another audience than a session.
    """
    claims = {"iss": ISSUER, "aud": "task", "task": document, "iat": int(now), "exp": int(now) + seconds}
    return str(jwt.encode(claims, secret, algorithm=ALGORITHM))
