"""An application token as it is stored."""

from __future__ import annotations

from pydantic import Field

from shared.models.stored import Stored


class AppToken(Stored):
    """Lets an application that holds it ask who its user is. Only the SHA-256 of the token is kept."""

    id: str = Field(alias="_id")
    user: str
    name: str
    hash: str
    created_at: float
