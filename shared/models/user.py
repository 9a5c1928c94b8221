"""A user as it is stored, and the deletion of one."""

from __future__ import annotations

import re
from enum import StrEnum

from pydantic import Field

from shared.models.stored import Stored

#: Pattern of plain account names: ids become paths (`$USERID`) and labels.
USER_ID = re.compile(r"^[a-z_][a-z0-9_.-]{0,31}$")


DOCKER_MOST = 2**31 - 1  #: highest uid or gid of a container, and of its further groups
KERNEL_MOST = 2**32 - 2  #: the next one stands for "no user"


def highest_number(executor: str) -> int:
    """Return the highest uid and gid with which an executor runs tasks."""
    return DOCKER_MOST if executor == "docker" else KERNEL_MOST


class ApiKeyHash(Stored):
    """`hash` is the SHA-256 of the key in hexadecimal, `hint` its first characters, to tell keys apart."""

    hash: str
    hint: str


class Allowance(Stored):
    """
    Quotas of a user, as sums over the usage window, 0: no limit. `disk` is the size of the personal storage as entered
    (`500M`, a number of bytes), None: the configured one.
    """

    prio: int = 50
    quota_time: float = 0
    quota_cpu: float = 0
    quota_ram: float = 0
    disk: str | None = None


class Source(StrEnum):
    """Origin of a user."""

    LOCAL = "local"  #: created here, logs in with an API key
    LDAP = "ldap"  #: created at the first login with a password of the directory


class User(Stored):
    """A user and the account that their tasks run as."""

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
    last: float | None = None  #: time of the last login
    shut_outs: int = 0  #: times the user was disabled: earlier sessions stay invalid for good
    deleting: bool = False  #: is being deleted and cannot be activated again


class Deletion(Stored):
    """
    The pending deletion of a user, by the user's id. Progress is derived from what is left, so that any watcher can
    continue it.
    """

    id: str = Field(alias="_id")
    asked_by: str
    asked_at: float
