"""
Service tokens, by which a scheduler recognizes requests of the gateway.

A service token is a JWT (RFC 7519) with its own audience, signed with a key derived from `secret_passphrase` for this
purpose alone, and valid for seconds: none can serve as a session, and no session as one of them.
"""

from __future__ import annotations

import hashlib
import hmac

from jose import jwt
from jose.exceptions import JOSEError

from shared import clock, errors
from shared.auth import moments

ALGORITHM = "HS256"
ISSUER = "godocker"
SCHEDULER = "scheduler"  #: audience
SECONDS = 30
MAX_LENGTH = 4096

_LABEL = b"godocker service token 1"
_REQUIRED = {f"require_{claim}": True for claim in ("exp", "iat", "aud", "iss")}


def key(secret: str) -> str:
    """Return the signing key, derived from `secret_passphrase` by HMAC with a label (the expand step of RFC 5869)."""
    return hmac.new(secret.encode(), _LABEL, hashlib.sha256).hexdigest()


def make(*, key: str, now: float, audience: str = SCHEDULER) -> str:
    """Return a signed token, valid for `SECONDS` from `now`."""
    claims = {"iss": ISSUER, "aud": audience, "iat": int(now), "exp": int(now) + SECONDS}
    return str(jwt.encode(claims, key, algorithm=ALGORITHM))


def check(token: str, *, key: str, audience: str = SCHEDULER) -> None:
    """Raise `errors.NotAuthenticated` for any fault in a token."""
    if not token or len(token) > MAX_LENGTH:
        raise errors.NotAuthenticated("a service token is needed")
    try:
        # The list of algorithms keeps a token from choosing its own (RFC 8725, 3.1).
        options = {**_REQUIRED, **moments.NOT_HERE}
        claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=audience, issuer=ISSUER, options=options)
        moment = int(claims["iat"]), int(claims["exp"])
    except (JOSEError, ValueError, TypeError, OverflowError):
        raise errors.NotAuthenticated("the service token is not one of ours") from None
    moments.check(*moment, now=clock.now(), what="the service token")
