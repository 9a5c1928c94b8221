"""The wish that a user be deleted, kept until it has come true."""

from __future__ import annotations

from pydantic import Field

from shared.models.stored import Stored


class Deletion(Stored):
    """Its id is the user's. What is done already is seen from what is left, so it can be taken up by anybody at any time."""

    id: str = Field(alias="_id")
    asked_by: str
    asked_at: float
