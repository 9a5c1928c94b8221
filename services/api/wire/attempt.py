"""Models of the attempts of a task, for the Web API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shared.lifecycle import Ending


class AttemptLog(BaseModel):
    """Paths of the output of one attempt."""

    out: str = Field(description="Standard output")
    err: str = Field(description="Standard error")


class AttemptOut(BaseModel):
    """One attempt to run a task. Times are seconds since the epoch (UTC)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "attempt": 1,
                    "node": "n1",
                    "executor": "docker",
                    "queued_at": 1764500000.0,
                    "placed_at": 1764500002.0,
                    "started_at": 1764500003.5,
                    "ended_at": 1764500603.5,
                    "exit_code": 0,
                    "ending": "exited",
                    "reason": None,
                    "log": {
                        "out": "/api/1.0/task/7/log?attempt=1&stream=out",
                        "err": "/api/1.0/task/7/log?attempt=1&stream=err",
                    },
                }
            ]
        }
    )

    attempt: int = Field(description="Number of the attempt, from 1")
    node: str | None = Field(description="Node that it was placed on")
    executor: str | None = Field(description="Executor of the last attempt; null for earlier ones")
    queued_at: float = Field(description="Time it entered the queue for this attempt")
    placed_at: float = Field(description="Time it was placed on the node")
    started_at: float | None = Field(description="Start of the command; null if it never began")
    ended_at: float | None = Field(description="End of the attempt; null while it lasts")
    exit_code: int | None = Field(description="Exit code of the command; null if it had none")
    ending: Ending | None = Field(description="How it ended; null if another attempt followed, or while it lasts")
    reason: str | None = Field(description="Why it ended, as one sentence")
    log: AttemptLog = Field(description="Where its output is")
