"""The wish that a user be deleted, kept until it has come true."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Deletion(BaseModel):
    """Its id is the user's. What is done already is seen from what is left, so it can be taken up by anybody at any time."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: str = Field(alias="_id")
    asked_by: str
    asked_at: float
