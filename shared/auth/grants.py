"""
Grants: signed permissions from the gateway to the files service for one request to read or write below one directory.

A grant is a JWT (RFC 7519) with its own audience, signed with a key derived from `secret_passphrase` for this purpose
alone, and valid for seconds: no grant can serve as a session, and no session as a grant.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jose import jwt
from jose.exceptions import JOSEError

from shared import clock, errors
from shared.auth import moments

ALGORITHM = "HS256"
ISSUER = "godocker"
FILES = "files"  #: audience
SECONDS = 30  #: lifetime of a grant; it is checked when a transfer begins, however long that takes
MOST_SECONDS = 60  #: longest accepted lifetime
MAX_LENGTH = 4096

_LABEL = b"godocker files grant 1"
_REQUIRED = {f"require_{claim}": True for claim in ("exp", "iat", "aud", "iss")}


class Mode(StrEnum):
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Grant:
    """
    `directory` is below `shared_dir`. `owner` (uid, gid) owns new files; if it is given, a missing directory counts as
    empty and a write creates it. `quota` is the most bytes of all its files together.
    """

    directory: str
    mode: Mode
    owner: tuple[int, int] | None = None
    quota: int | None = None


def key(secret: str) -> str:
    """Return the signing key, derived from `secret_passphrase` by HMAC with a label (the expand step of RFC 5869)."""
    return hmac.new(secret.encode(), _LABEL, hashlib.sha256).hexdigest()


def make(grant: Grant, *, key: str, now: float) -> str:
    """Return a signed grant, valid for `SECONDS` from `now`."""
    claims = {
        "iss": ISSUER,
        "aud": FILES,
        "dir": grant.directory,
        "mode": grant.mode.value,
        "owner": list(grant.owner) if grant.owner else None,
        "quota": grant.quota,
        "iat": int(now),
        "exp": int(now) + SECONDS,
    }
    return str(jwt.encode(claims, key, algorithm=ALGORITHM))


def read(token: str, *, key: str) -> Grant:
    """Return the grant in a token. Raises `errors.NotAuthenticated` for any fault in it."""
    if not token or len(token) > MAX_LENGTH:
        raise errors.NotAuthenticated("a grant is needed")
    try:
        # The list of algorithms keeps a token from choosing its own (RFC 8725, 3.1).
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=FILES, issuer=ISSUER, options={**_REQUIRED, **moments.NOT_HERE}
        )
        granted, moment = _grant(claims), (claims["iat"], claims["exp"])
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise errors.NotAuthenticated("the grant is not one of ours") from None
    moments.check(*moment, now=clock.now(), what="the grant")
    return granted


def _grant(claims: dict[str, Any]) -> Grant:
    directory, owner, quota = claims["dir"], claims["owner"], claims["quota"]
    if not isinstance(directory, str) or not directory or not isinstance(quota, int | None):
        raise ValueError("claims")
    if claims["exp"] - claims["iat"] > MOST_SECONDS:
        raise ValueError("a grant is valid for seconds only")
    pair = None if owner is None else (int(owner[0]), int(owner[1]))
    return Grant(directory, Mode(claims["mode"]), pair, quota)
