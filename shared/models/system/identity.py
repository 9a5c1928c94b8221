"""The identity of a system: a mark that no other system has, made once and kept in its database."""

from __future__ import annotations

import secrets

from pydantic import Field

from shared.models.stored import Stored

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  #: none that is read as another one
LENGTH = 8


class Identity(Stored):
    """`at` is when it was made, in seconds since the epoch."""

    mark: str = Field(pattern=r"^[a-z0-9]{1,20}$")
    at: float
    #: What versions without marks labelled the containers of this system with, where it was one of theirs.
    earlier: str | None = None
    #: Of the system whose database was copied to make this one.
    copy_of: str | None = None
    has_shared_dir: bool = False  #: the mark stands in one, and in no other
    restored: bool = False  #: from a backup: what is in its `shared_dir` is its own


def new_mark() -> str:
    """A mark that no other system has."""
    return "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))
