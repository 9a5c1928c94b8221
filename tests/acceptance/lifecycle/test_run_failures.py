"""
What single runs on three Docker hosts live through: removed by somebody else, deaf to SIGTERM, unkillable, out of memory. One
system for all of it; GODOCKER_LONG_TESTS tries each again and again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pymongo
import pytest

from shared.executors.docker import body
from tests.acceptance.on_hosts import hosts as several
from tests.acceptance.on_hosts.hosts import PATIENCE, ROUNDS, Hosts, at_once
from tests.cluster.cluster import Cluster
from tests.cluster.host import IMAGE, Host
from tests.conftest import FIGURES
from tests.support import freezer, naming, waiting

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(2400)]

#: Docker Engine 20.10 deadlocks in its network controller when it ends many more at once, with nobody there but `kill`.
MANY = 60
GRACE = 1.0
IGNORES_TERM = "trap '' TERM\nwhile :; do sleep 1; done"
KILLED = {"killed": 137}
AT_ONCE = 64  #: calls to one engine
STARTS = 8  #: at once: an engine does no more of them in a second
CLIENTS = 16  #: that ask for kills


@pytest.fixture(scope="module")
def module_hosts(module_cluster: Cluster) -> Iterator[Hosts]:
    # Larger than they are: what is tried here hangs on how many runs there are, not on what they use.
    nodes = [{**node, "cpus": 128, "memory": 64} for node in json.loads(module_cluster.nodes)]
    with several.running(
        module_cluster, {"GODOCKER_KILL_GRACE": str(GRACE), "GODOCKER_NODES": json.dumps(nodes)}
    ) as hosts:
        yield hosts


@pytest.fixture
def hosts(module_hosts: Hosts, cluster: Cluster, record_property: Callable[[str, object], None]) -> Hosts:
    return module_hosts.begin(record_property)


# --- removed by somebody else ---------------------------------------------------------------


def test_a_run_that_somebody_else_removes_ends_as_lost_or_as_it_had_ended(hosts: Hosts) -> None:
    for number in ROUNDS:
        while_it_runs(hosts)
        just_after_its_end(hosts, f"raced-{number}")
        before_anybody_saw_its_end(hosts, f"unseen-{number}")
        hosts.check()
    hosts.end()


def while_it_runs(hosts: Hosts) -> None:
    # `docker rm -f` kills and then removes: who looks in between sees the one and not yet the other.
    placed = hosts.on_every_host(lambda: hosts.submit(ends={"lost": 137, "exited": 137}, gate="never"))
    on_each(placed, lambda name, task: remove(hosts.cluster[name], task))
    with hosts.recovery():
        ends = hosts.over(*tasks_of(placed))
    assert {(status["exitcode"], status["failure"]["count"]) for status in ends} == {(137, 0)}
    reasons = ("removed by somebody else while it ran", "docker kill (SIGKILL)")
    assert all(any(reason in status["reason"] for reason in reasons) for status in ends), ends


def just_after_its_end(hosts: Hosts, gate: str) -> None:
    placed = hosts.on_every_host(lambda: hosts.submit(exit_code=12, gate=gate))
    hosts.ground.witness.open(gate)
    on_each(placed, lambda name, task: remove_when_dead(hosts.cluster[name], task))
    with hosts.recovery():
        assert {status["exitcode"] for status in hosts.over(*tasks_of(placed))} == {12}


def before_anybody_saw_its_end(hosts: Hosts, gate: str) -> None:
    placed = hosts.on_every_host(lambda: hosts.submit(exit_code=13, gate=gate))
    with hosts.system.hanging("watcher"):
        hosts.ground.witness.open(gate)
        on_each(placed, lambda name, task: remove_when_dead(hosts.cluster[name], task))
    with hosts.recovery():
        assert {status["exitcode"] for status in hosts.over(*tasks_of(placed))} == {13}


def tasks_of(placed: Mapping[str, Sequence[int]]) -> list[int]:
    return [task for tasks in placed.values() for task in tasks]


def on_each(placed: Mapping[str, Sequence[int]], act: Callable[[str, int], None]) -> None:
    at_once(
        *(lambda name=name, task=task: act(name, task) for name, tasks in placed.items() for task in tasks)  # type: ignore[misc]
    )


def remove(host: Host, task_id: int) -> None:
    """Run `docker rm -f` on the task's container, which may be gone already."""
    with host.engine.client() as client:
        filters = json.dumps({"label": [f"{body.TASK}={task_id}"]})
        for found in client.get("/containers/json", params={"all": "1", "filters": filters}).json():
            answer = client.delete(f"/containers/{found['Id']}", params={"force": "1"})
            assert answer.status_code in (204, 404, 409), answer.text


