"""Tests of the main job through HTTP: a task is submitted, runs as its user, and its result is returned."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import GID, UID, Place
from tests.acceptance.use.client import directory, output
from tests.support import waiting


def test_a_task_prints_and_its_output_exit_code_and_times_come_back(place: Place) -> None:
    before = time.time()
    task = place.client.run(place.ground.task("hello", "echo hello; echo oops >&2; exit 3"))
    status = task["status"]
    assert (status["primary"], status["secondary"], status["exitcode"]) == ("over", None, 3)
    assert task["container"]["meta"]["State"]["ExitCode"] == 3
    assert task["container"]["meta"]["Node"]["Name"]
    assert before - 1 <= status["date_running"] <= status["date_over"] <= time.time() + 1
    assert status["duration"] == pytest.approx(status["date_over"] - status["date_running"])
    assert output(task) == "hello\n"
    assert output(task, "god.err") == "oops\n"
    started, ended = (int(line) for line in output(task, "god.info").split())
    assert before - 1 <= started <= ended <= time.time() + 1
    assert output(task, "cmd.sh") == "echo hello; echo oops >&2; exit 3"


def test_it_runs_as_its_user_in_a_directory_that_others_cannot_read(place: Place) -> None:
    task = place.client.run(place.ground.task("who", "id -u; id -g; touch made"))
    assert output(task).split() == [str(UID), str(GID)]
    folder = directory(task)
    assert (folder.stat().st_uid, folder.stat().st_gid) == (UID, GID)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "made").stat().st_uid == UID


def test_scripts_find_the_variables_that_the_original_gave_them(place: Place) -> None:
    script = 'echo $GODOCKER_JID; pwd; echo "$GODOCKER_PWD"; echo "$GODOCKER_HOME"'
    task = place.client.run(place.ground.task("variables", script))
    number, where, directory_said, home = output(task).split()
    assert number == str(task["id"])
    assert where == directory_said == home
    if place.ground.executor == "docker":
        assert where == "/mnt/go-docker"


def test_uris_stand_in_a_file_one_per_line(place: Place) -> None:
    sent = place.ground.task("uris", "cat godocker-uris.txt", uris=["http://a/1", "file:///b c"])
    assert output(place.client.run(sent)) == "http://a/1\nfile:///b c\n"


def test_a_shebang_is_honoured(place: Place) -> None:
    task = place.client.run(place.ground.task("shebang", "#!/bin/cat\nas it stands\n"))
    assert output(task) == "#!/bin/cat\nas it stands\n"


def test_a_running_task_is_killed_when_its_owner_says_so(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("long", "sleep 600"))
    place.client.wait(task_id, "running")
    asked = place.client.kill(task_id)
    assert asked["status"]["secondary"] in ("kill requested", "killed")
    ended = place.client.wait(task_id)
    assert ended["status"]["secondary"] == "killed"
    assert ended["status"]["exitcode"] == 137
    assert place.client.kill(task_id)["status"] == ended["status"], "killing twice changes nothing"


def test_a_task_that_ignores_sigterm_is_gone_when_it_is_called_killed(place: Place) -> None:
    script = "trap '' TERM; echo $$ > pid; while :; do sleep 1; done"
    task_id = place.client.submit(place.ground.task("stubborn", script))
    task = place.client.wait(task_id, "running")
    waiting.until_blocking((directory(task) / "god.log").exists, "its command has begun")
    began = time.monotonic()
    assert place.client.kill(task_id)["status"]["secondary"] == "kill requested"
    assert time.monotonic() - began < 2, "the request does not wait for the end"
    assert place.client.wait(task_id)["status"]["secondary"] == "killed"


def test_a_task_that_finds_no_room_says_what_it_needs_and_what_there_is(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("large", "true", cpu=999))
    waiting.until_blocking(
        lambda: place.client.status(task_id)["secondary"] == "rejected by scheduler", "the scheduler looked at it"
    )
    status = place.client.status(task_id)
    assert status["primary"] == "pending"
    assert "999 cpu" in status["reason"]
    assert "16 cpu" in status["reason"]
    assert "date_running" not in status
    place.client.kill(task_id)
    ended = place.client.wait(task_id)["status"]
    assert (ended["secondary"], ended["exitcode"]) == ("killed", 137)


def test_a_task_that_is_held_back_runs_when_it_is_let_go(place: Place) -> None:
    task_id = place.client.submit({**place.ground.task("held", "true"), "status": {"primary": "created"}})
    assert place.client.status(task_id)["primary"] == "created"
    assert place.client.http.get(f"/api/1.0/task/{task_id}/pending").status_code == 200
    assert place.client.wait(task_id)["status"]["exitcode"] == 0


def test_what_is_used_and_what_was_used_is_told(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("using", "sleep 600", cpu=2, ram=0.5))
    place.client.wait(task_id, "running")
    usage = place.client.http.get("/api/1.0/usage").json()
    assert [node["cpu"] for node in usage] == [[2, 16]]
    assert usage[0]["mem"] == [2**29, 64 * 2**30]
    assert place.client.http.get("/api/1.0/task/status/running/count").json()["total"] == 1
    assert [task["id"] for task in place.client.http.get("/api/1.0/task/active").json()] == [task_id]
    place.client.kill(task_id)
    place.client.wait(task_id)
    assert place.client.http.get("/api/1.0/task/over").json()[0]["id"] == task_id
    assert place.client.http.get("/api/1.0/image").json()["busybox:latest"] > 0


def test_the_shared_directory_lets_nobody_list_others_tasks(place: Place) -> None:
    task = place.client.run(place.ground.task("closed", "true"))
    for parent in (directory(task).parent, directory(task).parents[1]):
        assert Path(parent).stat().st_mode & 0o066 == 0


def test_no_container_is_left_and_no_service_logged_an_error(place: Place) -> None:
    for service in ("api", "scheduler", "watcher", "files"):
        for line in place.system.log(service).splitlines():
            assert json.loads(line)["level"] not in ("error", "critical"), line
    waiting.until_blocking(lambda: place.ground.runs(place.system) == [], "no run is left")
