"""Policies by name: built-in ones and those of other packages, and properties of each built-in one."""

from __future__ import annotations

import itertools
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from godocker import reference
from services.scheduler import __main__
from services.scheduler.policies import registry
from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.view import View
from services.scheduler.queue.book import Book
from shared import errors
from shared.settings import Settings
from tests.support import samples

NOT_CALLABLE = 1


def build(name: str) -> Policy:
    return registry.build(Settings(scheduler_policy=name))


def another(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Pretend that a package with this entry point is installed."""
    point = metadata.EntryPoint(name, value, registry.GROUP)

    def entry_points(**given: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints([point]).select(**given)

    monkeypatch.setattr(metadata, "entry_points", entry_points)


class LastInFirstOut(Fifo):
    """A policy of another package."""

    def __init__(self, settings: Settings) -> None:
        self.instance = settings.instance


def test_built_in_policies_are_found_by_name() -> None:
    assert isinstance(build("fifo"), Fifo)
    assert isinstance(build("fairshare"), FairShare)


def test_an_unknown_policy_is_rejected_with_the_known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    another(monkeypatch, "lottery", "lottery:build")
    with pytest.raises(errors.ConfigurationError, match="no policy fair_share; choose from fairshare, fifo, lottery"):
        build("fair_share")


def test_a_scheduler_with_an_unknown_policy_does_not_start() -> None:
    with pytest.raises(errors.ConfigurationError, match="no policy fair_share; choose from fairshare, fifo"):
        __main__.run(Settings(scheduler_policy="fair_share", mongo_url="mongodb://127.0.0.1:1"))


def test_a_policy_of_another_package_is_built_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    another(monkeypatch, "lifo", f"{__name__}:LastInFirstOut")
    made = build("lifo")
    assert isinstance(made, LastInFirstOut)
    assert made.instance == "godocker"


def test_an_entry_point_does_not_replace_a_built_in_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    another(monkeypatch, "fifo", f"{__name__}:LastInFirstOut")
    assert type(build("fifo")) is Fifo


@pytest.mark.parametrize("value", ["no.such.module:build", f"{__name__}:missing", f"{__name__}:NOT_CALLABLE"])
def test_a_policy_that_cannot_be_loaded_is_rejected_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    another(monkeypatch, "broken", value)
    with pytest.raises(errors.ConfigurationError, match=f"broken of {value} cannot be used: "):
        build("broken")


# --- every policy ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_a_policy_offers_each_task_once_if_there_is_room(name: str) -> None:
    tasks = [
        samples.pending(number, user=user, project=project, queued_at=samples.NOW - number)
        for number, (user, project) in enumerate(itertools.product(["alice", "bob"], ["default", "one", "two"]), 1)
    ]
    book = Book()
    book.add(tasks)
    offers = build(name).begin(book.lanes, View(now=samples.NOW))
    offered = []
    while (task := offers.pop()) is not None:
        offered.append(task.id)
        offers.charge(task)
    assert sorted(offered) == [task.id for task in tasks]


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_a_policy_has_a_test_of_its_own_order_and_is_named_where_it_is_chosen(name: str) -> None:
    assert Path(__file__).with_name(f"test_{name}.py").exists()
    (setting,) = (entry for entry in reference.entries() if entry.name == "scheduler_policy")
    assert f"`{name}`" in setting.description
