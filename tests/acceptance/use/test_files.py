"""Tests of files through the gateway: results of tasks, and personal storage."""

from __future__ import annotations

import http.client
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.conftest import DOCKER_IS_LONG, Place
from tests.acceptance.use.client import Client, directory, output
from tests.support import waiting

pytestmark = pytest.mark.parametrize("module_ground", DOCKER_IS_LONG, indirect=True, scope="module")

LIST = "application/json; charset=UTF-8"


@dataclass
class Ended:
    """A task that is over, with its files."""

    place: Place
    task: dict[str, Any]

    def url(self, path: str = "") -> str:
        return f"/api/1.0/task/{self.task['id']}/files/{path}"

    def get(self, path: str = "", **options: Any) -> httpx.Response:
        return self.place.client.http.get(self.url(path), **options)


@pytest.fixture(scope="module")
def ended(place: Place) -> Ended:
    script = (
        "echo out; echo bad >&2; mkdir -p results; echo 42 > results/answer.txt; ln -s /etc/passwd leak; mkfifo pipe"
    )
    return Ended(place, place.client.run(place.ground.task("writes", script)))


@pytest.fixture(scope="module")
def stranger(place: Place) -> Iterator[Client]:
    key = place.system.add_user("mallory")
    with place.system.client(place.system.token("mallory", key)) as http:
        yield Client(http)


def test_what_a_task_left_is_listed_and_downloaded(ended: Ended) -> None:
    answer = ended.get()
    assert (answer.status_code, answer.headers["content-type"]) == (200, LIST)
    listed = {entry["name"]: entry for entry in answer.json()}
    assert list(listed) == sorted(listed)
    assert {"cmd.sh", "god.log", "god.err", "god.info", "results"} <= set(listed)
    assert not {"leak", "pipe"} & set(listed)
    assert listed["results"]["type"] == "dir"
    assert listed["god.log"] == {"name": "god.log", "type": "file", "size": 4}
    assert ended.get("results").json() == [{"name": "answer.txt", "type": "file", "size": 3}]
    answer = ended.get("results/answer.txt")
    assert (answer.content, answer.headers["content-type"]) == (b"42\n", "application/octet-stream")
    assert answer.headers["content-disposition"].startswith('attachment; filename="answer.txt"')
    assert answer.headers["content-length"] == "3"
    assert ended.get("god.log").content == (directory(ended.task) / "god.log").read_bytes() == b"out\n"
    assert ended.place.client.http.get(ended.url().removesuffix("/")).json() == ended.get().json()


