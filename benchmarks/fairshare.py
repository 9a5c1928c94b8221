"""
Simulate 200 users for a month under fair share, and write docs/fairshare.svg: `python -m benchmarks.fairshare`.

Users and projects have priorities from 20 to 80; queues have different lengths and never become empty. Each user's due is
computed from the weights alone (`virtual.due`), then compared with the usage.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import chart
from benchmarks.chart import Line, Panel
from benchmarks.systems import virtual
from benchmarks.systems.virtual import DAY, MINUTE, VirtualCluster, VirtualUser
from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.tickets import Weights
from shared.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
USERS, PROJECTS, NODES = 200, 10, 50
STEP = 10 * MINUTE
WINDOW = 30  #: days
RANKS = (20, 35, 50, 65, 80)  #: priorities
BACKLOGS = (2, 4, 16)
LOOK = 12  #: steps between two looks: two hours
SEED = 3

#: Default weights without waiting time, which favours older tasks whatever their users' usage.
WEIGHTS = replace(Weights.of(Settings()), waiting_time=0.0)
DEFAULTS = Weights.of(Settings())


@dataclass(frozen=True, slots=True)
class Look:
    """Usage of each user at one moment, relative to the due."""

    day: float
    ratios: dict[str, float]
    shares: dict[str, float]

    @property
    def deviations(self) -> list[float]:
        return sorted(abs(ratio - 1) for ratio in self.ratios.values())


def population(
    users: int, projects: int, *, hours: float = 2.0, seed: int = SEED
) -> tuple[list[VirtualUser], dict[str, float]]:
    """Return users with different priorities and habits, and the priorities of their projects."""
    dice = random.Random(seed)
    prios = {f"project{number}": float(dice.choice(RANKS)) for number in range(projects)}
    made = [
        VirtualUser(
            f"user{number}",
            f"project{number % projects}",
            dice.choice(RANKS),
            dice.choice(BACKLOGS),
            hours,
        )
        for number in range(users)
    ]
    return made, prios


def simulate(
    policy: Policy,
    users: Sequence[VirtualUser],
    prios: dict[str, float],
    *,
    nodes: int,
    days: float,
    say: Callable[[Look], None] = lambda look: None,
) -> list[Look]:
    """Simulate `days`, with a measurement every `LOOK` steps."""
    cluster = VirtualCluster(policy, users, nodes=nodes, project_prios=prios, days=WINDOW)
    due = virtual.due(users, prios, WEIGHTS)
    looks = []
    for number in range(1, round(days * DAY / STEP) + 1):
        cluster.step(STEP)
        if number % LOOK == 0:
            shares = virtual.shares(cluster, WEIGHTS)
            ratios = {name: share / due[name] for name, share in shares.items()}
            looks.append(Look((cluster.now - virtual.START) / DAY, ratios, shares))
            say(looks[-1])
    return looks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairshare", description=__doc__)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "fairshare.svg")
    options = parser.parse_args()
    users, prios = population(USERS, PROJECTS)
    policies: dict[str, Policy] = {
        "fair share": FairShare(WEIGHTS),
        "fair share, waiting weighs 0.1 a day": FairShare(DEFAULTS),
        "first in, first out": Fifo(),
    }
    print(f"{USERS} users, {PROJECTS} projects, {NODES} nodes of {virtual.NODE_CPUS:g} cores, {options.days:g} days")
    runs: dict[str, list[Look]] = {}
    for name, policy in policies.items():
        print(f"\n{name}\n   day   deviation of a share from what is due: median, 95 of 100, most")
        runs[name] = simulate(policy, users, prios, nodes=NODES, days=options.days, say=_say)
    options.to.write_text(_draw(*runs.values(), users=users, prios=prios))
    print(f"\nwritten to {options.to}")
    return 0


def _say(look: Look) -> None:
    if look.day in (0.5, 1, 2, 5, 10, 20, 30):
        found = look.deviations
        figures = (found[len(found) // 2], found[len(found) * 95 // 100], found[-1])
        print(f"  {look.day:4g}   " + "  ".join(f"{figure:7.2%}" for figure in figures), flush=True)


def _draw(
    fair: list[Look],
    waiting: list[Look],
    fifo: list[Look],
    *,
    users: Sequence[VirtualUser],
    prios: dict[str, float],
) -> str:
    days = [look.day for look in fair]

    def line(label: str, looks: list[Look], place: float, colour: str) -> Line:
        return Line(label, days, [look.deviations[round(place * (len(users) - 1))] for look in looks], colour)

    deviations = Panel(
        "How far users' shares are from what is due to them",
        (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0),
        [
            line("first in, first out: most", fifo, 1.0, "#c0504d"),
            line("first in, first out: median", fifo, 0.5, "#e3a19f"),
            line("fair share, waiting weighs 0.1 a day: most", waiting, 1.0, "#9a7fc0"),
            line("fair share: most", fair, 1.0, "#1f4e79"),
            line("fair share: 95 of 100 users", fair, 0.95, "#3c78b4"),
            line("fair share: median", fair, 0.5, "#8fb8de"),
        ],
        log=True,
        percent=True,
    )
    due = virtual.due(users, prios, WEIGHTS)
    lines = []
    for rank, colour in zip(RANKS, ("#a6611a", "#d2a056", "#777777", "#4da99a", "#01665e"), strict=True):
        names = [user.name for user in users if user.prio == rank]
        target = statistics.fmean(due[name] for name in names)
        took = [statistics.fmean(look.shares[name] for name in names) for look in fair]
        lines.append(Line(f"priority {rank}", days, took, colour))
        lines.append(Line("", days, [target] * len(days), colour, dashed=True))
    title = "Mean share of users by priority (dashed: due), 1 being the average user's"
    groups = Panel(title, (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3), lines)
    return chart.svg([deviations, groups], x_label="days", x_range=(0.0, days[-1]))


if __name__ == "__main__":
    sys.exit(main())
