"""Tests with plain `requests` scripts, as clients of GO-Docker are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.conftest import FAST, UID
from tests.support import samples, waiting
from tests.support.harness.system import System, running_system
from tests.support.servers.mailbox import Mailbox, silent_server

JSON = "application/json; charset=UTF-8"


@dataclass
class Script:
    """A client: the server's address and a token."""

    server: str
    token: str

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        # Clients take anything but 200 as a failure, and compare the type as a string.
        answer = requests.request(method, f"{self.server}/api/1.0/{path}", headers=headers, timeout=30, **options)
        assert answer.status_code == 200, answer.text
        return answer

    def json(self, method: str, path: str, **options: Any) -> Any:
        answer = self.call(method, path, **options)
        assert answer.headers["content-type"] == JSON
        return answer.json()

    def create(self, task: dict[str, Any]) -> int:
        # `godjob create` sends text that it made itself, with a header spelt its own way.
        answer = self.json("POST", "task", data=json.dumps(task), headers={"Content-type": "application/json"})
        assert answer["msg"] == "Task added"
        return int(answer["id"])

    def wait_over(self, task_id: int) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            task: dict[str, Any] = self.json("GET", f"task/{task_id}")
            status = task["status"]
            assert "date_over" in status
            if status["primary"] in ("created", "pending"):
                assert "date_running" not in status or status["date_running"] is not None
            if status["primary"] != "over":
                assert status["date_over"] is None
                return None
            return task

        return waiting.until_blocking(over, f"task {task_id} is over", timeout=40, interval=0.1)


def task(cmd: str, **changes: Any) -> dict[str, Any]:
    """Return a complete task document, as clients fill it in."""
    values = {"command.cmd": cmd, "requirements.cpu": 1, "requirements.ram": 0.1, "container.image": "busybox:latest"}
    return samples.submission(**{**values, "requirements.network": None, "container.network": False, **changes})


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(environment=FAST) as running:
        yield running


