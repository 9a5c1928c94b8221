"""Why a task waits, as the Web API says it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from services.api.wire.answers import Warnings
from services.api.wire.fields import without_default
from shared.lifecycle import Ending
from shared.models.pending_reason import PendingReason


class Verdict(StrEnum):
    """How near a task is to its start; `never`: it can never run on the nodes as they are."""

    NEVER = "never"  #: as the nodes are, it can never run here
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
    """One reason why a task waits."""

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
    total: float | None = Field(None, description="Amount that there is, in `unit`")
    unit: str | None = Field(None, description="Unit of the amounts: `cpu` (cores), `GB`, `gpus`, `ports` or `seconds`")
    unblock: str | None = Field(None, description="Event that would end this reason, as a sentence")


class NodeOut(BaseModel):
    """The verdict of one node."""

    node: str = Field(description="Name of the node")
    fits: bool = Field(description="The node could take the task now")
    ever: bool = Field(description="The node could take the task if it were empty and well")
    reasons: list[ReasonOut] = Field(description="Every reason why the node does not take the task now")


class Explanation(BaseModel):
    """Every reason why a task waits."""

    id: int | None = Field(None, description="Number of the task; null in a dry run")
    status: str = Field(description="State of the task, as `status.primary`")
    verdict: Verdict = Field(description="How near the task is to its start")
    reasons: list[ReasonOut] = Field(description="Every reason why the task waits, never just the first")
    nodes: list[NodeOut] = Field([], description="Verdict of each node")
    position: int | None = Field(None, description="Place in the queue, from 1")
    pending: int | None = Field(None, description="Number of tasks in the queue")
    policy: str | None = Field(None, description="Scheduling policy: `fifo` or `fairshare`")
    score: dict[str, float] | None = Field(None, description="Score of the task, by parts; the lowest total goes first")
    reservation: dict[str, Any] | None = Field(
        None, description="Node that is reserved for the task, and the expected start there"
    )
    exitcode: int | None = Field(None, description="Exit code of a task that is over; null: not over, or never ran")
    judged_at: float = Field(description="When this was found, seconds since the epoch (UTC)")
    age: float = Field(description="Seconds since the nodes were last observed")


class DryRun(BaseModel):
    """The result of a dry run: nothing was stored."""

    msg: str = Field(description="Result, as a sentence")
    explanation: Explanation = Field(description="Every reason why the task would wait")
    warnings: Warnings | SkipJsonSchema[None] = Field(None, json_schema_extra=without_default)
