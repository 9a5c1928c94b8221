"""Usage of one attempt of one task: counted once, safe against a crash at any step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from shared.models.stored import Stored

Subject = Literal["user", "project"]  #: field of a row that names its owner


class UsageRow(Stored):
    """One row per (task, attempt) that ran. `cpu` and `ram` (GB) are what was asked for, `seconds` how long."""

    id: str = Field(alias="_id")
    task: int
    attempt: int
    user: str
    project: str
    cpu: float
    ram: float
    gpus: int = 0
    started_at: float
    ended_at: float
    seconds: float
    day: str  #: UTC day of the end, `2026_11_24`


def row_id(task_id: int, attempt: int) -> str:
    """Unique on task and attempt by construction: writing a row twice writes it once."""
    return f"{task_id}-{attempt}"


@dataclass(frozen=True, slots=True)
class DayUsage:
    """Sums of one UTC day: cores, GB and GPUs that its attempts asked for, and their seconds."""

    day: str  #: `2026_11_24`
    cpu: float
    ram: float
    gpus: int
    seconds: float
    core_seconds: float  #: of each attempt its cores × its seconds; likewise of memory and GPUs
    gb_seconds: float
    gpu_seconds: float


@dataclass(frozen=True, slots=True)
class MonthUsage:
    """Sums of one user's attempts in one project over one month, as `DayUsage`."""

    user: str
    project: str
    cpu: float
    ram: float
    gpus: int
    seconds: float
    core_seconds: float
    gb_seconds: float
    gpu_seconds: float


def window_start(now: float, *, days: int) -> float:
    """The first second of a window of `days` UTC days that ends with today's, in seconds since the epoch."""
    return now - now % 86400 - (days - 1) * 86400
