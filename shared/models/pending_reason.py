"""The reasons why a task is pending: one vocabulary for the scheduler, the API, metrics, alerts and dashboards."""

from __future__ import annotations

from enum import StrEnum

from shared.models.quota import ScopeKind


class PendingReason(StrEnum):
    """Why a task is pending. The values are stable: clients, alerts and dashboards match them."""

    # The task is not offered to any node.
    USER_DISABLED = "user_disabled"
    USER_DELETED = "user_deleted"  #: its user is being deleted
    NOT_IN_PROJECT = "not_in_project"  #: its user left its project
    USER_QUOTA = "user_quota"
    PROJECT_QUOTA = "project_quota"
    DEPENDENCY = "dependency"  #: tasks that it depends on are not over
    DELAYED = "delayed"  #: it is between two attempts
    ARRAY_SUSPENDED = "array_suspended"
    ARRAY_LIMIT = "array_limit"  #: its array has as many children placed as `array.max_concurrent` allows
    CHILDREN = "children"  #: it is an array, whose children are placed instead
    NOT_MADE = "not_made"  #: it is a child that its array has not created yet
    HELD_BY_OWNER = "held_by_owner"  #: it was submitted to be held until its owner releases it
    KILL_REQUESTED = "kill_requested"  #: it is about to be killed

    # No node takes it.
    MAINTENANCE = "maintenance"  #: the system is in maintenance, or all nodes that could take it are
    NO_NODES = "no_nodes"
    NEVER = "never"  #: no node could take it, even empty and ready
    NOT_READY = "not_ready"  #: no node that could take it is ready
    RESERVED = "reserved"  #: the node with room is reserved for another task
    FRAGMENTED = "fragmented"  #: the nodes have enough free together, but none of them alone
    NO_ROOM = "no_room"  #: the nodes that could take it are full; explanations name the resource by CPU, MEMORY, GPUS and PORTS

    # One node does not take it.
    AVOIDED = "avoided"  #: the node failed an earlier attempt of the task
    LABEL = "label"
    CPU = "cpu"
    MEMORY = "memory"
    GPUS = "gpus"
    PORTS = "ports"

    # Nothing is in its way.
    TURN = "turn"  #: other tasks are offered to the nodes first
    NEXT = "next"  #: the next cycle places it

    # The scheduler was not asked.
    NO_SCHEDULER = "no_scheduler"  #: no scheduler leads, or it did not answer
    LAST_VERDICT = "last_verdict"  #: the reason that a scheduler stored last


#: The reason of a task that a quota of a user or of a project holds.
OF_QUOTA = {ScopeKind.USER: PendingReason.USER_QUOTA, ScopeKind.PROJECT: PendingReason.PROJECT_QUOTA}
