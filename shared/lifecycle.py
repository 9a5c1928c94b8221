"""
Where a task can be, and which edges lead from there: the only place that knows them.

    created ──► pending ──► starting ──► running ──► over ──► archived
       │           │  ▲         │           │          ▲
       │           │  └─────────┴───────────┘          │   start undone, rescheduled, restarted after a node failure
       └───────────┴─────────┴───────────────┴─────────┘   ended by itself, killed, could not start, lost
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from shared import errors


class TaskStatus(StrEnum):
    """Where a task is. What its owner *wants* is another field, `Intent`."""

    CREATED = "created"  #: admitted, held back by its owner
    PENDING = "pending"  #: admitted, waiting for placement
    STARTING = "starting"  #: placed on a node; written before the executor is asked
    RUNNING = "running"  #: the executor reported it alive (or paused)
    OVER = "over"  #: ended; `Ending` says how, and never changes again
    ARCHIVED = "archived"  #: over, and its files are gone


class Intent(StrEnum):
    """What the owner of a task wants. A request writes it; the watcher makes it true and clears it."""

    RUN = "run"
    KILL = "kill"
    SUSPEND = "suspend"
    RESUME = "resume"
    RESCHEDULE = "reschedule"


class IntentResult(StrEnum):
    """What came of the owner's last wish, until the task moves on."""

    SUSPENDED = "suspended"
    SUSPEND_REJECTED = "suspend rejected"
    RESUMED = "resumed"
    RESUME_REJECTED = "resume rejected"
    RESCHEDULED = "rescheduled"


#: Reason of a running task while its node shows it paused and its owner did not ask for that.
PAUSED_BY_OTHERS = "paused on its node by somebody else"


class Ending(StrEnum):
    """How a task that is over came to its end."""

    EXITED = "exited"  #: the command ended by itself, whatever its exit code
    KILLED = "killed"  #: by its owner or an admin
    START_FAILED = "start_failed"  #: it could never start: image, shell, directory
    OUT_OF_MEMORY = "out_of_memory"  #: the kernel killed it at its memory limit
    LOST = "lost"  #: its container disappeared without leaving an exit code
    NODE_FAILED = "node_failed"  #: its node failed it, and it may not be restarted (any more)
    QUOTA_REACHED = "quota_reached"  #: its user or project has used what they may
    LIFESPAN_REACHED = "lifespan_reached"  #: it ran for as long as it may
    DEPENDENCY_FAILED = "dependency_failed"  #: what it had to wait for can no longer happen


TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.CREATED: frozenset({TaskStatus.PENDING, TaskStatus.OVER}),
    TaskStatus.PENDING: frozenset({TaskStatus.STARTING, TaskStatus.OVER}),
    TaskStatus.STARTING: frozenset({TaskStatus.RUNNING, TaskStatus.PENDING, TaskStatus.OVER}),
    TaskStatus.RUNNING: frozenset({TaskStatus.OVER, TaskStatus.PENDING}),
    TaskStatus.OVER: frozenset({TaskStatus.ARCHIVED}),
    TaskStatus.ARCHIVED: frozenset(),
}

WAITING = frozenset({TaskStatus.CREATED, TaskStatus.PENDING})  #: holds no resources
PLACED = frozenset({TaskStatus.STARTING, TaskStatus.RUNNING})  #: holds resources of a node
ACTIVE = WAITING | PLACED
ENDED = frozenset({TaskStatus.OVER, TaskStatus.ARCHIVED})

STOPPING = frozenset({Intent.KILL, Intent.RESCHEDULE})  #: the run is being stopped, from the time of the wish on


def check_transition(old: TaskStatus, new: TaskStatus) -> None:
    """Raise `errors.InvalidTransition` unless the table allows `old` to become `new`."""
    if new not in TRANSITIONS[old]:
        raise errors.InvalidTransition(old, new)
