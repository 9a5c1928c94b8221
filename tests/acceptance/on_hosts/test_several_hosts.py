"""Tests of several Docker hosts: all are used, none is overbooked, and older tasks go first."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymongo.collection
import pytest

from godocker.admin import accounts
from shared.settings import Settings
from tests.acceptance.conftest import SeveralHosts
from tests.acceptance.use.client import Client
from tests.cluster.sampling import Sampler
from tests.conftest import FIGURES
from tests.support import history, naming, waiting
from tests.support.harness.system import System

Tasks = pymongo.collection.Collection[dict[str, Any]]

pytestmark = [pytest.mark.long, pytest.mark.docker]

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
TASKS = 500 if LONG else 200
OVER_TIMEOUT = 400.0 if LONG else 200.0
PROJECTS = {"genomics": ["ada", "bob", "cleo"], "imaging": ["dan", "eve"]}
GATE = "gate"  #: tasks wait for this file before they do anything
PATIENCE = 90.0
#: cpus and GB: for each host there is one that fits it best. A container cannot have more cpus than this machine.
SHAPES = [(1, 0.25), (0.5, 1), (2, 0.25), (1, 1.5), (0.25, 0.25), (2, 0.5), (0.5, 2), (1, 0.5)]


@pytest.mark.timeout(600 if LONG else 300)
def test_mixed_tasks_of_five_users_are_placed_on_all_hosts_in_order_and_none_has_too_many(
    several_hosts: SeveralHosts, record_property: Callable[[str, object], None]
) -> None:
    hosts = several_hosts.cluster.hosts
    with several_hosts.system(GODOCKER_SCHEDULER_POLICY="fifo") as system, Sampler(hosts) as sampler:
        with system.hanging("scheduler"):
            # All are there before the first is placed: whose turn it is does not hang on who was heard first.
            acknowledged = submit_all(several_hosts, system)
        began = time.monotonic()
        with stored_tasks(system.settings()) as stored:
            wait_until_full(stored, [host.name for host in hosts])
            (several_hosts.witness.folder / GATE).touch()
            tasks = all_over(stored, len(acknowledged))
        seconds = time.monotonic() - began

        assert sampler.wrong == []
        placed = Counter(task["placement"]["node"] for task in tasks)
        assert set(placed) == {host.name for host in hosts}
        assert_sampler_saw(sampler, several_hosts, tasks)
        moments = assert_order_is_seniority(tasks)
        figures = history.check(
            system.settings(), several_hosts.witness, acknowledged=acknowledged, exit_codes={"mixed": 0}
        )
        waiting.until_blocking(lambda: several_hosts.runs(system) == [], "nothing of any run is left")
        assert {(task["user"]["id"], task["project"]) for task in tasks} == {
            (user, project) for project, users in PROJECTS.items() for user in users
        }
    record_property(
        FIGURES, f"{figures}; {seconds:.0f} s, {TASKS / seconds:.1f} tasks/s, {moments} moments of placement; {sampler}"
    )


def submit_all(ground: SeveralHosts, system: System) -> list[int]:
    """Let each user submit a part of the tasks, concurrently, and return the accepted ids."""
    with system.client(system.token()) as admin:
        for project, users in PROJECTS.items():
            answer = admin.post("/api/1.0/project", json={"id": project, "members": users})
            assert answer.status_code == 200, answer.text
    users = [(user, project) for project, members in PROJECTS.items() for user in members]
    keys = {user: asyncio.run(accounts.add(system.settings(), accounts.NewUser(user))) for user, _ in users}

    def submit(user: str, project: str, shapes: Sequence[tuple[int, tuple[float, float]]]) -> list[int]:
        with system.client(system.token(user, keys[user])) as http:
            client = Client(http)
            return [client.submit(mixed(ground, project, number, shape)) for number, shape in shapes]

    numbered = list(zip(range(TASKS), itertools.cycle(SHAPES), strict=False))
    with ThreadPoolExecutor(len(users)) as pool:
        sent = [
            pool.submit(submit, user, project, numbered[position :: len(users)])
            for position, (user, project) in enumerate(users)
        ]
        acknowledged = [task_id for ids in sent for task_id in ids.result()]
    assert len(set(acknowledged)) == TASKS
    return acknowledged


def mixed(ground: SeveralHosts, project: str, number: int, shape: tuple[float, float]) -> dict[str, object]:
    gate = f"until [ -e /mnt/witness/{GATE} ]; do sleep 0.5; done\n"
    script = gate + ground.witness.script(seconds=0.2 * (number % 4))
    cpus, memory = shape
    return {**ground.task("mixed", script, cpu=cpus, ram=memory), "user": {"project": project}}


@contextmanager
def stored_tasks(settings: Settings) -> Iterator[Tasks]:
    """Return the stored tasks."""
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(settings.mongo_url)
    try:
        yield client[settings.mongo_db]["tasks"]
    finally:
        client.close()


def wait_until_full(tasks: Tasks, nodes: Sequence[str]) -> None:
    """Wait until all capacity is used; while the gate is closed, no task ends."""
    waiting.until_blocking(
        lambda: (
            set(tasks.distinct("placement.node", {"status": "running"})) == set(nodes)
            and tasks.count_documents({"status": "starting"}) == 0
        ),
        "all that there is room for runs",
        timeout=PATIENCE,
    )


def all_over(tasks: Tasks, count: int) -> list[dict[str, Any]]:
    """Wait until all tasks are over and settled, and return them."""
    waiting.until_blocking(
        lambda: tasks.count_documents({"status": "over", "settled": True}) == count,
        "all tasks are over",
        timeout=OVER_TIMEOUT,
        interval=0.5,
    )
    return list(tasks.find())


def assert_sampler_saw(sampler: Sampler, ground: SeveralHosts, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Compare the witness with the records; the hosts were full enough to reveal overbooking."""
    for host in ground.cluster.hosts:
        seen = sampler.hosts[host.name]
        recorded = {f"god-{task['_id']}-1" for task in tasks if task["placement"]["node"] == host.name}
        assert {naming.short(name) for name in seen.containers} <= recorded
        assert seen.containers, f"no container was ever seen on {host.name}"
        assert max(seen.cpus / host.size.cpus, seen.memory / host.size.memory) >= 0.5, f"{host.name} was never full"


def assert_order_is_seniority(tasks: Sequence[Mapping[str, Any]]) -> int:
    """
    Among tasks with the same needs, none was placed before one that had waited longer. Returns at how many moments any
    were placed.
    """
    placed_at = {task["_id"]: first_placement(task) for task in tasks}
    shapes: dict[str, list[Mapping[str, Any]]] = {}
    for task in sorted(tasks, key=lambda task: (task["queued_at"], task["_id"])):
        shapes.setdefault(task["shape"], []).append(task)
    assert len(shapes) == len(SHAPES)
    for shape, members in shapes.items():
        for earlier, later in itertools.pairwise(task["_id"] for task in members):
            assert placed_at[earlier] <= placed_at[later], f"task {later} overtook {earlier}, both {shape}"
        # Or there was no order to be seen.
        assert len({placed_at[task["_id"]] for task in members}) > 3, shape
    return len(set(placed_at.values()))


def first_placement(task: Mapping[str, Any]) -> float:
    return next(float(entry["at"]) for entry in task["history"] if entry["status"] == "starting")
