"""Usage and priorities of users and projects, from the stored sums and the placements since."""

from __future__ import annotations

from services.scheduler.policies import usage_view
from services.scheduler.policies.usage_view import Charge, Snapshot
from services.scheduler.policies.view import OwnerUsage, Usage
from shared.models.usage_sums import Priorities, UsageSum
from shared.units.sizes import GB
from tests.support import samples

NOW = 1000.0


def test_without_usage_every_user_is_a_newcomer() -> None:
    view = usage_view.view(Snapshot(NOW), (), now=NOW)
    assert (view.users, view.projects) == ({}, {"default": OwnerUsage()})
    assert view.user("alice") == OwnerUsage(50, Usage(), usage_view.UNKNOWN)
    assert view.user_mean == view.project_mean == Usage(60, 60, 60)  # of one small task: never 0


def test_ended_tasks_are_summed_by_user_and_by_project() -> None:
    ended = (
        UsageSum("alice", "one", 2, 100, 200, 300),
        UsageSum("alice", "default", 1, 50, 50, 50),
        UsageSum("bob", "one", 1, 150, 350, 650),
    )
    view = usage_view.view(Snapshot(NOW, ended), (), now=NOW)
    assert view.users["alice"] == OwnerUsage(50, Usage(150, 250, 350), 50)
    assert view.users["bob"] == OwnerUsage(50, Usage(150, 350, 650), 150)
    assert view.projects["one"].usage == Usage(250, 550, 950)
    assert view.user_mean == Usage(150, 300, 500)
    assert view.project_mean == Usage(250, 550, 950)


def test_a_task_of_a_new_user_is_expected_to_take_the_average_time() -> None:
    ended = (UsageSum("alice", "one", 3, 60, 0, 0), UsageSum("bob", "one", 1, 100, 0, 0))
    view = usage_view.view(Snapshot(NOW, ended, priorities=Priorities({"carol": 50}, {})), (), now=NOW)
    assert [view.user(name).expected for name in ("alice", "bob", "carol", "dave")] == [20, 100, 40, 40]


def test_a_running_task_counts_its_time_so_far_plus_an_average_task() -> None:
    ended = (UsageSum("alice", "one", 1, 10, 10, 10),)
    running = (UsageSum("alice", "one", 2, 100, 300, 500, cores=3, gb=5),)
    found = Snapshot(NOW, ended, running)
    view = usage_view.view(found, (), now=NOW + 7)  # read seven seconds ago
    assert view.users["alice"].usage == Usage(10 + 100 + 2 * 17, 10 + 300 + 3 * 17, 10 + 500 + 5 * 17)
    # A month-long task is not nothing while it runs.
    assert usage_view.view(found, (), now=NOW + 1000).users["alice"].usage.time == 10 + 100 + 2 * 1010


def test_a_clock_that_is_behind_reduces_no_usage() -> None:
    running = (UsageSum("alice", "one", 1, 100, 100, 100, cores=1, gb=1),)
    assert usage_view.view(Snapshot(NOW, (), running), (), now=NOW - 500).users["alice"].usage.time == 160


def test_a_task_placed_since_the_read_counts_like_one_that_just_started() -> None:
    task = samples.pending(1, user="alice", project="one", cpus=3.0, memory=5 * GB)
    placed = {("alice", "one"): Charge().plus(task).plus(task)}
    running = (UsageSum("alice", "one", 2, 0, 0, 0, cores=6, gb=10),)
    charged = usage_view.view(Snapshot(NOW), (placed,), now=NOW)
    assert charged == usage_view.view(Snapshot(NOW, (), running), (), now=NOW)
    assert charged.projects["one"].usage == Usage(120, 360, 600)


def test_the_default_project_counts_as_the_heaviest_one_in_each_resource() -> None:
    ended = (
        UsageSum("alice", "one", 1, 100, 900, 100),
        UsageSum("bob", "two", 1, 500, 500, 500),
        UsageSum("carol", "default", 10**6, 10**6, 10**6, 10**6),
    )
    view = usage_view.view(Snapshot(NOW, ended), (), now=NOW)
    assert view.project("default").usage == Usage(500, 900, 500)
    assert view.project_mean == Usage(300, 700, 300)


def test_priorities_are_the_stored_ones() -> None:
    found = Snapshot(NOW, priorities=Priorities({"alice": 80}, {"one": 20}))
    view = usage_view.view(found, (), now=NOW)
    assert [view.user(name).prio for name in ("alice", "bob")] == [80, 50]
    assert [view.project(name).prio for name in ("one", "default", "two")] == [20, 50, 50]
