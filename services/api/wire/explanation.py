"""Models of the explanation of a task, for the Web API."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from services.api.wire.answers import WithWarnings
from shared.lifecycle import Ending
from shared.models.pending_reason import PendingReason


class Verdict(StrEnum):
    """Progress of a task; `never`: no node could run it, even if it were empty and ready."""

    NEVER = "never"  #: infeasible on all nodes as they are
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    OVER = "over"


class StateCode(StrEnum):
    """Code of a task that is not pending, and of one that is over without a recorded ending."""

    STARTING = "starting"
    RUNNING = "running"
    LIMITED = "limited"  #: its node's engine has fewer resources than its limits say
    OVER = "over"


class ReasonOut(BaseModel):
    """One reason for the state of a task."""

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

    code: PendingReason | StateCode | Ending = Field(description="Stable name of the reason, for programs")
    text: str = Field(description="Reason, as a sentence")
    need: float | None = Field(None, description="Amount that the task needs, in `unit`")
    have: float | None = Field(None, description="Amount that is free, in `unit`")
    total: float | None = Field(None, description="Amount that exists, in `unit`")
    unit: str | None = Field(None, description="Unit of the amounts: `cpu` (cores), `GB`, `gpus`, `ports` or `seconds`")
    unblock: str | None = Field(None, description="Event that would remove this reason, as a sentence")


class NodeOut(BaseModel):
    """The verdict on one node."""

    node: str = Field(description="Name of the node")
    fits: bool = Field(description="The node could run the task now")
    ever: bool = Field(description="The node could run the task if it were empty and ready")
    reasons: list[ReasonOut] = Field(description="Every reason why the node cannot run the task now")


class Explanation(BaseModel):
    """Every reason for the state of a task."""

    id: int | None = Field(None, description="Number of the task; null in a dry run")
    status: str = Field(description="State of the task, as `status.primary`")
    verdict: Verdict = Field(description="Progress of the task")
    reasons: list[ReasonOut] = Field(description="Every reason for the state of the task, never only the first")
    nodes: list[NodeOut] = Field([], description="Verdict on each node")
    position: int | None = Field(None, description="Position in the queue, from 1")
    pending: int | None = Field(None, description="Number of tasks in the queue")
    policy: str | None = Field(None, description="Scheduling policy: `fifo` or `fairshare`")
    score: dict[str, float] | None = Field(None, description="Score of the task, by parts; the lowest total goes first")
    reservation: dict[str, Any] | None = Field(
        None, description="Node that is reserved for the task, and the expected start on it"
    )
    exitcode: int | None = Field(None, description="Exit code of a task that is over; null: not over, or never ran")
    judged_at: float = Field(description="Time of the verdict, seconds since the epoch (UTC)")
    age: float = Field(description="Seconds since the nodes were last observed")


class DryRun(WithWarnings):
    """The result of a dry run: nothing was stored."""

    explanation: Explanation = Field(description="Every reason why the task would wait")
