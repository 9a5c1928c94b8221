"""Bad input of every kind: the right status, nothing stored, no error in the log."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import itertools
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import orjson
import pytest
import structlog

from services.api import app
from shared.http import serving
from shared.models.user import User
from shared.settings import Settings, Volume
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that offers volumes, images and labels to ask for wrongly."""
    volumes = [Volume(name="home", acl="rw"), Volume(name="data", path="/srv/data")]
    async with gateways.opened(settings.model_copy(update={"volumes": volumes})) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Bad input must not log errors, which would wake an operator."""
    with structlog.testing.capture_logs() as events:
        yield
    assert [event for event in events if event["log_level"] in ("error", "critical")] == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def count(gateway: Gateway) -> int:
    return await gateway.stores.database["tasks"].count_documents({})


async def post(gateway: Gateway, by: User, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    """Send a body as it is."""
    return await gateway.ask(
        "POST", "/task", by, content=content, headers={"Content-Type": "application/json", **headers}
    )


def assert_refused(answer: httpx.Response, status: int = 422) -> None:
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"]


# --- every field, every wrong type ---------------------------------------------------------------

WRONG: list[Any] = [
    {"$gt": ""},
    {"$ne": None},
    {"$where": "sleep(5000)"},
    [],
    ["x"],
    [[[]]],
    {"a": {"b": {"c": []}}},
    "NaN",
    10**30,
    -1,
    1.5,
    True,
    "x" * 10_000,
    "$(id)\n`id`;\0",
]

VALID = samples.submission(
    **{
        "container.volumes": [{"name": "data", "acl": "ro"}],
        "requirements.uris": ["http://example.org/x"],
        "user.id": "alice",
    }
)

#: Leaves that the system fills: any value is ignored.
IGNORED = {"container.id", "container.meta", "container.stats", "container.ports", "status.secondary"}


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path


def replaced(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(VALID)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def is_fine(name: str, value: Any) -> bool:
    """Return whether a wrong value happens to be valid for this field."""
    empty_list = value == [] and name in (
        *("requirements.label", "requirements.tasks", "requirements.ports", "requirements.uris"),
        *("container.volumes", "meta.tags"),
    )
    text = isinstance(value, str) and "\0" not in value
    short = text and len(value) < 100
    return (
        name in IGNORED
        or empty_list
        or (name in ("meta.name", "meta.tags.0", "meta.tags.1", "requirements.uris.0") and short)
        or (name == "meta.description" and text)
        or (name == "command.cmd" and text)
        or (name == "container.network" and value is True)
        or (name == "requirements.tmpstorage" and isinstance(value, dict))  # unknown fields of it are ignored
        or (name in ("requirements.cpu", "requirements.ram") and value == 1.5)
    )


async def test_every_field_replaced_by_everything_wrong_is_refused_and_nothing_is_stored(
    gateway: Gateway, alice: User
) -> None:
    surprises, stored = [], 0
    for path in leaves(VALID):
        name = ".".join(map(str, path))
        for value in WRONG:
            answer = await post(gateway, alice, json.dumps(replaced(path, value)).encode())
            fine = is_fine(name, value)
            # Another user's name is not a wrong type but a missing right.
            expected = {200} if fine else {403, 422} if name == "user.id" else {422}
            if answer.status_code not in expected:
                surprises.append((name, str(value)[:30], answer.status_code, answer.text[:100]))
            stored += answer.status_code == 200
    assert surprises == []
    assert await count(gateway) == stored


async def test_a_part_that_is_no_object_is_refused(gateway: Gateway, alice: User) -> None:
    for part, value in itertools.product(samples.SUBMISSION, ["x", 1, True, [], [1], -1.5]):
        assert_refused(await post(gateway, alice, json.dumps(samples.submission(**{part: value})).encode()))
    assert await count(gateway) == 0


async def test_fields_that_the_system_fills_are_ignored_whatever_is_sent(gateway: Gateway, alice: User) -> None:
    evil = {
        **{"id": 7, "_id": 7, "date": 1, "attempt": 9, "intent": "kill", "ending": "exited", "settled": False},
        **{"queued_at": 0, "status_at": 0, "shape": "x", "submission": "x", "history": [1], "project": "other"},
        **{"is_admin": True, "usage": {"cpu": 0}, "quota": 0, "parent_task_id": 3, "purge": "all", "share": {"x": 1}},
        **{"user.uid": 0, "user.gid": 0, "user.admin": True, "user.home": "/root", "user.groups": [0]},
        **{"status.exitcode": 0, "status.reason": "x", "status.date_over": 1, "status.secondary": "killed"},
        **{"container.id": "x", "container.meta": {"Node": {"Name": "n"}}, "container.privileged": True},
        **{"container.Binds": ["/:/host"], "container.HostConfig": {"Privileged": True}, "container.ports": ["1"]},
        **{"placement": {"node": "n1", "executor": "x", "at": 1, "epoch": 1}, "started_at": 1, "exit_code": 0},
        **{"__proto__": {"admin": True}, "$set": {"status": "over"}, "a.b": 1},
    }
    document = samples.submission()
    for path, value in evil.items():
        if path in ("a.b", "$set", "__proto__"):
            document[path] = value
        else:
            samples.put(document, path, value)
    numbers = []
    for sent in (samples.submission(), document):
        answer = await post(gateway, alice, orjson.dumps(sent))
        assert answer.status_code == 200
        numbers.append(answer.json()["id"])
    plain, other = [(await gateway.task(number)).model_dump() for number in numbers]
    for name in ("id", "submission", "request", "status_at", "submitted_at", "queued_at", "history"):
        del plain[name], other[name]
    assert plain == other
    stored = await gateway.stores.database["tasks"].find_one({"_id": numbers[1]})
    assert stored is not None
    assert not {"__proto__", "$set", "is_admin", "quota"} & set(stored)


# --- single errors ---------------------------------------------------------------------------------


RULES: list[dict[str, Any]] = [
    {"requirements.cpu": -1},
    {"requirements.cpu": 0},
    {"requirements.cpu": 10**9},
    {"requirements.cpu": 1e308},
    {"requirements.ram": "1e999"},
    {"container.image": "a b"},
    {"container.image": "127.0.0.1:2375/x"},
    {"container.image": "registry:5000/../x"},
    {"container.image": "x" * 4096},
    {"container.volumes": [{"name": "../.."}]},
    {"container.volumes": [{"name": "home:/etc:rw"}]},
    {"container.volumes": [{"name": "data", "acl": "rw"}]},
    {"container.root": True},
    {"meta.name": "nul\0"},
    {"meta.name": "new\nline"},
    {"meta.name": "\u2028"},
    {"meta.tags": ["new\nline"]},
    {"meta.tags": ["x"] * 10**4},
    {"meta.tags": ["x" * 10**5]},
    {"command.cmd": "nul\0"},
    {"requirements.array.values": "1:1000000000:1"},
    {"requirements.array.values": "1:10:0"},
    {"status.primary": "x"},
    {"status.primary": {"$ne": "created"}},
]


async def test_a_task_that_breaks_a_rule_is_refused_with_its_field(gateway: Gateway, alice: User) -> None:
    for changes in RULES:
        answer = await post(gateway, alice, json.dumps(samples.submission(**changes)).encode())
        assert_refused(answer)
        (path,) = changes
        assert any(field["path"].startswith(path) for field in answer.json()["errors"]), changes
    assert await count(gateway) == 0


async def test_a_user_id_with_shell_characters_is_unknown(gateway: Gateway, alice: User) -> None:
    admin = await gateway.add_user("admin", admin=True)
    for user_id in ("$(id)", "`id`", "a;b", "a\nb", "../alice", "a\0", "\u202ealice", "a" * 65, "-rf"):
        body = json.dumps(samples.submission(**{"user.id": user_id})).encode()
        assert (await post(gateway, alice, body)).status_code in (403, 422)
        assert_refused(await post(gateway, admin, body))
        answer = await gateway.ask("POST", "/authenticate", json={"user": user_id, "apikey": "x"})
        assert answer.status_code in (401, 422)
    assert await count(gateway) == 0


GOOD = json.dumps(samples.SUBMISSION)
BROKEN = {
    "nothing": b"",
    "a space": b" ",
    "half of it": GOOD[: len(GOOD) // 2].encode(),
    "no JSON": b"<xml/>",
    "single quotes": GOOD.replace('"', "'").encode(),
    "a trailing comma": GOOD[:-1].encode() + b",}",
    "more after it": GOOD.encode() + b"{}",
    "a comment": b"/* */" + GOOD.encode(),
    "bytes": bytes(range(256)),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-8 cut short": GOOD.replace("blabla", "\u00e9").encode("latin-1"),
    "a lone surrogate": GOOD.replace("blabla", "\\ud800").encode(),
    "another lone surrogate": GOOD.replace("some_name", "\\udfff").encode(),
    "NaN": GOOD.replace('"cpu": 1', '"cpu": NaN').encode(),
    "Infinity": GOOD.replace('"ram": 1', '"ram": -Infinity').encode(),
    "a number of ten thousand digits": GOOD.replace('"cpu": 1', f'"cpu": {"1" * 10_000}').encode(),
    "ten thousand lists": b"[" * 10_000 + b"]" * 10_000,
    "ten thousand objects": b'{"meta":' * 10_000 + b"1" + b"}" * 10_000,
    "ten thousand levels in a field": GOOD.replace('"blabla"', "[" * 10_000 + "]" * 10_000).encode(),
    "a hundred levels in a field": GOOD.replace('"blabla"', "[" * 100 + "]" * 100).encode(),
    "null": b"null",
    "a number": b"1",
    "a text": b'"task"',
    "a list of tasks": f"[{GOOD}]".encode(),
    "an empty object": b"{}",
    "a form": b"container=busybox&command=ls",
}


async def test_a_body_that_is_not_a_task_is_refused(gateway: Gateway, alice: User) -> None:
    answers = {}
    for name, body in BROKEN.items():
        for answer in (await post(gateway, alice, body), await gateway.ask("POST", "/authenticate", content=body)):
            answers[name, answer.request.url.path] = (answer.status_code, answer.headers["content-type"])
    assert {key: found for key, found in answers.items() if found != (422, "application/problem+json")} == {}
    assert await count(gateway) == 0


async def test_a_repeated_name_counts_once_and_bypasses_no_rule(gateway: Gateway, alice: User) -> None:
    for twice, status in (('"cpu": -1, "cpu": 1', 200), ('"cpu": 1, "cpu": -1', 422)):
        answer = await post(gateway, alice, GOOD.replace('"cpu": 1', twice).encode())
        assert answer.status_code == status
    assert await count(gateway) == 1


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(gateway: Gateway, alice: User) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for number in range(10_000):
            assert number < 100, "it was read on and on"
            yield b"x" * 65536

    async def chunked(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield b" " * 65536
        yield GOOD.encode()

    assert_refused(await post(gateway, alice, b"x" * 2 * 1024**2), 413)
    assert_refused(await post(gateway, alice, chunked(2 * 1024**2)), 413)
    assert_refused(await post(gateway, alice, endless()), 413)
    assert_refused(await post(gateway, alice, b"{}", **{"Content-Length": str(10**12)}), 413)
    assert await count(gateway) == 0
    assert (await post(gateway, alice, chunked(512 * 1024))).status_code == 200


async def test_a_compressed_body_is_not_unpacked(gateway: Gateway, alice: User) -> None:
    body = gzip.compress(b" " * 10**8 + GOOD.encode())
    assert_refused(await post(gateway, alice, body, **{"Content-Encoding": "gzip"}))


# --- paths and queries ---------------------------------------------------------------------------------


NOT_NUMBERS = [
    *("0", "-1", "1.5", "x", "1e3", "0x1", str(2**53 + 1), "9" * 30, "9" * 5000, "%00", "1%0a", "%F0%28%8C%28"),
    *("$ne", "[1]", "{}", "true", "NaN", "Infinity"),
]


async def test_an_invalid_number_is_refused(gateway: Gateway, alice: User) -> None:
    asked = [("GET", ""), ("DELETE", ""), ("GET", "/status"), ("GET", "/pending")]
    for number, (method, end) in itertools.product(NOT_NUMBERS, asked):
        answer = await gateway.ask(method, f"/task/{number}{end}", alice)
        assert answer.status_code in (404, 422), f"{method} {number[:30]}{end}: {answer.status_code}"
        assert answer.headers["content-type"] == "application/problem+json"


QUERIES: list[tuple[str, set[int]]] = [
    ("/task/over?limit=1000000000", {422}),
    ("/task/over?limit=-1", {422}),
    ("/task/over?limit=x", {422}),
    ("/task/over?limit[$gt]=1", {422}),
    ("/task/over?user[$ne]=x", {422}),
    ("/task/active?project[$ne]=x", {422}),
    ("/task/active?project=" + "x" * 5000, {422}),
    ("/task/active?project=%00", {200, 422}),
    ('/task/active?project={"$ne":1}', {200, 422}),
    ("/task/active?" + "&".join(f"a{n}=1" for n in range(2000)), {200, 422}),
    ("/image/%00", {200, 422}),
    ("/image/" + "x" * 5000, {200, 422}),
    ('/image/{"$ne":null}', {200}),
    ("/image/..%2f..%2fetc", {200, 404}),
    ("/task/status/%24ne/count", {404}),
]


async def test_a_query_is_a_value_and_never_an_operator(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1, user="bob", image="secret/image")
    for path, statuses in QUERIES:
        answer = await gateway.ask("GET", path, alice)
        assert answer.status_code in statuses, f"{path[:60]}: {answer.status_code}"
        assert "secret/image" not in answer.text
        if answer.status_code == 200 and path.startswith("/image/"):
            assert list(answer.json().values()) == [0]


CREDENTIALS: list[dict[str, Any]] = [
    {"user": {"$gt": ""}, "apikey": "x"},
    {"user": {"$ne": None}, "apikey": {"$ne": None}},
    {"user": ["alice"], "apikey": "x"},
    {"user": "alice", "apikey": {"$regex": ".*"}},
    {"user": "alice"},
    {"user": None, "apikey": None},
    {"user": True, "apikey": True},
    {"user": 1, "apikey": 1},
    {"user": "x" * 65, "apikey": "x"},
    {"user": "alice", "apikey": "x" * 10_000},
]


async def test_credentials_are_two_texts(gateway: Gateway, alice: User) -> None:
    for sent in CREDENTIALS:
        assert_refused(await gateway.ask("POST", "/authenticate", json=sent))


# --- raw sockets -----------------------------------------------------------------------------------------


RAW: list[tuple[bytes, set[bytes]]] = [
    (b"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {b"400", b"413"}),
    (b"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999999\r\n\r\n", {b"400", b"413"}),
    (b"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {b"400"}),
    (b"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {b"400"}),
    (
        b"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + b"x" * 0x200000,
        {b"413"},
    ),
    (b"GARBAGE\r\n\r\n", {b"400"}),
    (b"GET {path} HTTP/9.9\r\nHost: x\r\n\r\n", {b"400", b"405", b"505"}),
    (b"GET {path}/../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {b"401", b"404", b"422"}),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {b"400"}),
]
PING = b"GET /api/1.0/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_an_invalid_request_is_refused_on_the_socket_and_the_next_is_served(gateway: Gateway) -> None:
    stop = asyncio.Event()
    listening = serving.bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    serve = serving.serve(app.build(gateway.context), stop, host="127.0.0.1", port=port, listening=listening)
    server = asyncio.create_task(serve)
    try:
        for request_text, statuses in RAW:
            text = request_text.replace(b"{path}", b"/api/1.0/task")
            answer = await asyncio.wait_for(_ask_raw(port, text), 20)
            assert answer.split(b" ", 2)[1] in statuses, (text[:60], answer[:200])
            assert b"pong" in await asyncio.wait_for(_ask_raw(port, PING), 20)
    finally:
        stop.set()
        await server


async def _ask_raw(port: int, request_text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request_text)
        with contextlib.suppress(ConnectionError):  # refused before all was sent; the answer may still arrive
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.read(4096)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# --- wording -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "path", "rule"),
    [
        ({"container": {"image": "busybox", "volumes": ["home"]}}, "container.volumes.0", "must be an object"),
        ({"requirements": {"depends": [7]}}, "requirements.depends", "must be an object"),
        ({"requirements": {"tmpstorage": "10G"}}, "requirements.tmpstorage", "must be an object"),
        ({"requirements": {"maxlifespan": [1]}}, "requirements.maxlifespan", "must be text or a whole number"),
        ({"command": {}}, "command.cmd", "is missing"),
    ],
)
async def test_a_wrong_type_is_reported_in_our_own_words(
    gateway: Gateway, alice: User, part: dict[str, Any], path: str, rule: str
) -> None:
    answer = await gateway.ask("POST", "/task", alice, json=samples.submission() | part)
    assert_refused(answer)
    (field,) = answer.json()["errors"]
    assert field["path"] == path
    assert field["rule"].startswith(rule)
    of_many = await gateway.ask("POST", "/task/batch", alice, json=[samples.submission(), samples.submission() | part])
    assert of_many.json()["errors"] == [{"path": f"1.{path}", "rule": field["rule"]}]


async def test_the_path_of_a_parameter_begins_with_its_place(gateway: Gateway, alice: User) -> None:
    headers = {"Idempotency-Key": "tab\tin it"}
    answer = await gateway.ask("POST", "/task?dry_run=perhaps", alice, json=samples.submission(), headers=headers)
    assert {one["path"]: one["rule"] for one in answer.json()["errors"]} == {
        "query.dry_run": "must be true or false",
        "header.Idempotency-Key": "must be printable ASCII characters",
    }
