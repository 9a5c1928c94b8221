"""The output of a task, read and followed while it is written: to the byte, through breaks, kills and attempts."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx_sse
import pytest

from godocker_client import AttemptEvent, Client, EndEvent, LogEvent
from tests.acceptance.conftest import DOCKER_IS_LONG, Place
from tests.support import waiting

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("module_ground", DOCKER_IS_LONG, indirect=True, scope="module"),
]

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
MEGABYTES, CLIENTS, BREAKS = (50, 10, 100) if LONG else (4, 4, 25)

#: Writes lines of changing length with characters of several bytes, and some bytes that are no text.
WRITES = r"""
i=0
while [ $i -lt {rounds} ]; do
  head -c 3000 {noise} ; printf 'line %d \303\251\342\202\254\n' $i
  i=$((i+1))
done
printf 'end\377' ; printf 'error \303\251\n' >&2
"""


@pytest.fixture
def followed(place: Place) -> Iterator[Client]:
    with Client(place.system.base_url, token=place.system.token(), patience=60) as client:
        yield client


def submit(place: Place, cmd: str, **words: object) -> int:
    return place.client.submit(place.ground.task("writes", cmd, **words))


def path(task_id: int) -> str:
    return f"/api/1.0/task/{task_id}/log"


def read(place: Place, task_id: int, **params: Any) -> httpx.Response:
    return place.client.http.get(path(task_id), params=params)


def test_the_output_is_read_from_any_byte_and_from_the_last_lines(place: Place) -> None:
    task_id = place.client.run(place.ground.task("w", "seq 1 2000; echo bad >&2"))["id"]
    whole = b"".join(b"%d\n" % number for number in range(1, 2001))
    answer = read(place, task_id)
    assert answer.content == whole
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert (answer.headers["x-godocker-offset"], answer.headers["x-godocker-size"]) == ("0", str(len(whole)))
    assert read(place, task_id, offset=100).content == whole[100:]
    assert read(place, task_id, offset=len(whole)).content == b""
    assert read(place, task_id, tail=2).content == b"1999\n2000\n"
    assert read(place, task_id, tail=0).content == b""
    assert read(place, task_id, tail=5000).content == whole
    assert read(place, task_id, stream="err").content == b"bad\n"
    too_far = read(place, task_id, offset=len(whole) + 1)
    assert (too_far.status_code, too_far.json()["code"]) == (416, "range_not_satisfiable")


@pytest.mark.parametrize(
    ("params", "field"),
    [({"offset": -1}, "offset"), ({"tail": -1}, "tail"), ({"stream": "both"}, "stream"), ({"attempt": 0}, "attempt")],
)
def test_a_wrong_parameter_is_named(place: Place, params: dict[str, Any], field: str) -> None:
    task_id = place.client.run(place.ground.task("w", "true"))["id"]
    answer = read(place, task_id, **params)
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [f"query.{field}"]


def test_a_follower_gets_every_byte_once_however_often_it_breaks_off_and_services_die(place: Place) -> None:
    rounds = MEGABYTES * 1024 * 1024 // 3000
    noise = place.system.data_dir / "noise"
    noise.write_bytes(bytes(random.Random(1).choices(b"abc \n\xc3\xa9\xff", k=3000)))
    noise.chmod(0o644)
    inside = "/mnt/go-docker" if place.ground.executor == "docker" else None
    cmd = WRITES.format(rounds=rounds, noise=noise if inside is None else "/bin/busybox")
    task_id = submit(place, cmd)
    results: list[bytes | BaseException] = []

    def follow(seed: int) -> None:
        try:
            results.append(_with_breaks(place, task_id, random.Random(seed)))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=follow, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for service in ("api", "files", "api"):
        before = place.system.kill(service)
        waiting.until_blocking(lambda b=before, s=service: _is_another(place, s, b), f"{service} is back", timeout=60)
    for thread in threads:
        thread.join()
    place.client.wait(task_id, timeout=600)
    written = _patiently(lambda: read(place, task_id)).content
    assert len(written) > 3000 * rounds
    assert [result == written for result in results] == [True] * CLIENTS, results


def _is_another(place: Place, service: str, before: int) -> bool:
    try:
        return place.system.pid(service) != before and httpx.get(f"{place.system.base_url}/health").status_code == 200
    except (OSError, ValueError, httpx.TransportError):
        return False


def _with_breaks(place: Place, task_id: int, chance: random.Random) -> bytes:
    """All that is written to standard output, by a follower that breaks off at random `BREAKS` times."""
    content, last_id, breaks = b"", None, 0
    headers = {"Accept": "text/event-stream", "Authorization": place.client.http.headers["Authorization"]}
    while True:
        left = chance.randrange(1, 40) if breaks < BREAKS else -1
        breaks += 1
        resumed = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with (
                httpx.Client(base_url=place.system.base_url, timeout=60, trust_env=False) as http,
                httpx_sse.connect_sse(
                    http, "GET", path(task_id), params={"stream": "out"}, headers=headers | resumed
                ) as source,
            ):
                if source.response.status_code != 200:
                    continue
                for event in source.iter_sse():
                    if event.event == "log":
                        data = event.json()
                        assert data["offset"] == len(content)
                        content += data["text"].encode("utf-8", "surrogateescape")
                    last_id = event.id or last_id
                    if event.event == "end":
                        return content
                    left -= 1
                    if not left:
                        break
        except httpx.TransportError:
            continue


def _patiently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, where a service may just have been killed."""

    def answered() -> httpx.Response | None:
        try:
            answer = ask()
        except httpx.TransportError:
            return None
        return answer if answer.status_code == 200 else None

    found = waiting.until_blocking(answered, "the service answers", timeout=60)
    assert found is not None
    return found


