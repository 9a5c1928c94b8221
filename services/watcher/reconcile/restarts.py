"""Choose the transition that follows the end of an attempt, by the failure policy: pure."""

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


def finish(task: Placed, outcome: Outcome, now: float, *, failure: Mapping[str, Any] | None = None) -> Transition:
    """End the task with this outcome."""
    return transitions.finish(
        task,
        ending=outcome.ending,
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        started_at=outcome.started_at,
        ended_at=outcome.ended_at,
        at=now,
        failure=failure,
    )


def reschedule(task: Placed, now: float) -> Transition:
    """Requeue a task at its owner's request, behind the tasks already waiting."""
    fields = {"queued_at": now, "reason": kills.rescheduled(task.intent_by)}
    return transitions.requeue(task, fields, note="rescheduled", expected=Intent.RESCHEDULE, at=now)


def after_node_failure(
    task: Placed, stored: Task, outcome: Outcome, *, policy: FailurePolicy, now: float
) -> Transition:
    """
    Requeue a task whose node failed, or end it once it has used up its restarts: as many as it asked for and the policy allows.
    It keeps its place in the queue and waits for a delay that doubles with each failure. `stored` is the task as just read.
    """
    reason, failures = outcome.reason or "its node failed it", stored.failure.count
    failure = Failure(
        reason=[*stored.failure.reason, reason], nodes=[*stored.failure.nodes, task.node], count=failures + 1
    ).model_dump()
    allowed = min(stored.spec.restarts, policy.strategy)
    if failures >= allowed:
        return finish(task, outcome, now, failure=failure)
    avoid = sorted({*stored.avoid, task.node}) if policy.skip_failed_nodes else stored.avoid
    fields: dict[str, Any] = {
        "failure": failure,
        "avoid": avoid,
        "shape": shape_of(stored.spec, avoid=avoid),
        "not_before": now + delay(policy, failures),
        "reason": f"restart {failures + 1} of {allowed}: {reason}",
    }
    return transitions.requeue(task, fields, note=fields["reason"], expected=task.intent, at=now)


def delay(policy: FailurePolicy, failures: int) -> float:
    """Return the seconds to wait before the next restart, after this many earlier failures."""
    return min(_LONGEST_DELAY, float(policy.delay) * 2.0 ** min(failures, _DOUBLINGS))


def is_node_failure(outcome: Outcome) -> bool:
    """Return whether the node is to blame, not the command."""
    return outcome.ending is Ending.NODE_FAILED
