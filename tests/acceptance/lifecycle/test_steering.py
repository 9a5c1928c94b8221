"""Tests of an owner's requests on a task: suspend, resume, reschedule, share, monitor, archive, delete."""

from __future__ import annotations

from typing import Any

import pymongo
import pytest
from jose import jwt

from tests.acceptance.conftest import Place
from tests.acceptance.use.client import directory
from tests.support import naming, waiting

COUNTING = "i=0; while [ $i -lt 6000 ]; do echo $i > count; i=$((i+1)); sleep 0.05; done"


def get(place: Place, path: str) -> dict[str, Any]:
    answer = place.client.http.get(f"/api/1.0/{path}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def begin_counting(place: Place, name: str) -> int:
    """A task whose progress is visible from outside."""
    task_id = place.client.submit(place.ground.task(name, COUNTING))
    place.client.wait(task_id, "running")
    waiting.until_blocking(lambda: count(place, task_id) > 2, "it counts")
    return task_id


def count(place: Place, task_id: int) -> int:
    try:
        return int((directory(place.client.task(task_id)) / "count").read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def secondary(place: Place, task_id: int) -> object:
    return place.client.status(task_id)["secondary"]


def test_a_suspended_task_stands_still_until_it_is_resumed(place: Place) -> None:
    task_id = begin_counting(place, "frozen")
    get(place, f"task/{task_id}/suspend")
    waiting.until_blocking(lambda: secondary(place, task_id) == "suspended", "it is suspended")
    stood_at = count(place, task_id)
    assert place.client.status(task_id)["primary"] == "running"
    for _ in range(5):
        assert count(place, task_id) == stood_at
    get(place, f"task/{task_id}/resume")
    waiting.until_blocking(lambda: secondary(place, task_id) == "resumed", "it is resumed")
    waiting.until_blocking(lambda: count(place, task_id) > stood_at, "it counts on")
    place.client.kill(task_id)
    place.client.wait(task_id)


def test_a_suspended_task_can_be_killed(place: Place) -> None:
    task_id = begin_counting(place, "frozen and killed")
    get(place, f"task/{task_id}/suspend")
    waiting.until_blocking(lambda: secondary(place, task_id) == "suspended", "it is suspended")
    place.client.kill(task_id)
    assert place.client.wait(task_id)["status"]["secondary"] == "killed"


def test_what_does_not_run_cannot_be_suspended_or_resumed(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("large", "true", cpu=999))
    get(place, f"task/{task_id}/suspend")
    status = place.client.status(task_id)
    assert status["secondary"] in ("suspend rejected", "rejected by scheduler")
    place.client.kill(task_id)
    ended = place.client.wait(task_id)["status"]
    answer = place.client.http.get(f"/api/1.0/task/{task_id}/resume")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert place.client.status(task_id) == ended


def test_a_rescheduled_task_runs_from_the_start_again_as_its_next_attempt(place: Place) -> None:
    script = 'echo "$GODOCKER_RUN" >> runs; [ $(wc -l < runs) -gt 1 ] || sleep 600'
    task_id = place.client.submit(place.ground.task("again", script))
    running = place.client.wait(task_id, "running")
    waiting.until_blocking((directory(running) / "runs").exists, "its first attempt has begun")
    get(place, f"task/{task_id}/reschedule")
    ended = place.client.wait(task_id)
    assert (ended["status"]["exitcode"], ended["status"]["secondary"]) == (0, None)
    runs = (directory(ended) / "runs").read_text().split()
    assert [naming.short(run) for run in runs] == [f"god-{task_id}-1", f"god-{task_id}-2"]
    waiting.until_blocking(lambda: usage_rows(place, task_id) == [1, 2], "both attempts are counted, each once")


def usage_rows(place: Place, task_id: int) -> list[int]:
    settings = place.system.settings()
    client: pymongo.MongoClient[dict[str, int]] = pymongo.MongoClient(settings.mongo_url)
    try:
        rows = client[settings.mongo_db]["usage"].find({"task": task_id})
        return sorted(row["attempt"] for row in rows)
    finally:
        client.close()


def test_what_a_running_task_uses_can_be_watched(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("busy", "while :; do :; done"))
    place.client.wait(task_id, "running")

    def samples() -> list[dict[str, float]]:
        answer = place.client.http.get(f"/api/1.0/task/{task_id}/monitor")
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    # Of a processor that it shares with whatever else runs here; one that waits uses none.
    waiting.until_blocking(
        lambda: len(samples()) >= 2 and any(one["cpu_percent"] > 2 for one in samples()),
        "two samples are there, and one says that it works",
        timeout=60,
    )
    first, last = samples()[0], samples()[-1]
    assert first["timestamp"] < last["timestamp"]
    assert last["memory"] > 0
    assert last["pids"] >= 1
    place.client.kill(task_id)
    place.client.wait(task_id)


def test_a_share_token_shows_the_task_to_anybody_until_it_is_taken_back(place: Place) -> None:
    task = place.client.run(place.ground.task("shared", "true"))
    path = f"/api/1.0/task/{task['id']}"
    token = get(place, f"task/{task['id']}/share")["token"]
    with place.system.client() as anybody:
        assert anybody.get(path).status_code == 401
        assert anybody.get(path, params={"share": str(token)}).json()["id"] == task["id"]
        assert anybody.get(path, headers={"X-GODOCKER-SHARE": str(token)}).status_code == 200
        assert anybody.delete(path, params={"share": str(token)}).status_code == 401
        get(place, f"task/{task['id']}/unshare")
        assert anybody.get(path, params={"share": str(token)}).status_code == 404


def test_a_task_as_a_token_can_be_read_with_the_shared_secret(place: Place) -> None:
    task = place.client.run(place.ground.task("token", "true"))
    token = str(get(place, f"task/{task['id']}/token")["token"])
    secret = place.system.settings().shared_secret_passphrase.get_secret_value()
    claims = jwt.decode(token, secret, algorithms=["HS256"], audience="task")
    assert claims["task"]["id"] == task["id"]
    with place.system.client(token) as impostor:
        assert impostor.get("/api/1.0/task/active").status_code == 401


def test_an_archived_task_keeps_its_record_and_loses_its_files(place: Place) -> None:
    task = place.client.run(place.ground.task("archived", "ln -s /etc kept; mkdir -p a/b; echo x > a/b/c"))
    folder = directory(task)
    archived = get(place, f"task/{task['id']}/archive")
    assert dict(archived)["status"]["primary"] == "archived"
    waiting.until_blocking(lambda: not folder.exists(), "its files are gone")
    assert place.client.status(task["id"])["exitcode"] == 0
    assert place.client.http.delete(f"/api/1.0/task/{task['id']}/archive").status_code == 200
    assert place.client.http.get(f"/api/1.0/task/{task['id']}").status_code == 404


def test_a_task_that_is_not_over_is_neither_archived_nor_deleted(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("active", "sleep 600"))
    for method in ("GET", "DELETE"):
        assert place.client.http.request(method, f"/api/1.0/task/{task_id}/archive").status_code == 409
    place.client.kill(task_id)
    place.client.wait(task_id)


def test_old_tasks_are_deleted_by_their_tag(place: Place) -> None:
    sent = place.ground.task("tagged", "true")
    ids = [
        place.client.run({**sent, "meta": {"name": "tagged", "tags": [tag]}})["id"] for tag in ("old", "old", "kept")
    ]
    answer = place.client.http.delete("/api/1.0/archive/0", params={"tag": "old"})
    assert answer.json() == ids[:2]
    over = [task["id"] for task in place.client.http.get("/api/1.0/task/over").json()]
    assert ids[2] in over
    assert not set(ids[:2]) & set(over)


def test_pages_and_streams_of_what_is_over_agree(place: Place) -> None:
    for name in ("zeta", "alpha"):
        place.client.run(place.ground.task(name, "true"))
    query = {"draw": "7", "start": "0", "limit": "1", "orderBy": "name", "regex": "alph"}
    (page,) = place.client.http.get("/api/1.0/task/over", params=query).json()
    assert (page["draw"], page["recordsFiltered"]) == (7, 1)
    assert [task["meta"]["name"] for task in page["data"]] == ["alpha"]
    headers = {"Content-type": "application/json"}
    everything = place.client.http.post("/api/1.0/task/over/0/0", headers=headers)
    assert everything.headers["content-type"] == "application/json; charset=UTF-8"
    assert len(everything.json()) == page["recordsTotal"]
    assert place.client.http.get("/api/1.0/task/over/all").status_code == 403


@pytest.mark.parametrize("text", ["(a+)+$", "[", "\\", ".*"])
def test_an_expression_is_looked_for_as_it_stands(place: Place, text: str) -> None:
    answer = place.client.http.get("/api/1.0/task/over", params={"draw": "1", "regex": text})
    assert answer.status_code == 200
    assert answer.json()[0]["recordsFiltered"] == 0