def test_both_streams_are_followed_and_a_character_that_is_cut_is_whole(place: Place, followed: Client) -> None:
    task_id = submit(place, "printf 'caf\\303'; sleep 1; printf '\\251\\n'; echo bad >&2; printf '\\377'; exit 3")
    events = list(followed.follow(task_id))
    assert isinstance(events[0], AttemptEvent)
    assert events[0].attempt == 1
    out = [event for event in events if isinstance(event, LogEvent) and event.stream == "out"]
    assert "".join(event.text for event in out).startswith("café\n")
    assert all("\udcc3" not in event.text for event in out)
    assert b"".join(event.content for event in out) == "café\n".encode() + b"\xff"
    assert [event.text for event in events if isinstance(event, LogEvent) and event.stream == "err"] == ["bad\n"]
    assert events[-1] == EndEvent("over", 3, "exited", None)


def test_a_follower_waits_while_the_task_waits_and_goes_with_it_through_its_attempts(
    place: Place, followed: Client
) -> None:
    gate = submit(place, "sleep 2")
    task_id = submit(place, "echo attempt; sleep 60", tasks=[gate])
    seen: list[Any] = []

    def follow() -> None:
        for event in followed.follow(task_id):
            seen.append(event)

    thread = threading.Thread(target=follow)
    thread.start()
    place.client.wait(task_id, "running", timeout=60)
    waiting.until_blocking(
        lambda: any(isinstance(event, LogEvent) for event in seen), "the follower sees the first attempt", timeout=60
    )
    place.client.http.get(f"/api/1.0/task/{task_id}/reschedule")
    waiting.until_blocking(
        lambda: read(place, task_id, attempt=2).content == b"attempt\n", "the second attempt writes", timeout=60
    )
    place.client.kill(task_id)
    thread.join(60)
    assert not thread.is_alive()
    assert [event.attempt for event in seen if isinstance(event, AttemptEvent)] == [1, 2]
    assert [event.offset for event in seen if isinstance(event, LogEvent) and event.stream == "out"] == [0, 0]
    end = seen[-1]
    assert isinstance(end, EndEvent)
    assert (end.status, end.ending, end.exit_code) == ("over", "killed", 137)
    assert read(place, task_id, attempt=1).content == b"attempt\n"
    assert read(place, task_id, attempt=3).status_code == 404
    first, second = place.client.http.get(f"/api/1.0/task/{task_id}/attempts").json()
    assert (first["attempt"], first["exit_code"], first["ending"], first["reason"]) == (1, None, None, "rescheduled")
    assert (second["attempt"], second["exit_code"], second["ending"]) == (2, 137, "killed")
    assert first["placed_at"] <= first["started_at"] <= first["ended_at"] <= second["queued_at"] <= second["placed_at"]
    assert place.client.http.get(first["log"]["out"]).content == b"attempt\n"