@pytest.fixture(scope="module")
def script(system: System) -> Script:
    key = system.add_user("alice", "--uid", str(UID), "--gid", str(UID))
    answer = requests.post(
        f"{system.base_url}/api/1.0/authenticate",
        data=json.dumps({"user": "alice", "apikey": key}),
        headers={"Content-type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    return Script(system.base_url, answer.json()["token"])


def test_a_script_creates_a_task_waits_for_it_and_reads_its_log_where_it_lies(script: Script) -> None:
    task_id = script.create(task("#!/bin/sh\necho out of $GODOCKER_JID\nexit 4"))
    over = script.wait_over(task_id)
    assert over["status"]["exitcode"] == over["container"]["meta"]["State"]["ExitCode"] == 4
    assert over["status"]["date_over"] >= over["status"]["date_running"] >= over["date"]
    assert over["container"]["meta"]["Node"]["Name"]
    assert ",".join(over["container"]["ports"]) == ""
    folders = [volume["path"] for volume in over["container"]["volumes"] if volume["name"] == "go-docker"]
    assert (Path(folders[0]) / "god.log").read_text() == f"out of {task_id}\n"
    assert script.json("GET", f"task/{task_id}/status")["status"]["primary"] == "over"


def test_fifty_commands_in_a_row_as_one_user_are_let_in(system: System) -> None:
    """Log in and send one request, as each command of the original's command line does."""
    key = system.add_user("carol")
    credentials = json.dumps({"user": "carol", "apikey": key})
    plain = {"Content-type": "application/json", "Accept": "application/json"}
    for command in range(50):
        answer = requests.post(f"{system.base_url}/api/1.0/authenticate", credentials, headers=plain, timeout=30)
        assert answer.status_code == 200, f"command {command}: {answer.text}"
        headers = {"Authorization": f"Bearer {answer.json()['token']}", **plain}
        answer = requests.get(f"{system.base_url}/api/1.0/task/active", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text


def test_a_script_tells_a_listing_from_a_file_by_the_content_type(script: Script) -> None:
    over = script.wait_over(script.create(task("echo hello; mkdir results; echo 1 > results/one")))
    listing = script.call("GET", f"task/{over['id']}/files/")
    assert listing.headers["content-type"] == JSON
    kinds = {entry["name"]: entry["type"] for entry in listing.json()}
    assert kinds["god.log"] == "file"
    assert kinds["results"] == "dir"
    log = script.call("GET", f"task/{over['id']}/files/god.log")
    assert log.headers["content-type"] == "application/octet-stream"
    assert log.text == "hello\n"
    assert script.call("GET", f"task/{over['id']}/files/results/one").text == "1\n"


@pytest.mark.parametrize("tasks", [[], None])
def test_no_dependencies_may_be_spelt_as_an_empty_list_or_null(script: Script, tasks: list[str] | None) -> None:
    task_id = script.create(task("true", **{"requirements.tasks": tasks}))
    assert script.json("GET", f"task/{task_id}")["requirements"]["tasks"] == []
    script.wait_over(task_id)  # what follows looks at the task that ended last


@pytest.mark.parametrize("body", ["", None])
@pytest.mark.parametrize("route", ["task/over/0/0", "task/over/0/1"])
def test_a_script_lists_what_is_over_with_an_empty_body_that_is_said_to_be_json(
    script: Script, route: str, body: str | None
) -> None:
    task_id = script.create(task("true"))
    script.wait_over(task_id)
    found = script.json("POST", route, data=body, headers={"Content-type": "application/json"})
    assert found[0]["id"] == task_id
    assert len(found) == 1 or route.endswith("/0")


def test_a_script_finds_its_tasks_by_their_tags(script: Script) -> None:
    task_id = script.create(task("sleep 60", **{"meta.tags": ["nightly", "été"]}))
    active = script.json("GET", "task/active")
    assert [found["id"] for found in active if "été" in found["meta"]["tags"]] == [task_id]
    assert script.json("DELETE", f"task/{task_id}")["status"]["secondary"] == "kill requested"
    over = script.wait_over(task_id)
    assert (over["status"]["secondary"], over["status"]["exitcode"]) == ("killed", 137)
    assert over["meta"]["tags"] == ["nightly", "été"]


def test_a_script_sends_a_task_back_as_it_read_it_to_run_it_again(script: Script) -> None:
    first = script.wait_over(script.create(task("echo again")))
    second = script.wait_over(script.create({**first, "status": {"primary": None, "secondary": None}}))
    assert second["id"] > first["id"]
    assert second["command"]["cmd"] == "echo again"


def test_a_script_sends_a_whole_user_back_with_one_field_changed(script: Script) -> None:
    me = script.json("GET", "user/alice")
    me["email"] = "alice@lab.test"
    me["admin"] = True
    script.json("PUT", "user/alice", data=json.dumps(me), headers={"Content-type": "application/json"})
    now = script.json("GET", "user/alice")
    assert (now["email"], now["admin"], now["uid"]) == ("alice@lab.test", False, UID)


def test_the_public_routes_answer_a_script_without_a_token(system: System) -> None:
    for path in ("ping", "config", "image", "usage", "task/status/pending/count", "task/status/running/count"):
        answer = requests.get(f"{system.base_url}/api/1.0/{path}", timeout=30)
        assert (answer.status_code, answer.headers["content-type"]) == (200, JSON), path


# --- mail, with the whole system around it ----------------------------------------------------------


def _mail(port: int) -> dict[str, str]:
    values = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_tls": "none", "mail_from": "godocker@lab.test"}
    return {f"GODOCKER_{name.upper()}": str(value) for name, value in values.items()}


def _script(system: System) -> Script:
    key = system.add_user("alice", "--uid", str(UID), "--gid", str(UID), "--email", "alice@lab.test")
    return Script(system.base_url, system.token("alice", key))


def test_a_task_that_asks_for_mail_gets_one_when_it_runs_and_one_when_it_is_over(mailbox: Mailbox) -> None:
    with running_system(environment={**FAST, **_mail(mailbox.port)}) as system:
        script = _script(system)
        over = script.wait_over(script.create(task("exit 2", **{"notify.email": True, "meta.name": "align"})))
        assert over["notify"] == {"email": True}
        waiting.until_blocking(lambda: len(mailbox.envelopes) >= 2, "both mails came")
        script.wait_over(script.create(task("true", **{"notify.email": False})))
    assert mailbox.subjects == [
        f"Task {over['id']} (align) ended with exit code 2",
        f"Task {over['id']} (align) is running",
    ]


def test_a_mail_server_that_hangs_delays_no_task() -> None:
    with silent_server() as port, running_system(environment={**FAST, **_mail(port)}) as system:
        script = _script(system)
        tasks = [script.create(task("true", **{"notify.email": True})) for _ in range(5)]
        lengths = [over["status"]["date_over"] - over["date"] for over in map(script.wait_over, tasks)]
        assert max(lengths) < 15
        assert system.stop() == 0
