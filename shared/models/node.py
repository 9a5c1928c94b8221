"""A node as the scheduler last saw it, for those who ask about it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Node(BaseModel):
    """Sizes in cores and bytes. `seen_at` is when it last answered, seconds since the epoch."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: str = Field(alias="_id")
    executor: str
    ready: bool
    reason: str | None = None
    cpus: float
    memory: int
    disk_used: int = 0
    disk_total: int = 0
    gpus: list[str] = []  #: devices by name
    labels: dict[str, str] = {}
    version: str = ""
    checked_at: float
    seen_at: float | None = None
    stuck: int | None = None  #: runs that go on after they were killed; written by who watches the node


class Verdict(BaseModel):
    """Why the tasks of one shape could not be placed when they were last looked at."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: str = Field(alias="_id")  #: the shape
    reason: str
    at: float