def test_parts_and_known_files_go_through_the_gateway(ended: Ended) -> None:
    answer = ended.get("god.log", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, b"ut", "bytes 1-2/4")
    etag = ended.get("god.log").headers["etag"]
    answer = ended.get("god.log", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert ended.get("god.log", headers={"Range": "bytes=9-"}).status_code == 416
    head = ended.place.client.http.head(ended.url("god.log"))
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "4", b"")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "leak",
            "pipe",
            "nothing",
            "../../../secrets.json",
            "%2e%2e/%2e%2e/1",
            "..%2f..%2f..%2fetc/passwd",
            "/etc/passwd",
        ),
        *(
            "%2fetc/passwd",
            "..%5c..%5c",
            "%252e%252e/x",
            "god.log%00",
            "%c0%ae%c0%ae/x",
            "god.log/",
            "./god.log",
            "a/" * 10_000,
        ),
    ],
)
def test_nothing_else_is_served_however_it_is_spelt(ended: Ended, path: str) -> None:
    # A plain connection: clients put paths in order before they send them.
    where = urlsplit(ended.place.system.base_url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        authorization = ended.place.client.http.headers["Authorization"]
        connection.request("GET", ended.url(path), headers={"Authorization": authorization})
        answer = connection.getresponse()
        assert answer.status in (400, 404)
        assert answer.getheader("Content-Type") == "application/problem+json"
        assert json.loads(answer.read())["status"] == answer.status
    finally:
        connection.close()


def test_any_name_comes_through_the_gateway(ended: Ended) -> None:
    for name, spelt in (
        (b"a\nb", "a%0Ab"),
        (b"\xff", "%FF"),
        (b'q"', "q%22"),
        (b"50%", "50%25"),
        ("é".encode(), "%C3%A9"),
    ):
        with open(os.path.join(os.fsencode(directory(ended.task)), name), "wb") as file:
            file.write(name)
        answer = ended.get(spelt)
        assert (answer.status_code, answer.content) == (200, name)


def test_others_do_not_see_them_and_an_admin_does(ended: Ended, stranger: Client) -> None:
    answer = stranger.http.get(ended.url("god.log"))
    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")
    with ended.place.system.client() as nobody:
        assert nobody.get(ended.url("god.log")).status_code == 401
    with ended.place.system.client(ended.place.system.token()) as admin:
        assert admin.get(ended.url("god.log")).content == b"out\n"


def test_whoever_holds_a_share_token_sees_them_in_three_ways_until_it_is_taken_back(ended: Ended) -> None:
    number, mine = ended.task["id"], ended.place.client.http
    token = mine.get(f"/api/1.0/task/{number}/share").json()["token"]
    by_path = f"/api/1.0/task/{number}/share/{token}/files/"
    with ended.place.system.client() as nobody:
        for answer in (
            nobody.get(by_path + "god.log"),
            nobody.get(ended.url("god.log"), headers={"X-GODOCKER-SHARE": token}),
            nobody.get(ended.url("god.log"), params={"share": token}),
        ):
            assert (answer.status_code, answer.content) == (200, b"out\n")
        assert nobody.get(by_path).json() == nobody.get(by_path.removesuffix("/")).json() == ended.get().json()
        assert nobody.get(by_path + "leak").status_code == 404
        assert nobody.get(f"/api/1.0/task/{number + 1}/share/{token}/files/god.log").status_code == 404
        assert nobody.get(f"/api/1.0/task/{number}/share/{token}x/files/god.log").status_code == 404
        mine.get(f"/api/1.0/task/{number}/unshare")
        assert nobody.get(by_path + "god.log").status_code == 404


def test_what_a_user_keeps_is_seen_by_their_tasks(place: Place) -> None:
    mine = place.client.http
    task = place.client.run(place.ground.task("before", 'echo "${GODOCKER_DATA-unset}"'))
    if not mine.get("/api/1.0/user/alice/files/").json():
        assert output(task) == "unset\n"
    answer = mine.put("/api/1.0/user/alice/files/kept/file.txt", content=b"kept\n")
    assert (answer.status_code, answer.json()["msg"]) == (200, "File stored")
    assert answer.headers["content-type"] == LIST
    assert mine.get("/api/1.0/user/alice/files/kept").json() == [{"name": "file.txt", "type": "file", "size": 5}]
    assert mine.get("/api/1.0/user/alice/files/kept/file.txt").content == b"kept\n"
    script = 'cat "$GODOCKER_DATA/kept/file.txt"; echo x > "$GODOCKER_DATA/new" || true; echo "$GODOCKER_DATA"'
    content, where = output(place.client.run(place.ground.task("reads", script))).splitlines()
    assert content == "kept"
    if place.ground.executor == "docker":
        assert where == "/mnt/god-data"
        assert [entry["name"] for entry in mine.get("/api/1.0/user/alice/files").json()] == ["kept"], "it is read only"
    assert mine.delete("/api/1.0/user/alice/files/kept").json() == {"msg": "File removed"}
    assert mine.get("/api/1.0/user/alice/files/kept").status_code == 404


def test_the_storage_of_others_is_closed(place: Place, stranger: Client) -> None:
    place.client.http.put("/api/1.0/user/alice/files/mine", content=b"x")
    for method, path in (("GET", ""), ("GET", "mine"), ("HEAD", "mine"), ("PUT", "mine"), ("DELETE", "mine")):
        answer = stranger.http.request(method, f"/api/1.0/user/alice/files/{path}")
        assert answer.status_code == 403
    with place.system.client(place.system.token()) as admin:
        assert admin.get("/api/1.0/user/alice/files/mine").content == b"x"
        assert admin.get("/api/1.0/user/nobody-of-that-name/files/").status_code == 404
    with place.system.client() as nobody:
        assert nobody.get("/api/1.0/user/alice/files/mine").status_code == 401
        assert nobody.put("/api/1.0/user/alice/files/mine", content=b"y").status_code == 401


def test_what_is_stored_is_open_to_nobody_else_on_the_hosts(place: Place) -> None:
    place.client.http.put("/api/1.0/user/alice/files/folder/mine", content=b"x")
    folder = place.system.settings().shared_dir / "users" / "alice"
    # What a task writes there has the mode that it gives it, and nobody else gets past the first of these.
    for path in (folder, folder / "folder", folder / "folder" / "mine"):
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID | 0o077)


def test_files_are_there_again_when_their_service_was_killed(ended: Ended) -> None:
    before = ended.place.system.kill("files")

    def is_back() -> bool:
        answer = ended.get("god.log")
        assert answer.status_code in (200, 503)
        return answer.status_code == 200 and ended.place.system.pid("files") != before

    waiting.until_blocking(is_back, "another process hands out the files")