def remove_when_dead(host: Host, task_id: int) -> None:
    """Wait until the kernel reports the end, whether or not the engine knows of it."""
    name = f"god-{task_id}-1"
    waiting.until_blocking(
        lambda: name not in {naming.short(living.name) for living in host.living()},
        f"{name} has ended",
        timeout=PATIENCE,
    )
    remove(host, task_id)


# --- deaf to SIGTERM ------------------------------------------------------------------------


def test_many_that_ignore_sigterm_are_killed_together_as_fast_as_their_engines_kill(
    hosts: Hosts, record_property: Callable[[str, object], None]
) -> None:
    bare = bare_end(hosts.cluster.hosts, "kill")
    bare_stop = bare_end(hosts.cluster.hosts, f"stop?t={GRACE:g}")
    for _ in ROUNDS:
        tasks = [hosts.submit(ends=KILLED, command=IGNORES_TERM, cpu=0.25, ram=0.05) for _ in range(MANY)]
        waiting.until_blocking(lambda tasks=tasks: have_begun(hosts, tasks), "all run", timeout=10 * PATIENCE)
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            longest = max(pool.map(lambda task: seconds_of(lambda: hosts.client.kill(task)), tasks))
        asked = time.monotonic() - began
        other = hosts.submit(exit_code=14)
        with hosts.recovery():
            waiting.until_blocking(lambda other=other: are_dead(hosts, other), "none is alive", timeout=PATIENCE)
            dead = time.monotonic() - began
            waiting.until_blocking(lambda: not active(hosts), "all are over", timeout=PATIENCE)
        over = time.monotonic() - began
        record_property(
            FIGURES,
            f"{MANY} kills, grace {GRACE:g} s: asked for within {asked:.1f} s, the longest answer {longest:.2f} s; dead after "
            f"{dead:.1f} s, over after {over:.1f} s; by their engines' own kill {bare:.1f} s, stop {bare_stop:.1f} s",
        )
        hosts.check()
    hosts.end()


def have_begun(hosts: Hosts, tasks: Sequence[int]) -> bool:
    return {task for task, _, what in hosts.ground.witness.lines() if what == "start"} >= set(tasks)


def are_dead(hosts: Hosts, but: int) -> bool:
    alive = [naming.short(living.name) for host in hosts.cluster.hosts for living in host.living()]
    return set(alive) <= {f"god-{but}-1"}


def active(hosts: Hosts) -> list[Any]:
    answer = hosts.client.http.get("/api/1.0/task/active")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def seconds_of(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def bare_end(hosts: Sequence[Host], how: str) -> float:
    """Return the seconds from a concurrent `docker kill` or `stop` of containers to the end of the last process."""
    per_host = -(-MANY // len(hosts))
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(AT_ONCE * len(hosts)) as pool:
        engines = [stack.enter_context(httpx.Client(**calls_to(host))) for host in hosts]
        with ThreadPoolExecutor(STARTS) as starting:
            made = list(starting.map(start_bare, [engine for engine in engines for _ in range(per_host)]))
        began = time.monotonic()
        for answer in pool.map(lambda pair: pair[0].post(f"/containers/{pair[1]}/{how}"), made):
            assert answer.status_code == 204, answer.text
        waiting.until_blocking(lambda: not any(host.living() for host in hosts), "none is alive", timeout=PATIENCE)
        seconds = time.monotonic() - began
        list(pool.map(lambda pair: pair[0].delete(f"/containers/{pair[1]}"), made))
    return seconds


def calls_to(host: Host) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=AT_ONCE)
    transport = httpx.HTTPTransport(uds=str(host.engine.socket), limits=limits)
    return {"transport": transport, "base_url": "http://docker", "timeout": 10 * PATIENCE}


def start_bare(engine: httpx.Client) -> tuple[httpx.Client, str]:
    """Start a container unknown to GoDocker."""
    config = {
        "Image": IMAGE,
        "Cmd": ["/bin/sh", "-c", IGNORES_TERM],
        "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none"}},
    }
    made = engine.post("/containers/create", json=config)
    assert made.status_code == 201, made.text
    assert engine.post(f"/containers/{made.json()['Id']}/start").status_code == 204
    return engine, str(made.json()["Id"])


