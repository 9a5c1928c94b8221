"""
Statuses of a task and the transitions between them: the only place that knows them.

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
    """Current status of a task. The owner's request is a separate field, `Intent`."""

    CREATED = "created"  #: admitted, held back by its owner
    PENDING = "pending"  #: admitted, waiting for placement
    STARTING = "starting"  #: placed on a node; written before the executor is called
    RUNNING = "running"  #: the executor reported it alive (or paused)
    OVER = "over"  #: ended; `Ending` says how, and never changes again
    ARCHIVED = "archived"  #: over, and its files are gone


class Intent(StrEnum):
    """The owner's request for a task. The API writes it; the watcher carries it out and clears it."""

    RUN = "run"
    KILL = "kill"
    SUSPEND = "suspend"
    RESUME = "resume"
    RESCHEDULE = "reschedule"


class IntentResult(StrEnum):
    """Result of the last intent, until the next transition."""

    SUSPENDED = "suspended"
    SUSPEND_REJECTED = "suspend rejected"
    RESUMED = "resumed"
    RESUME_REJECTED = "resume rejected"
    RESCHEDULED = "rescheduled"


#: Reason of a running task that its node shows as paused without a request of its owner.
PAUSED_BY_OTHERS = "paused on its node by somebody else"


class Ending(StrEnum):
    """The way a task ended."""

    EXITED = "exited"  #: the command ended by itself, whatever its exit code
    KILLED = "killed"  #: by its owner or an admin
    START_FAILED = "start_failed"  #: it could not start: image, shell, directory
    OUT_OF_MEMORY = "out_of_memory"  #: the kernel killed it at its memory limit
    LOST = "lost"  #: its container disappeared without leaving an exit code
    NODE_FAILED = "node_failed"  #: its node failed it, and no restart is left
    QUOTA_REACHED = "quota_reached"  #: its user or project has used up a quota
    LIFESPAN_REACHED = "lifespan_reached"  #: it reached its maximum lifespan
    DEPENDENCY_FAILED = "dependency_failed"  #: a dependency can no longer be met


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

STOPPING = frozenset({Intent.KILL, Intent.RESCHEDULE})  #: intents that stop the run


def check_transition(old: TaskStatus, new: TaskStatus) -> None:
    """Raise `errors.InvalidTransition` unless the table allows `old` to become `new`."""
    if new not in TRANSITIONS[old]:
        raise errors.InvalidTransition(old, new)
