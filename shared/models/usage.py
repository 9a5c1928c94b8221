"""Usage of one attempt of one task, counted exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from shared.models.stored import Stored

Subject = Literal["user", "project"]  #: field of a row that names its owner


class UsageRow(Stored):
    """One row per (task, attempt) that ran. `cpu` and `ram` (GB) are the requested amounts, `seconds` the duration."""

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
    """Return an id that is unique per task and attempt, so that writing a row twice stores it once."""
    return f"{task_id}-{attempt}"


@dataclass(frozen=True, slots=True)
class DayUsage:
    """Sums of one UTC day: requested cores, GB and GPUs of its attempts, and their seconds."""

    day: str  #: `2026_11_24`
    cpu: float
    ram: float
    gpus: int
    seconds: float
    core_seconds: float  #: sum of cores × seconds over the attempts; likewise for memory and GPUs
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
    """Return the first second of the window of `days` UTC days that ends today, in seconds since the epoch."""
    return now - now % 86400 - (days - 1) * 86400
