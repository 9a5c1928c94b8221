"""
The fair-share ticket of a task: pure. The lowest goes first.

    ticket = waiting_time_weight · (1 − waited / 1 day)
           + user_time_weight · uₜ/ūₜ + user_cpu_weight · u꜀/ū꜀ + user_ram_weight · uᵣ/ūᵣ
           + group_time_weight · gₜ/ḡₜ + group_cpu_weight · g꜀/ḡ꜀ + group_ram_weight · gᵣ/ḡᵣ
           + user_weight · (1 − user's priority / 100) + group_weight · (1 − project's priority / 100)
           + ticket_share

`u` is the usage of the user's tasks within the window: seconds (t), core-seconds (c), GB-seconds (r), running tasks
included (see `usage_view`). `ū` is the mean of the users who used anything, so that 1 is the average user. `g` and `ḡ`
are the same for projects; `default` belongs to everybody and counts as the project with the highest usage.
`ticket_share` is set by the task itself and can only put it back.

Users who always have tasks waiting are served until their tickets are level. With W the sum of the three weights of a
user's usage, the usage of two users then differs by user_weight / W · (difference of priority / 100) of the average
usage: this is the meaning of the weights. Where that exceeds a user's whole usage, only waiting brings the task of
lower priority to its turn: it lowers the ticket day by day, without bound.

The parts and weights are those of GO-Docker. There usage is scaled between the lightest user (0) and the heaviest (1),
which has no equilibrium except equal usage or none.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.scheduler.policies.view import OwnerUsage, Usage, View
from shared.models.work import Pending
from shared.settings import Settings
from shared.units.sizes import GB

DAY = 86400.0  #: seconds


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the parts of a ticket, none below 0."""

    waiting_time: float = 0.0
    user_time: float = 0.0
    user_cpu: float = 0.0
    user_ram: float = 0.0
    group_time: float = 0.0
    group_cpu: float = 0.0
    group_ram: float = 0.0
    user: float = 0.0
    group: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Weights:
        return cls(**{name: getattr(settings, f"fairshare_{name}_weight") for name in cls.__dataclass_fields__})


def user_parts(user: OwnerUsage, view: View, weights: Weights) -> dict[str, float]:
    """Return the parts of the ticket that all tasks of a user share."""
    used, mean = user.usage, view.user_mean
    return {
        "user_time": weights.user_time * used.time / mean.time,
        "user_cpu": weights.user_cpu * used.cpu / mean.cpu,
        "user_ram": weights.user_ram * used.ram / mean.ram,
        "user_prio": weights.user * (1 - user.prio / 100),
    }


def group_parts(project: OwnerUsage, view: View, weights: Weights) -> dict[str, float]:
    """Return the parts of the ticket that all tasks of a project share."""
    used, mean = project.usage, view.project_mean
    return {
        "group_time": weights.group_time * used.time / mean.time,
        "group_cpu": weights.group_cpu * used.cpu / mean.cpu,
        "group_ram": weights.group_ram * used.ram / mean.ram,
        "group_prio": weights.group * (1 - project.prio / 100),
    }


def task_parts(task: Pending, now: float, weights: Weights) -> dict[str, float]:
    """Return the parts of the ticket that belong to the task alone."""
    return {
        "waiting": weights.waiting_time * (1 - (now - task.queued_at) / DAY),
        "ticket_share": task.ticket_share or 0.0,
    }


def expected_usage(task: Pending, user: OwnerUsage) -> Usage:
    """Return the usage of `task` if it takes as long as an average task of its user."""
    return Usage(user.expected, task.cpus * user.expected, task.memory / GB * user.expected)


def user_charge(used: Usage, view: View, weights: Weights) -> float:
    """Return by how much `used` raises a user's ticket."""
    mean = view.user_mean
    return (
        weights.user_time * used.time / mean.time
        + weights.user_cpu * used.cpu / mean.cpu
        + weights.user_ram * used.ram / mean.ram
    )


def group_charge(used: Usage, view: View, weights: Weights) -> float:
    """Return by how much `used` raises a project's ticket."""
    mean = view.project_mean
    return (
        weights.group_time * used.time / mean.time
        + weights.group_cpu * used.cpu / mean.cpu
        + weights.group_ram * used.ram / mean.ram
    )
