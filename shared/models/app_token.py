"""An application token as it is stored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AppToken(BaseModel):
    """Lets an application that holds it ask who its user is. Only the SHA-256 of the token is kept."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: str = Field(alias="_id")
    user: str
    name: str
    hash: str
    created_at: float
