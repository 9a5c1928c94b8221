"""The base of all documents in the database."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Stored(BaseModel):
    """
    A document, or a part of one. It may hold more than this version knows, where a newer one wrote it, and is read all the same.
    What it holds, scripts and keys among it, is not repeated where it cannot be read: errors end up in logs.
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True, allow_inf_nan=False)
