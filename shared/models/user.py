"""A user as it is stored."""

from __future__ import annotations

import re
from enum import StrEnum

from pydantic import Field

from shared.models.stored import Stored

#: What becomes a path (`$USERID`) and a label must be a plain account name.
USER_ID = re.compile(r"^[a-z_][a-z0-9_.-]{0,31}$")


DOCKER_MOST = 2**31 - 1  #: uid or gid: an engine refuses a container with a higher one, or with a further group's
KERNEL_MOST = 2**32 - 2  #: the next one means nobody at all


def highest_number(executor: str) -> int:
    """The highest uid and gid with which an executor runs tasks."""
    return DOCKER_MOST if executor == "docker" else KERNEL_MOST


class ApiKeyHash(Stored):
    """`hash` is the SHA-256 of the key in hexadecimal, `hint` its first characters, to tell keys apart."""

    hash: str
    hint: str


class Allowance(Stored):
    """
    What a user may take. Quotas are sums over the window of usage, 0: no limit. `disk` is the size of the personal storage as it
    was written (`500M`, a number of bytes), None: the configured one.
    """

    prio: int = 50
    quota_time: float = 0
    quota_cpu: float = 0
    quota_ram: float = 0
    disk: str | None = None


class Source(StrEnum):
    """Where a user comes from."""

    LOCAL = "local"  #: was made here, and logs in with an API key
    LDAP = "ldap"  #: was made at the first login with a password of the directory


class User(Stored):
    """Who may send tasks, and whom they run as."""

    id: str = Field(alias="_id")
    uid: int
    gid: int
    sgids: list[int] = []
    home: str | None = None
    email: str | None = None
    admin: bool = False
    source: Source = Source.LOCAL
    guest: bool = False  #: runs as the configured `guest_bind`
    active: bool = True
    public_key: str = ""
    usage: Allowance = Field(default_factory=Allowance)
    apikey: ApiKeyHash
    created_at: float
    last: float | None = None  #: when they logged in last
    shut_outs: int = 0  #: times they were shut out: sessions from before each are void for good
    deleting: bool = False  #: is being deleted: nothing makes them active again


class Deletion(Stored):
    """Its id is the user's. What is done already is seen from what is left, so it can be taken up by anybody at any time."""

    id: str = Field(alias="_id")
    asked_by: str
    asked_at: float
