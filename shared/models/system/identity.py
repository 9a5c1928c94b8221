"""The identity of a system: a unique mark, made once and kept in its database."""

from __future__ import annotations

import secrets

from pydantic import Field

from shared.models.stored import Stored

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  #: letters that are not mistaken for one another
LENGTH = 8


class Identity(Stored):
    """`at` is the time it was made, in seconds since the epoch."""

    mark: str = Field(pattern=r"^[a-z0-9]{1,20}$")
    at: float
    #: Label on containers of versions without marks, if this system had such a version.
    earlier: str | None = None
    #: Mark of the system whose database was copied to make this one.
    copy_of: str | None = None
    has_shared_dir: bool = False  #: a `shared_dir` holds the mark, and no other may
    restored: bool = False  #: restored from a backup, so the contents of its `shared_dir` are its own


def new_mark() -> str:
    """Return a random mark, unique among systems."""
    return "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))
