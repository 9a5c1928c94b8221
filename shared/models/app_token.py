"""An application token as it is stored."""

from __future__ import annotations

from pydantic import Field

from shared.models.stored import Stored


class AppToken(Stored):
    """A token with which an application asks for its user. Only the SHA-256 of the token is stored."""

    id: str = Field(alias="_id")
    user: str
    name: str
    hash: str
    created_at: float