def test_a_task_that_is_deleted_under_its_follower_ends_the_stream(place: Place, followed: Client) -> None:
    task_id = submit(place, "sleep 60", tasks=[submit(place, "sleep 60")])
    begun = threading.Event()
    seen: list[Any] = []

    def follow() -> None:
        begun.set()
        seen.extend(followed.follow(task_id))

    thread = threading.Thread(target=follow)
    thread.start()
    begun.wait()
    place.client.kill(task_id)
    thread.join(60)
    assert [type(event) for event in seen] == [EndEvent]
    assert place.client.http.delete(f"/api/1.0/task/{task_id}/archive").status_code == 200
    assert read(place, task_id).status_code == 404


def test_nobody_reads_the_output_of_somebody_elses_task(place: Place) -> None:
    task_id = place.client.run(place.ground.task("w", "echo secret"))["id"]
    key = place.system.add_user(f"other{task_id}")
    with place.system.client(place.system.token(f"other{task_id}", key)) as stranger:
        for headers in ({}, {"Accept": "text/event-stream"}):
            assert stranger.get(path(task_id), headers=headers).status_code == 404
    with place.system.client() as nobody:
        assert nobody.get(path(task_id)).status_code == 401
        share = place.client.http.get(f"/api/1.0/task/{task_id}/share").json()["token"]
        assert nobody.get(path(task_id), params={"share": share}).content == b"secret\n"


def test_following_begins_at_the_byte_or_with_the_lines_that_are_asked_for(place: Place) -> None:
    task_id = place.client.run(place.ground.task("w", "seq 1 2000"))["id"]
    whole = "".join(f"{number}\n" for number in range(1, 2001))
    assert _followed(place, task_id, stream="out", offset=100) == whole[100:]
    assert _followed(place, task_id, stream="out", tail=2) == "1999\n2000\n"
    assert _followed(place, task_id, stream="out") == whole


def _followed(place: Place, task_id: int, **params: Any) -> str:
    headers = {"Accept": "text/event-stream"}
    with httpx_sse.connect_sse(place.client.http, "GET", path(task_id), params=params, headers=headers) as source:
        return "".join(event.json()["text"] for event in source.iter_sse() if event.event == "log")


def test_a_gateway_that_stops_ends_its_streams_properly(place: Place) -> None:
    task_id = submit(place, "echo begun; sleep 60")
    headers = {"Accept": "text/event-stream"}
    with place.client.http.stream("GET", path(task_id), headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        assert any("begun" in line for line in lines)
        before = place.system.kill("api", signal.SIGTERM)
        list(lines)  # raises where the answer is broken off
    waiting.until_blocking(lambda: _is_another(place, "api", before), "the gateway is back", timeout=60)
    place.client.kill(task_id)


def test_an_array_has_no_output_and_says_whose_there_is(place: Place) -> None:
    task = place.ground.task("a", "echo $GODOCKER_TASK_ID", array={"values": "1:2"})
    parent = place.client.run(task)
    answer = read(place, parent["id"])
    assert answer.status_code == 404
    assert f"the first is {parent['id'] + 1}" in answer.json()["detail"]


def test_more_streams_than_a_user_may_follow_are_refused(place: Place) -> None:
    task_id = submit(place, "sleep 60")
    headers = {"Accept": "text/event-stream"}
    open_streams = []
    try:
        for _ in range(20):
            request = place.client.http.build_request("GET", path(task_id), headers=headers)
            open_streams.append(place.client.http.send(request, stream=True))
            assert open_streams[-1].status_code == 200
        refused = place.client.http.get(path(task_id), headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    finally:
        for stream in open_streams:
            stream.close()
        place.client.kill(task_id)
    waiting.until_blocking(lambda: _opens(place, task_id), "closed streams no longer count", timeout=30)


def _opens(place: Place, task_id: int) -> bool:
    return place.client.http.get(path(task_id), headers={"Accept": "text/event-stream"}).status_code == 200
