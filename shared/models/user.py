"""A user as it is stored."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

#: What becomes a path (`$USERID`) and a label must be a plain account name.
USER_ID = re.compile(r"^[a-z_][a-z0-9_.-]{0,31}$")


class ApiKeyHash(BaseModel):
    """`hash` is the SHA-256 of the key in hexadecimal, `hint` its first characters, to tell keys apart."""

    hash: str
    hint: str


class User(BaseModel):
    """Who may send tasks, and whom they run as."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: str = Field(alias="_id")
    uid: int
    gid: int
    sgids: list[int] = []
    home: str | None = None
    email: str | None = None
    admin: bool = False
    active: bool = True
    apikey: ApiKeyHash
    created_at: float
