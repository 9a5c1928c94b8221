"""The base of all documents in the database."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Stored(BaseModel):
    """
    A document, or a part of one. Unknown fields of newer versions are ignored. Validation errors do not repeat values, such
    as scripts and keys, since errors end up in logs.
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True, allow_inf_nan=False)
