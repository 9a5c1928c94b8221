"""Tests of administration at run time: projects, tokens, maintenance, users."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.use.client import Client, directory
from tests.support import waiting
from tests.support.harness.system import System, running_system

pytestmark = [pytest.mark.stores, pytest.mark.timeout(300)]  # each command is a process of its own

FAST = {
    "GODOCKER_LEASE_SECONDS": "2",
    "GODOCKER_KILL_GRACE": "2",
    "GODOCKER_POLL_SECONDS": "0.5",
    "GODOCKER_MONGO_TIMEOUT": "3",
}
SLEEP = {
    "meta": {"name": "sleeps"},
    "requirements": {"cpu": 0.1, "ram": 0.1},
    "container": {"image": "busybox:latest"},
    "command": {"cmd": "echo here; exec sleep 300"},
}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    size = {
        "GODOCKER_PROCESS_CPUS": "4",
        "GODOCKER_PROCESS_MEMORY": "8",
        "GODOCKER_RECONCILE_SECONDS": "1",
        "GODOCKER_MONGO_TIMEOUT": "2",
    }
    with running_system(environment={**FAST, **size}, executor="process") as system:
        yield system


@pytest.fixture(scope="module")
def admin(system: System) -> Iterator[httpx.Client]:
    with system.client(system.token()) as client:
        yield client


def said(system: System, *arguments: str) -> str:
    answer = system.run(*arguments)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def refused(system: System, *arguments: str) -> str:
    answer = system.run(*arguments)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    return answer.stderr


def test_projects_are_made_and_changed_by_command(system: System, admin: httpx.Client) -> None:
    assert "there is no user olga, mia" in refused(
        system, "project", "add", "lab", "--owner", "olga", "--member", "mia"
    )
    for login in ("olga", "mia", "max"):
        system.add_user(login)
    said(system, "project", "add", "lab", "--owner", "olga", "--member", "mia", "--prio", "60", "--quota-cpu", "10")
    project = admin.get("/api/1.0/project/lab").json()
    assert (project["owner"], project["members"], project["prio"], project["quota_cpu"]) == ("olga", ["mia"], 60, 10)
    assert json.loads(said(system, "project", "members", "lab", "--add", "max", "--remove", "mia", "--json")) == ["max"]
    assert "max" in said(system, "project", "members", "lab")
    refused(system, "project", "members", "lab", "--add", "nobody")
    assert [one["id"] for one in json.loads(said(system, "project", "list", "--json"))] == ["lab"]
    assert "lab" in said(system, "project", "list")
    for arguments in (
        ("add", "lab"),
        ("add", "default"),
        ("add", "../x"),
        ("add", "y", "--owner", "A B"),
        ("delete", "z"),
    ):
        refused(system, "project", *arguments)
    said(system, "project", "delete", "lab")
    assert admin.get("/api/1.0/project/lab").status_code == 404


def test_application_tokens_are_made_and_deleted_by_command(system: System) -> None:
    system.add_user("tina")
    made = json.loads(said(system, "token", "add", "tina", "notebook"))
    (listed,) = json.loads(said(system, "token", "list", "tina", "--json"))
    assert (listed["id"], listed["name"]) == (made["id"], "notebook")
    assert made["token"] not in str(listed)
    assert "notebook" in said(system, "token", "list", "tina")
    refused(system, "token", "add", "nobody", "x")
    said(system, "token", "delete", "tina", made["id"])
    refused(system, "token", "delete", "tina", made["id"])


def test_a_guest_made_by_command_is_let_in_later(system: System) -> None:
    key = system.add_user("gast", "--guest")
    credentials = {"user": "gast", "apikey": key}
    with system.client() as nobody:
        assert nobody.post("/api/1.0/authenticate", json=credentials).status_code == 401
        said(system, "user", "activate", "gast")
        assert nobody.post("/api/1.0/authenticate", json=credentials).status_code == 200
        said(system, "user", "activate", "gast", "--off")
        assert nobody.post("/api/1.0/authenticate", json=credentials).status_code == 401
    refused(system, "user", "activate", "nobody")


def test_a_key_made_by_command_voids_the_old_one(system: System) -> None:
    old = system.add_user("kim")
    new = json.loads(said(system, "user", "key", "kim"))["apikey"]
    assert system.token("kim", new)
    with system.client() as nobody:
        assert nobody.post("/api/1.0/authenticate", json={"user": "kim", "apikey": old}).status_code == 401
    refused(system, "user", "key", "nobody")


def test_in_maintenance_nothing_new_runs_and_what_ran_goes_on(system: System) -> None:
    key = system.add_user("mara", "--uid", "23461", "--gid", "23461")
    with system.client(system.token("mara", key)) as http:
        client = Client(http)
        first = client.submit(SLEEP)
        client.wait(first, "running")
        said(system, "maintenance", "on", "localhost")
        assert json.loads(said(system, "maintenance", "list", "--json")) == ["localhost"]
        second = client.submit(SLEEP)
        waiting.until_blocking(
            lambda: "in maintenance" in (client.status(second)["reason"] or ""), "the second task says why it waits"
        )
        said(system, "maintenance", "on")
        answer = http.post("/api/1.0/task", json=SLEEP)
        assert (answer.status_code, answer.json()["code"]) == (503, "in_maintenance")
        said(system, "maintenance", "off")
        assert client.status(first)["primary"] == "running"
        assert client.status(second)["primary"] == "pending"
        said(system, "maintenance", "off", "localhost")
        client.wait(second, "running")
        assert sorted(http.delete("/api/1.0/user/mara/task").json()) == [first, second]
        assert client.wait(first)["status"]["secondary"] == "killed"
        client.wait(second)
    refused(system, "maintenance", "on", "no-such-node")


def test_a_user_is_deleted_with_all_that_runs_and_all_that_is_left(system: System, admin: httpx.Client) -> None:
    """Kill the watcher during a user deletion: its successor completes it."""
    key = system.add_user("dora", "--uid", "23462", "--gid", "23462")
    with system.client(system.token("dora", key)) as http:
        client = Client(http)
        over = client.run({**SLEEP, "command": {"cmd": "mkdir -p a/b/c; ln -s /etc a/etc; echo x > a/b/c/x"}})
        running = client.wait(client.submit(SLEEP), "running")
        folders = [directory(over), directory(running)]
        assert all(folder.is_dir() for folder in folders)
        assert admin.delete("/api/1.0/user/dora").status_code == 200
        assert http.get("/api/1.0/task/active").status_code == 401
    system.kill("watcher")
    waiting.until_blocking(lambda: admin.get("/api/1.0/user/dora").status_code == 404, "dora is gone", timeout=60)
    assert not any(folder.exists() for folder in folders)
    for task in (over, running):
        assert admin.get(f"/api/1.0/task/{task['id']}").status_code == 404
    assert system.add_user("dora")


def test_a_user_is_deleted_by_command(system: System, admin: httpx.Client) -> None:
    system.add_user("vera")
    assert system.run("user", "delete", "vera").returncode == 1  # nobody there to ask
    said(system, "user", "delete", "vera", "--yes")
    waiting.until_blocking(lambda: admin.get("/api/1.0/user/vera").status_code == 404, "vera is gone", timeout=60)
    refused(system, "user", "delete", "vera", "--yes")
