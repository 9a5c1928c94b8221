"""Twenty users of mixed priorities over some virtual days: usage converges to the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import fairshare
from benchmarks.systems import virtual
from benchmarks.systems.virtual import DAY, VirtualCluster, VirtualUser
from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.tickets import Weights

USERS, PRIOS = fairshare.population(20, 4, hours=1.0)
WEIGHTS = fairshare.WEIGHTS


def simulated(policy: Policy, *, days: float = 3.0) -> list[fairshare.Look]:
    return fairshare.simulate(policy, USERS, PRIOS, nodes=4, days=days)


def test_usage_converges_to_the_weights() -> None:
    looks = simulated(FairShare(WEIGHTS))
    due = virtual.due(USERS, PRIOS, WEIGHTS)
    assert max(due.values()) > 1.5 * min(due.values())  # else there would be nothing to see
    early, late = looks[0], looks[-1]
    assert max(late.deviations) < 0.05
    assert sum(late.deviations) < sum(early.deviations) / 5


def test_first_in_first_out_favours_users_who_submit_most() -> None:
    late = simulated(Fifo(), days=1.0)[-1]
    assert max(late.deviations) > 0.5
    most = max(late.shares, key=lambda name: late.shares[name])
    assert next(user for user in USERS if user.name == most).backlog == max(fairshare.BACKLOGS)


def test_without_a_weight_on_priorities_all_users_get_the_same() -> None:
    weights = replace(WEIGHTS, user=0.0, group=0.0, group_time=0.0, group_cpu=0.0, group_ram=0.0)
    late = simulated(FairShare(weights))[-1]
    assert all(share == pytest.approx(1, abs=0.1) for share in late.shares.values())


def test_a_user_who_was_away_is_served_first_until_level() -> None:
    users = [VirtualUser(name, "default", backlog=8) for name in ("old", "new")]
    cluster = VirtualCluster(FairShare(WEIGHTS), users[:1], nodes=2, project_prios={}, days=30)
    for _ in range(50):
        cluster.step(DAY / 48)
    cluster.join(users[1])
    before = dict(cluster.placed)
    for _ in range(24):
        cluster.step(DAY / 48)
    assert cluster.placed["new"] > 10 * (cluster.placed["old"] - before["old"])
    for _ in range(150):
        cluster.step(DAY / 48)
    usage = cluster.usage()
    assert usage["new"].time == pytest.approx(usage["old"].time, rel=0.1)


def test_the_expected_usage_is_where_tickets_are_level() -> None:
    """By hand: W = 2 and no weight on projects make 50 points of priority a quarter of the average usage."""
    users = [VirtualUser(name, "default", prio) for name, prio in (("a", 75.0), ("b", 50.0), ("c", 25.0))]
    weights = Weights(user_time=1, user_cpu=0.5, user_ram=0.5, user=1)
    assert virtual.due(users, {}, weights) == pytest.approx({"a": 1.125, "b": 1.0, "c": 0.875})
