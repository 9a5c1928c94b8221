"""What is due to users and projects, from what was read and what was placed since; and the policies by name."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from services.scheduler import __main__
from services.scheduler.policies import registry, usage_view
from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.usage_view import Charge, Snapshot
from services.scheduler.policies.view import Standing, Usage
from shared import errors
from shared.models.usage_sums import Priorities, UsageSum
from shared.settings import Settings
from shared.units.sizes import GB
from tests.support import samples

NOW = 1000.0


def test_nobody_is_anybody_before_anything_was_used() -> None:
    view = usage_view.view(Snapshot(NOW), (), now=NOW)
    assert (view.users, view.projects) == ({}, {"default": Standing()})
    assert view.user("alice") == Standing(50, Usage(), usage_view.UNKNOWN)
    assert view.user_mean == view.project_mean == Usage(60, 60, 60)  # of one small task: never 0


def test_what_has_ended_is_summed_by_user_and_by_project() -> None:
    ended = (
        UsageSum("alice", "one", 2, 100, 200, 300),
        UsageSum("alice", "default", 1, 50, 50, 50),
        UsageSum("bob", "one", 1, 150, 350, 650),
    )
    view = usage_view.view(Snapshot(NOW, ended), (), now=NOW)
    assert view.users["alice"] == Standing(50, Usage(150, 250, 350), 50)
    assert view.users["bob"] == Standing(50, Usage(150, 350, 650), 150)
    assert view.projects["one"].usage == Usage(250, 550, 950)
    assert view.user_mean == Usage(150, 300, 500)
    assert view.project_mean == Usage(250, 550, 950)


def test_a_task_of_somebody_new_is_expected_to_take_what_tasks_take_on_the_average() -> None:
    ended = (UsageSum("alice", "one", 3, 60, 0, 0), UsageSum("bob", "one", 1, 100, 0, 0))
    view = usage_view.view(Snapshot(NOW, ended, priorities=Priorities({"carol": 50}, {})), (), now=NOW)
    assert [view.user(name).expected for name in ("alice", "bob", "carol", "dave")] == [20, 100, 40, 40]


def test_what_runs_counts_what_it_took_so_far_and_an_average_task_on_top() -> None:
    ended = (UsageSum("alice", "one", 1, 10, 10, 10),)
    running = (UsageSum("alice", "one", 2, 100, 300, 500, cores=3, gb=5),)
    found = Snapshot(NOW, ended, running)
    view = usage_view.view(found, (), now=NOW + 7)  # read seven seconds ago
    assert view.users["alice"].usage == Usage(10 + 100 + 2 * 17, 10 + 300 + 3 * 17, 10 + 500 + 5 * 17)
    # A month-long task is not nothing while it runs.
    assert usage_view.view(found, (), now=NOW + 1000).users["alice"].usage.time == 10 + 100 + 2 * 1010


def test_a_clock_that_is_behind_takes_nothing_away() -> None:
    running = (UsageSum("alice", "one", 1, 100, 100, 100, cores=1, gb=1),)
    assert usage_view.view(Snapshot(NOW, (), running), (), now=NOW - 500).users["alice"].usage.time == 160


def test_what_was_placed_since_counts_like_what_has_just_started() -> None:
    task = samples.pending(1, user="alice", project="one", cpus=3.0, memory=5 * GB)
    placed = {("alice", "one"): Charge().plus(task).plus(task)}
    running = (UsageSum("alice", "one", 2, 0, 0, 0, cores=6, gb=10),)
    charged = usage_view.view(Snapshot(NOW), (placed,), now=NOW)
    assert charged == usage_view.view(Snapshot(NOW, (), running), (), now=NOW)
    assert charged.projects["one"].usage == Usage(120, 360, 600)


def test_the_project_of_everybody_counts_as_the_one_that_took_most_of_each() -> None:
    ended = (
        UsageSum("alice", "one", 1, 100, 900, 100),
        UsageSum("bob", "two", 1, 500, 500, 500),
        UsageSum("carol", "default", 10**6, 10**6, 10**6, 10**6),
    )
    view = usage_view.view(Snapshot(NOW, ended), (), now=NOW)
    assert view.project("default").usage == Usage(500, 900, 500)
    assert view.project_mean == Usage(300, 700, 300)


def test_priorities_are_those_that_are_stored() -> None:
    found = Snapshot(NOW, priorities=Priorities({"alice": 80}, {"one": 20}))
    view = usage_view.view(found, (), now=NOW)
    assert [view.user(name).prio for name in ("alice", "bob")] == [80, 50]
    assert [view.project(name).prio for name in ("one", "default", "two")] == [20, 50, 50]


# --- policies by name -------------------------------------------------------------------------


def build(name: str) -> Policy:
    return registry.build(Settings(scheduler_policy=name))


def another(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """As if a package with this entry point was installed."""
    point = metadata.EntryPoint(name, value, registry.GROUP)

    def entry_points(**given: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints([point]).select(**given)

    monkeypatch.setattr(metadata, "entry_points", entry_points)


class LastInFirstOut(Fifo):
    """Somebody else's policy."""

    def __init__(self, settings: Settings) -> None:
        self.instance = settings.instance


def test_ours_are_there_by_name() -> None:
    assert isinstance(build("fifo"), Fifo)
    assert isinstance(build("fairshare"), FairShare)


def test_a_name_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    another(monkeypatch, "lottery", "lottery:build")
    with pytest.raises(errors.ConfigurationError, match="no policy fair_share; choose from fairshare, fifo, lottery"):
        build("fair_share")


def test_a_scheduler_with_no_policy_of_the_name_does_not_start() -> None:
    with pytest.raises(errors.ConfigurationError, match="no policy fair_share; choose from fairshare, fifo"):
        __main__.run(Settings(scheduler_policy="fair_share", mongo_url="mongodb://127.0.0.1:1"))


def test_a_third_policy_comes_by_entry_point_and_is_given_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    another(monkeypatch, "lifo", f"{__name__}:LastInFirstOut")
    made = build("lifo")
    assert isinstance(made, LastInFirstOut)
    assert made.instance == "godocker"


def test_a_policy_of_others_does_not_take_the_place_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    another(monkeypatch, "fifo", f"{__name__}:LastInFirstOut")
    assert type(build("fifo")) is Fifo


@pytest.mark.parametrize("value", ["no.such.module:build", f"{__name__}:missing", f"{__name__}:NOW"])
def test_a_policy_that_cannot_be_loaded_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    another(monkeypatch, "broken", value)
    with pytest.raises(errors.ConfigurationError, match=f"broken of {value} cannot be used: "):
        build("broken")
