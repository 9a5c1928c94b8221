"""
Grants: what the gateway gives the files service to say that one request may read, or write, below one directory.

A grant is a JWT (RFC 7519) signed with a key that is derived from `secret_passphrase` for this purpose alone, with an audience of
its own, and good for seconds: no grant can be used as a session, and no session as a grant.
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
SECONDS = 30  #: a grant is good for; it is asked for when a transfer begins, however long that takes
MOST_SECONDS = 60  #: one that says more is refused
MAX_LENGTH = 4096

_LABEL = b"godocker files grant 1"
_REQUIRED = {f"require_{claim}": True for claim in ("exp", "iat", "aud", "iss")}


class Mode(StrEnum):
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Grant:
    """
    `directory` is below `shared_dir`. `owner` (uid, gid) is whom new files are given to; where there is one, a directory that
    does not exist yet counts as empty, and a write makes it. `quota` is bytes that all files in it may take together.
    """

    directory: str
    mode: Mode
    owner: tuple[int, int] | None = None
    quota: int | None = None


def key(secret: str) -> str:
    """The signing key, made from `secret_passphrase` by HMAC with a label (RFC 5869 calls it expanding)."""
    return hmac.new(secret.encode(), _LABEL, hashlib.sha256).hexdigest()


def make(grant: Grant, *, key: str, now: float) -> str:
    """The grant as it is sent, good for `SECONDS` from `now`."""
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
    """What is granted. Raises `errors.NotAuthenticated`, whatever is wrong with it."""
    if not token or len(token) > MAX_LENGTH:
        raise errors.NotAuthenticated("a grant is needed")
    try:
        # The list of algorithms is what keeps a token from choosing its own (RFC 8725, 3.1).
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
        raise ValueError("a grant is good for a moment only")
    pair = None if owner is None else (int(owner[0]), int(owner[1]))
    return Grant(directory, Mode(claims["mode"]), pair, quota)
