"""
The fair-share ticket of a task: pure. The lowest goes first.

    ticket = waiting_time_weight · (1 − waited / 1 day)
           + user_time_weight · uₜ/ūₜ + user_cpu_weight · u꜀/ū꜀ + user_ram_weight · uᵣ/ūᵣ
           + group_time_weight · gₜ/ḡₜ + group_cpu_weight · g꜀/ḡ꜀ + group_ram_weight · gᵣ/ḡᵣ
           + user_weight · (1 − user's priority / 100) + group_weight · (1 − project's priority / 100)
           + ticket_share

`u` is what the user's tasks took within the window: seconds (t), cores times seconds (c), GB times seconds (r); what runs counts
too (see `standings`). `ū` is what those who used anything took on the average, so that 1 is the average user. `g` and `ḡ` are the
same of projects. `default` is everybody's and counts as the project that took most. `ticket_share` is what the task itself asks
for: it can only put it back.

Whoever always has tasks waiting is served until the tickets are level. With W the sum of the three weights of a user's usage, two
users' usage then differs by user_weight / W · (difference of priority / 100) of an average user's: this is what the weights mean.
Where that is more than a user's whole usage, waiting alone brings the lower one to a turn: it lowers a ticket day by day, without
bound.

The parts and weights are those of GO-Docker. There usage is scaled to lie between that of the lightest user (0) and the heaviest
(1), which has no balance but equal usage or none.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.scheduler.policies.view import Standing, Usage, View
from shared.models.work import Pending
from shared.settings import Settings
from shared.units.sizes import GB

DAY = 86400.0  #: seconds


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the parts of a ticket, none below 0."""

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


def user_parts(user: Standing, view: View, weights: Weights) -> dict[str, float]:
    """What makes tasks of one user wait for those of others."""
    used, mean = user.usage, view.user_mean
    return {
        "user_time": weights.user_time * used.time / mean.time,
        "user_cpu": weights.user_cpu * used.cpu / mean.cpu,
        "user_ram": weights.user_ram * used.ram / mean.ram,
        "user_prio": weights.user * (1 - user.prio / 100),
    }


def group_parts(project: Standing, view: View, weights: Weights) -> dict[str, float]:
    """What makes tasks of one project wait for those of others."""
    used, mean = project.usage, view.project_mean
    return {
        "group_time": weights.group_time * used.time / mean.time,
        "group_cpu": weights.group_cpu * used.cpu / mean.cpu,
        "group_ram": weights.group_ram * used.ram / mean.ram,
        "group_prio": weights.group * (1 - project.prio / 100),
    }


def task_parts(task: Pending, now: float, weights: Weights) -> dict[str, float]:
    """What sets a task apart from others of its user in its project."""
    return {
        "waiting": weights.waiting_time * (1 - (now - task.queued_at) / DAY),
        "ticket_share": task.ticket_share or 0.0,
    }


def expected_usage(task: Pending, user: Standing) -> Usage:
    """What `task` will have taken if it takes as long as tasks of its user usually do."""
    return Usage(user.expected, task.cpus * user.expected, task.memory / GB * user.expected)


def user_charge(used: Usage, view: View, weights: Weights) -> float:
    """What a user's ticket rises by with `used`."""
    mean = view.user_mean
    return (
        weights.user_time * used.time / mean.time
        + weights.user_cpu * used.cpu / mean.cpu
        + weights.user_ram * used.ram / mean.ram
    )


def group_charge(used: Usage, view: View, weights: Weights) -> float:
    """What a project's ticket rises by with `used`."""
    mean = view.project_mean
    return (
        weights.group_time * used.time / mean.time
        + weights.group_cpu * used.cpu / mean.cpu
        + weights.group_ram * used.ram / mean.ram
    )