# --- unkillable -----------------------------------------------------------------------------


@pytest.mark.skipif(not freezer.is_there(), reason="no freezer of cgroup v1 here")
def test_a_frozen_run_is_told_of_until_it_can_be_killed_and_holds_up_no_other(hosts: Hosts) -> None:
    for _ in ROUNDS:
        placed = hosts.on_every_host(lambda: hosts.submit(ends=KILLED, gate="never"))
        name, (stuck, *_) = next(iter(placed.items()))
        others = [task for task in tasks_of(placed) if task != stuck]
        with freezer.frozen(processes_of(hosts.cluster[name], stuck)):
            hosts.client.kill(stuck)
            waiting.until_blocking(
                lambda stuck=stuck, name=name: (
                    f"node {name} cannot end it" in (hosts.client.status(stuck)["reason"] or "")
                ),
                "the task says that it cannot be ended",
                timeout=PATIENCE,
            )
            wait_until_flagged(hosts, {name: 1})
            for task in others:
                hosts.client.kill(task)
            assert {status["exitcode"] for status in hosts.over(*others)} == {137}
            gate = f"beside-{stuck}"
            beside = hosts.on_every_host(lambda gate=gate: hosts.submit(exit_code=15, gate=gate))
            hosts.ground.witness.open(gate)
            assert {status["exitcode"] for status in hosts.over(*tasks_of(beside))} == {15}
            status = hosts.client.status(stuck)
            assert (status["primary"], status["secondary"]) == ("running", "kill requested")
        with hosts.recovery():
            assert {status["exitcode"] for status in hosts.over(stuck)} == {137}
        wait_until_flagged(hosts, {})
        hosts.check()
    hosts.end()


def processes_of(host: Host, task_id: int) -> Sequence[int]:
    (pids,) = [living.pids for living in host.living() if naming.short(living.name) == f"god-{task_id}-1"]
    return pids


def wait_until_flagged(hosts: Hosts, expected: Mapping[str, int]) -> None:
    """Wait until exactly these nodes report their numbers of unkillable runs, and no node is unreachable."""
    settings = hosts.system.settings()
    with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as client:
        database = client[settings.mongo_db]

        def as_expected() -> bool:
            return {node["_id"]: node["stuck"] for node in database["nodes"].find({"stuck": {"$gt": 0}})} == expected

        waiting.until_blocking(as_expected, f"nodes are flagged as {expected}", timeout=PATIENCE)
        assert database["silences"].count_documents({}) == 0


# --- out of memory --------------------------------------------------------------------------


def test_a_run_that_memory_ends_says_so_and_one_that_lost_a_child_to_it_ends_well(hosts: Hosts) -> None:
    eats = "tail /dev/zero"
    outlives = f"{eats}; sleep 0.5"  # an engine forgets to tell of memory where the container ends with it
    for _ in ROUNDS:
        whole = hosts.on_every_host(
            lambda: hosts.submit(ends={"out_of_memory": 137}, command=f"exec {eats}", cpu=1, ram=0.032)
        )
        failing = hosts.on_every_host(
            lambda: hosts.submit(ends={"out_of_memory": 16}, exit_code=16, command=outlives, cpu=1, ram=0.032)
        )
        child = hosts.on_every_host(lambda: hosts.submit(exit_code=0, command=outlives, cpu=1, ram=0.032))
        innocent = hosts.on_every_host(lambda: hosts.submit(exit_code=17))
        with hosts.recovery():
            for placed, code, reason in (
                (whole, 137, "out of memory"),
                (failing, 16, "out of memory"),
                (child, 0, "a process of it was killed at its memory limit"),
                (innocent, 17, None),
            ):
                for status in hosts.over(*tasks_of(placed)):
                    assert status["exitcode"] == code, status
                    assert (reason or "") in (status["reason"] or ""), status
        hosts.check()
    hosts.end()
