"""A backup that was restored, until all nodes were looked at for what ran on after it was made."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Restoration(BaseModel):
    """`at` is when it was restored, `of` when the backup was made, in seconds since the epoch."""

    model_config = ConfigDict(extra="ignore")

    at: float
    of: float
    seen: list[str] = []  #: nodes whose runs are adopted
