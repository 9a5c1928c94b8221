"""The transition that an outcome comes to: to its end, or back into the queue: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.watcher.reconcile.outcome import Outcome
from shared.lifecycle import Ending, Intent
from shared.models import transitions
from shared.models.task import Failure, Task, shape_of
from shared.models.transitions import Transition
from shared.models.work import Placed
from shared.settings import FailurePolicy
from shared.wording import kills

_DOUBLINGS = 16  #: of the delay, at most
_LONGEST_DELAY = 24 * 3600.0  #: seconds


def end(task: Placed, found: Outcome, now: float, *, failure: Mapping[str, Any] | None = None) -> Transition:
    """End the task as its outcome says."""
    return transitions.finish(
        task,
        ending=found.ending,
        exit_code=found.exit_code,
        reason=found.reason,
        started_at=found.started_at,
        ended_at=found.ended_at,
        at=now,
        failure=failure,
    )


def again(task: Placed, now: float) -> Transition:
    """Back into the queue, behind those that wait there."""
    fields = {"queued_at": now, "reason": kills.rescheduled(task.intent_by)}
    return transitions.requeue(task, fields, note="rescheduled", expected=Intent.RESCHEDULE, at=now)


def after_failure(task: Placed, whole: Task, found: Outcome, *, policy: FailurePolicy, now: float) -> Transition:
    """
    What becomes of a task whose node failed it: it takes its old place in the queue, after a delay that doubles with each
    failure, as often as it asked for and the policy lets it; then it is over. `whole` is the task as it was read just now.
    """
    reason, met = found.reason or "its node failed it", whole.failure.count
    failure = Failure(
        reason=[*whole.failure.reason, reason], nodes=[*whole.failure.nodes, task.node], count=met + 1
    ).model_dump()
    allowed = min(whole.spec.restarts, policy.strategy)
    if met >= allowed:
        return end(task, found, now, failure=failure)
    avoid = sorted({*whole.avoid, task.node}) if policy.skip_failed_nodes else whole.avoid
    fields: dict[str, Any] = {
        "failure": failure,
        "avoid": avoid,
        "shape": shape_of(whole.spec, avoid=avoid),
        "not_before": now + delay(policy, met),
        "reason": f"restart {met + 1} of {allowed}: {reason}",
    }
    return transitions.requeue(task, fields, note=fields["reason"], expected=task.intent, at=now)


def delay(policy: FailurePolicy, failures: int) -> float:
    """Seconds before the restart that follows so many earlier ones."""
    return min(_LONGEST_DELAY, float(policy.delay) * 2.0 ** min(failures, _DOUBLINGS))


def is_failure(found: Outcome) -> bool:
    """Whether the node is to blame, and not the command."""
    return found.ending is Ending.NODE_FAILED
