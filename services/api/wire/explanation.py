"""Why a task waits, as the Web API says it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """What a task can be told about its start."""

    NEVER = "never"  #: as the nodes are, it can never run here
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    OVER = "over"


class ReasonOut(BaseModel):
    """
    One reason. `code` is stable and meant for programs, `text` for people; `need`, `have` and `total` are in `unit`
    (cores, GB, GPUs, ports, seconds), where the reason has numbers. `unblock` is what would make it go away.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "code": "cpu",
                    "text": "n1 has 2 of 8 cpu free",
                    "need": 4,
                    "have": 2,
                    "total": 8,
                    "unit": "cpu",
                    "unblock": "a task on n1 ends",
                }
            ]
        },
    )

    code: str
    text: str
    need: float | None = None
    have: float | None = None
    total: float | None = None
    unit: str | None = None
    unblock: str | None = None


class NodeOut(BaseModel):
    """The verdict of one node: every reason why it does not take the task now; none if it could."""

    node: str
    fits: bool
    ever: bool = Field(description="Whether it would take the task if it were empty and well")
    reasons: list[ReasonOut]


class Explanation(BaseModel):
    """
    Every reason why a task waits, never just the first. `position` counts from 1 among the tasks that may be offered to nodes;
    `score` is the policy's, by parts, and the lowest total goes first.
    """

    id: int | None = None
    status: str
    verdict: Verdict
    reasons: list[ReasonOut]
    nodes: list[NodeOut] = []
    position: int | None = None
    pending: int | None = Field(None, description="How many tasks may be offered to nodes")
    policy: str | None = None
    score: dict[str, float] | None = None
    reservation: dict[str, Any] | None = Field(
        None, description="The node that is kept for it, and when it may start there"
    )
    judged_at: float = Field(description="Seconds since the epoch")
    age: float = Field(description="Seconds since the nodes were last looked at")


class DryRun(BaseModel):
    """What would become of a task that was not stored."""

    msg: str
    explanation: Explanation
