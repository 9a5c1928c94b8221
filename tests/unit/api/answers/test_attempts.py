"""The attempts of a task, from its history."""

from __future__ import annotations

from typing import Any

from services.api.answers import attempts
from shared.lifecycle import Ending, TaskStatus
from tests.support import samples


def entry(status: TaskStatus, attempt: int, at: float, note: str | None = None, **facts: Any) -> dict[str, Any]:
    return {"status": status, "attempt": attempt, "at": at, "note": note, **facts}


PLACED = entry(TaskStatus.STARTING, 1, 10.0, "placed on n1", node="n1")
RAN = entry(TaskStatus.RUNNING, 1, 11.5, started_at=11.0)
FAILED = entry(TaskStatus.PENDING, 1, 20.0, "restart 1 of 2: its node failed it")
AGAIN = entry(TaskStatus.STARTING, 2, 25.0, "placed on n2", node="n2")


def test_a_task_that_waits_has_had_none() -> None:
    assert attempts.of(samples.task(1)) == []


def test_each_attempt_has_its_node_its_times_and_its_reason() -> None:
    task = samples.task(
        1,
        status=TaskStatus.OVER,
        attempt=2,
        started_at=26.0,
        ended_at=30.0,
        exit_code=3,
        ending=Ending.EXITED,
        history=[PLACED, RAN, FAILED, AGAIN, entry(TaskStatus.RUNNING, 2, 26.5, started_at=26.0)],
    )
    first, second = attempts.of(task)
    assert (first["node"], first["placed_at"], first["started_at"], first["ended_at"]) == ("n1", 10.0, 11.0, 20.0)
    assert first["reason"] == "restart 1 of 2: its node failed it"
    assert first["log"]["err"] == "/api/1.0/task/1/log?attempt=1&stream=err"
    assert (second["node"], second["queued_at"], second["exit_code"], second["ending"]) == ("n2", 20.0, 3, "exited")


def test_a_history_of_an_earlier_version_or_with_odd_entries_is_read_as_far_as_it_goes() -> None:
    old = [{"status": "starting", "attempt": 1, "at": 10.0, "note": "placed on n1"}]
    odd = [{}, {"status": "running", "attempt": "1", "at": 3}, {"status": "over", "attempt": 7, "at": 3.0}]
    (found,) = attempts.of(samples.task(1, status=TaskStatus.RUNNING, attempt=1, history=[*odd, *old]))
    assert found["node"] == "n1"
