"""
A repeated request with its key creates nothing more, whatever happened to the first; a batch is stored whole or not.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from services.api.admission import idempotency, lookup
from shared import errors
from shared.models.user import User
from shared.settings import Settings, Volume
from shared.store.stores import Stores
from tests.support import samples, waiting
from tests.support.harness import deaths
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway
from tests.support.servers import proxy

pytestmark = pytest.mark.stores

KEY = "Idempotency-Key"
TASK, BATCH = "/task", "/task/batch"


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Gateway]:
    """Another gateway of the same system."""
    async with gateways.opened(settings) as made:
        yield made


async def post(
    gateway: Gateway, by: User, key: str | None, body: Any = None, *, path: str = TASK, **headers: str
) -> httpx.Response:
    named = {KEY: key, **headers} if key is not None else headers
    return await gateway.ask("POST", path, by, json=samples.submission() if body is None else body, headers=named)


async def post_batch(gateway: Gateway, by: User, tasks: Sequence[Any], key: str | None = None) -> httpx.Response:
    return await post(gateway, by, key, list(tasks), path=BATCH)


def good(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return dict(answer.json())


def paths(answer: httpx.Response) -> list[str]:
    return [error["path"] for error in refused(answer, 422, "invalid_input")["errors"]]


async def count(gateway: Gateway, collection: str = "tasks", **query: Any) -> int:
    return await gateway.stores.database[collection].count_documents(query)


# --- the key --------------------------------------------------------------------------------------


async def test_the_same_request_again_gets_the_same_answer_and_creates_nothing(
    gateway: Gateway, other: Gateway, alice: User
) -> None:
    first = good(await post(gateway, alice, "k"))
    assert first == {"msg": "Task added", "id": first["id"]}
    assert good(await post(gateway, alice, "k")) == first
    assert good(await post(other, alice, "k")) == first
    assert await count(gateway) == 1
    assert good(await post(gateway, alice, "another"))["id"] != first["id"]
    assert await count(gateway) == 2


async def test_without_a_key_each_request_creates_a_task(gateway: Gateway, alice: User) -> None:
    assert good(await post(gateway, alice, None)) != good(await post(gateway, alice, None))
    assert await count(gateway, "receipts") == 0


async def test_another_request_under_the_same_key_is_refused(gateway: Gateway, alice: User) -> None:
    first = good(await post(gateway, alice, "k"))
    changed = samples.submission(**{"command.cmd": "true"})
    refused(await post(gateway, alice, "k", changed), 409, "idempotency_key_reused")
    refused(await post_batch(gateway, alice, [samples.submission()], "k"), 409, "idempotency_key_reused")
    assert good(await post(gateway, alice, "k")) == first
    assert await count(gateway) == 1


async def test_a_key_is_its_user_s_own(gateway: Gateway, alice: User) -> None:
    bob = await gateway.add_user("bob")
    mine, theirs = good(await post(gateway, alice, "k")), good(await post(gateway, bob, "k"))
    assert mine["id"] != theirs["id"]
    assert (await gateway.task(theirs["id"])).user.id == "bob"
    await gateway.stores.receipts.remove_of("bob")
    assert good(await post(gateway, alice, "k")) == mine
    assert good(await post(gateway, bob, "k"))["id"] not in (mine["id"], theirs["id"])


async def test_the_key_of_an_admin_who_sends_for_somebody_is_the_admin_s(gateway: Gateway, alice: User) -> None:
    admin = await gateway.add_user("admin", admin=True)
    body = samples.submission(**{"user.id": "alice"})
    assert good(await post(gateway, admin, "k", body)) == good(await post(gateway, admin, "k", body))
    assert good(await post(gateway, alice, "k", body)) != good(await post(gateway, admin, "k", body))
    assert await count(gateway, **{"user.id": "alice"}) == 2


@pytest.mark.parametrize("key", ["k", " ", "~" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a:b$ne{}"])
async def test_any_printable_text_is_a_key(gateway: Gateway, alice: User, key: str) -> None:
    assert good(await post(gateway, alice, key)) == good(await post(gateway, alice, key))


@pytest.mark.parametrize("path", [TASK, BATCH])
async def test_an_invalid_key_is_refused_by_name(gateway: Gateway, alice: User, path: str) -> None:
    body = orjson.dumps(samples.submission() if path == TASK else [samples.submission()])
    bad = [
        [b""],
        [b"k" * 256],
        [b"k" * 100_000],
        [b"tab\tin it"],
        [b"nul\0"],
        ["schlüssel".encode()],
        [b"\xff"],
        [b"k"] * 2,
    ]
    for values in bad:
        headers = httpx.Headers([(KEY.encode(), value) for value in values])
        headers["Authorization"] = f"Bearer {gateway.token(alice)}"
        answer = await gateway.http.post(gateways.API + path, content=body, headers=headers)
        assert paths(answer) == [f"header.{KEY}"], values
    assert await count(gateway) + await count(gateway, "receipts") == 0


# --- digests ------------------------------------------------------------------------------------------


SAID = {"a": [1, 2.5, None, True], "b": {"c": "é", "d": {}}}
SAME = [
    json.dumps(SAID),
    json.dumps(SAID, ensure_ascii=False, indent=3),
    '{"b": {"d": {}, "c": "\\u00e9"}, "a": [1, 2.50, null, true]}',
    '{"a": 7, "b": {"d": {}, "c": "é"}, "a": [1, 2.5, null, true]}',
]
DIFFERENT = [
    '{"a": 1}',
    '{"a": 2}',
    '{"a": "1"}',
    '{"a": [1]}',
    '{"a": 1, "b": null}',
    "[1, 2]",
    "[2, 1]",
    "null",
    "{}",
]


def test_spellings_of_one_document_have_one_digest() -> None:
    assert len({idempotency.digest(text.encode()) for text in SAME}) == 1


def test_different_documents_have_different_digests() -> None:
    assert len({idempotency.digest(text.encode()) for text in [*SAME[:1], *DIFFERENT]}) == 1 + len(DIFFERENT)


def test_a_text_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="nested too deeply"):
        idempotency.digest(b"[" * 500 + b"]" * 500)


async def test_an_invalid_body_with_a_key_is_refused_like_any(gateway: Gateway, alice: User) -> None:
    deep = orjson.dumps(samples.submission())[:-1] + b',"x":' + b"[" * 300 + b"]" * 300 + b"}"
    for path in (TASK, BATCH):
        for body in (b"", b"{", b"[", b"1", b"null", b"\xff", b"[" * 10_000, b"NaN", deep, b"[" + deep + b"]"):
            answer = await gateway.ask("POST", path, alice, content=body, headers={KEY: "k"})
            refused(answer, 422, "invalid_input")
    assert await count(gateway) + await count(gateway, "receipts") == 0
    assert good(await post(gateway, alice, "k"))


# --- after refusals and long afterwards -----------------------------------------------------------------


@pytest.mark.parametrize("path", [TASK, BATCH])
async def test_a_refused_request_can_be_corrected_under_the_same_key(gateway: Gateway, alice: User, path: str) -> None:
    for changes in ({"requirements.cpu": -1}, {"requirements.cpu": 10**5}):  # a wrong type and a broken rule
        body: Any = samples.submission(**changes)
        refused(await post(gateway, alice, "k", [body] if path == BATCH else body, path=path), 422, "invalid_input")
    body = samples.submission(**{"requirements.cpu": 2})
    assert good(await post(gateway, alice, "k", [body] if path == BATCH else body, path=path))
    assert await count(gateway) == 1


async def test_a_request_over_the_limit_creates_its_task_once_there_is_room(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"rate_limit": 1})) as gateway:
        alice = await gateway.add_user("alice")
        first = good(await post(gateway, alice, "first"))
        for _ in range(2):
            refused(await post(gateway, alice, "second"), 429, "too_many_requests")
        assert await count(gateway, "receipts") == 1
        # A request that was accepted is not checked again.
        assert good(await post(gateway, alice, "first")) == first
        await gateway.stores.database["tasks"].delete_one({"_id": first["id"]})
        second = good(await post(gateway, alice, "second"))
        assert good(await post(gateway, alice, "second")) == second
        assert await count(gateway) == 1


async def test_maintenance_refuses_the_first_and_answers_the_second(gateway: Gateway, alice: User) -> None:
    first = good(await post(gateway, alice, "k"))
    await gateway.stores.maintenance.put("all", on=True, by="admin", at=samples.NOW)
    refused(await post(gateway, alice, "new"), 503, "in_maintenance")
    assert good(await post(gateway, alice, "k")) == first
    await gateway.stores.maintenance.put("all", on=False, by="admin", at=samples.NOW)
    assert good(await post(gateway, alice, "new"))["id"] != first["id"]


async def test_a_task_that_is_long_gone_does_not_come_back(gateway: Gateway, alice: User) -> None:
    first = good(await post(gateway, alice, "k"))
    await gateway.stores.database["tasks"].delete_one({"_id": first["id"]})
    assert good(await post(gateway, alice, "k")) == first
    assert await count(gateway) == 0


async def test_a_receipt_is_kept_for_a_day(gateway: Gateway, alice: User) -> None:
    await gateway.stores.ensure_indexes()
    index = (await gateway.stores.database["receipts"].index_information())["old"]
    assert (index["key"], index["expireAfterSeconds"]) == ([("at", 1)], 24 * 3600)
    first = good(await post(gateway, alice, "k"))
    # A date near now: otherwise MongoDB keeps it for ever or not at all.
    age = {"$abs": {"$subtract": ["$at", "$$NOW"]}}
    assert await count(gateway, "receipts", at={"$type": "date"}, **{"$expr": {"$lt": [age, 60_000]}}) == 1
    await gateway.stores.database["receipts"].delete_many({})  # as MongoDB does after the day
    assert good(await post(gateway, alice, "k")) != first


# --- concurrency ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 1000])
async def test_fifty_at_once_on_two_gateways_create_one_task(settings: Settings, limit: int | None) -> None:
    # Long enough for all fifty on a busy machine: under a limit they are counted one by one.
    limited = settings.model_copy(update={"rate_limit": limit, "mongo_timeout": 30.0})
    async with gateways.opened(limited) as one, gateways.opened(limited) as two:
        alice = await one.add_user("alice")
        async with gateways.listening(one) as first, gateways.listening(two) as second, httpx.AsyncClient() as client:
            headers = {"Authorization": f"Bearer {one.token(alice)}", KEY: "k"}
            urls = [f"http://127.0.0.1:{port}{gateways.API}/task" for port in (first, second)]
            answers = await asyncio.gather(
                *(client.post(urls[n % 2], json=samples.submission(), headers=headers, timeout=60) for n in range(50))
            )
        assert len({good(answer)["id"] for answer in answers}) == 1
        assert await count(one) == 1


async def test_one_of_two_concurrent_requests_with_one_key_is_refused(
    gateway: Gateway, other: Gateway, alice: User
) -> None:
    bodies = [samples.submission(**{"command.cmd": f"exit {number}"}) for number in range(10)]
    where = [gateway, other]
    answers = await asyncio.gather(*(post(where[n % 2], alice, "k", body) for n, body in enumerate(bodies)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert await count(gateway) == 1


# --- crashes, pauses, losses -------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("path", "tasks"), [(TASK, 1), (BATCH, 3)], ids=["task", "batch"])
async def test_a_gateway_that_is_killed_anywhere_in_between_leaves_all_or_nothing_and_the_next_answers(
    gateway: Gateway, alice: User, path: str, tasks: int
) -> None:
    body: Any = samples.submission(**{"meta.name": "NUMBER"})
    body = body if path == TASK else [body] * tasks
    headers = {"Authorization": f"Bearer {gateway.token(alice)}", KEY: "NUMBER"}
    request = json.dumps({"path": path, "headers": headers, "body": json.dumps(body)})
    for collection in ("tasks", "receipts"):  # a process that creates one in a transaction and dies blocks the others
        await gateway.stores.database.create_collection(collection)
    killed = await asyncio.to_thread(_gateways_killed, gateway.settings, request)
    assert killed >= 12, "it was killed before and after each of its words"

    async def again(number: int) -> None:
        name = str(number)
        assert await count(gateway, **{"spec.name": name}) in (0, tasks)
        sent = json.loads(json.dumps(body).replace("NUMBER", name))

        async def answered() -> Any:
            answer = await post(gateway, alice, name, sent, path=path)
            return None if answer.status_code == 503 else good(answer)

        first = await waiting.until(answered, "it is answered", timeout=60)
        assert good(await post(gateway, alice, name, sent, path=path)) == first
        found = gateway.stores.database["tasks"].find({"spec.name": name}).sort("_id", 1)
        assert [task["_id"] async for task in found] == first.get("ids", [first.get("id")])

    await asyncio.gather(*(again(number) for number in range(1, killed + 2)))
    assert await count(gateway) == (killed + 1) * tasks
    await forget_the_dead(gateway)


async def forget_the_dead(gateway: Gateway) -> None:
    """Abort transactions that dead gateways left open; otherwise the database cannot be dropped for a minute."""
    await gateway.stores.database.client.admin.command("killAllSessions", [])


def _gateways_killed(settings: Settings, request: str) -> int:
    argv = [sys.executable, "-m", "tests.support.harness.deaths"]
    environment = {**os.environ, **deaths.environment(settings)}
    ended = subprocess.run(
        argv,
        input=request,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.splitlines()[-1])  # the lines before it are the gateway's log


async def test_a_gateway_that_died_while_counting_blocks_nobody(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"rate_limit": 5})) as gateway:
        alice = await gateway.add_user("alice")
        good(await post(gateway, alice, None))
        async with left_open(gateway):
            answers = await asyncio.gather(post(gateway, alice, "k"), post(gateway, alice, None))
        assert [good(answer)["msg"] for answer in answers] == ["Task added"] * 2


@asynccontextmanager
async def left_open(gateway: Gateway) -> AsyncIterator[None]:
    """A transaction that locked the gate and is never finished."""
    database = gateway.stores.database
    async with await database.client.start_session() as session:
        session.start_transaction()
        touched = await database["admission_gates"].update_one(
            {"_id": "tasks"}, {"$inc": {"passed": 1}}, session=session
        )
        assert touched.modified_count == 1
        yield


async def test_a_gateway_that_was_paused_answers_what_the_other_one_did(
    gateway: Gateway, other: Gateway, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake = asyncio.Event(), asyncio.Event()
    add = gateway.stores.receipts.add

    async def add_and_sleep(*args: Any, **options: Any) -> bool:
        added = await add(*args, **options)
        asleep.set()
        await awake.wait()
        return added

    monkeypatch.setattr(gateway.stores.receipts, "add", add_and_sleep)
    sleeper = asyncio.create_task(post(gateway, alice, "k"))
    await asyncio.wait_for(asleep.wait(), 30)
    first = good(await post(other, alice, "k"))
    awake.set()
    assert good(await asyncio.wait_for(sleeper, 30)) == first
    assert await count(gateway) == 1


@pytest.mark.parametrize(("key", "created"), [("k", 1), (None, 2)])
async def test_a_client_that_lost_its_answer_can_retry(
    gateway: Gateway, alice: User, tmp_path: Path, key: str | None, created: int
) -> None:
    """With a key it gets the existing task, without one another: only at-least-once is promised."""
    headers = {"Authorization": f"Bearer {gateway.token(alice)}", **({KEY: key} if key else {})}
    async with gateways.listening(gateway) as port, proxy.between(tmp_path, port) as between:
        transport = httpx.AsyncHTTPTransport(uds=between.url.removeprefix("unix://"))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as client:

            async def send() -> httpx.Response:
                return await client.post(gateways.API + TASK, json=samples.submission(), headers=headers)

            between.stall_answers(True)
            unanswered = asyncio.create_task(send())

            async def stored() -> bool:
                return await count(gateway) == 1

            await waiting.until(stored, "the task is stored", timeout=60)
            between.cut()
            with pytest.raises(httpx.TransportError):
                await unanswered
            between.stall_answers(False)
            answer = good(await send())
    assert await count(gateway) == created
    assert await count(gateway, _id=answer["id"]) == 1


async def test_numbers_that_are_taken_are_skipped_and_the_receipt_has_the_right_ones(
    gateway: Gateway, alice: User
) -> None:
    for number in (1, 2, 3):
        await gateway.add_task(number)
    ids = good(await post_batch(gateway, alice, [samples.submission()] * 2, "k"))["ids"]
    assert ids == [4, 5]
    assert good(await post_batch(gateway, alice, [samples.submission()] * 2, "k"))["ids"] == ids


# --- batches ------------------------------------------------------------------------------------------------


def named(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [samples.submission(**{"meta.name": f"task{number}", **changes}) for number in range(count)]


async def test_a_batch_of_a_thousand_is_created_in_its_order(gateway: Gateway, alice: User) -> None:
    tasks = [{**task, "meta": {"name": task["meta"]["name"]}} for task in named(1000)]
    answer = good(await post_batch(gateway, alice, tasks))
    assert answer == {"msg": "Tasks added", "ids": answer["ids"]}
    found = gateway.stores.database["tasks"].find({"_id": {"$in": answer["ids"]}}).sort("_id", 1)
    assert [(task["_id"], task["spec"]["name"], task["status"]) async for task in found] == [
        (task_id, f"task{number}", "pending") for number, task_id in enumerate(answer["ids"])
    ]
    assert await count(gateway) == 1000


async def test_a_bad_batch_creates_nothing_and_names_every_broken_rule(
    settings: Settings,
) -> None:
    offering = settings.model_copy(update={"volumes": [Volume(name="data", path="/srv/data")], "max_cpu": 8})
    async with gateways.opened(offering) as gateway:
        alice = await gateway.add_user("alice")
        tasks = named(4)
        samples.put(tasks[1], "requirements.cpu", 9)
        samples.put(tasks[1], "container.volumes", [{"name": "data"}, {"name": "other"}])
        samples.put(tasks[3], "user.project", "nobody's")
        answer = await post_batch(gateway, alice, tasks)
        assert paths(answer) == ["1.requirements.cpu", "1.container.volumes.1.name", "3.user.project"]
        samples.put(tasks[0], "command.cmd", None)
        samples.put(tasks[2], "requirements.ram", "much")
        assert paths(await post_batch(gateway, alice, tasks)) == ["0.command.cmd", "2.requirements.ram"]
        refused(await post_batch(gateway, alice, [*named(1), *named(1, **{"user.id": "bob"})]), 403, "not_allowed")
        assert await count(gateway) == 0


async def test_a_batch_is_a_list_of_at_least_one_task_and_not_too_many(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"max_batch": 3})) as gateway:
        alice = await gateway.add_user("alice")
        for body in ([], {}, {"tasks": named(1)}, named(1)[0], [[]], [None], ["x"], [named(1)]):
            refused(await post(gateway, alice, None, body, path=BATCH), 422, "invalid_input")
        assert paths(await post_batch(gateway, alice, named(4))) == ["body"]
        many = await gateway.ask("POST", BATCH, alice, content=b"[" + b"{}," * 300_000 + b"{}]")
        assert paths(many) == ["body"]
        large = await gateway.ask("POST", BATCH, alice, content=b"[" + b"{}," * 400_000 + b"{}]")
        refused(large, 413, "body_too_large")
        assert await count(gateway) == 0
        assert len(good(await post_batch(gateway, alice, named(3)))["ids"]) == 3


async def test_a_batch_over_a_limit_is_refused_as_a_whole(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"rate_limit": 5})) as gateway:
        alice = await gateway.add_user("alice")
        assert good(await post_batch(gateway, alice, named(3), "first"))
        answer = await post_batch(gateway, alice, named(3), "second")
        refused(answer, 429, "too_many_requests")
        assert int(answer.headers["retry-after"]) > 0
        assert (await count(gateway), await count(gateway, "receipts")) == (3, 1)
        assert good(await post_batch(gateway, alice, named(2), "second"))
        refused(await post_batch(gateway, alice, named(1)), 429, "too_many_requests")
        assert await count(gateway) == 5


async def test_concurrent_batches_stay_within_the_limit_and_whole(settings: Settings) -> None:
    limited = settings.model_copy(update={"rate_limit": 10})
    async with gateways.opened(limited) as one, gateways.opened(limited) as two:
        alice = await one.add_user("alice")
        where = [one, two]
        answers = await asyncio.gather(*(post_batch(where[n % 2], alice, named(3)) for n in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
        assert await count(one) == 9


async def test_a_batch_whose_lookups_take_too_long_is_refused(
    gateway: Gateway, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = gateway.stores.projects.get

    async def slow(project_id: str) -> Any:
        await asyncio.sleep(0.1)
        return await get(project_id)

    monkeypatch.setattr(gateway.stores.projects, "get", slow)
    monkeypatch.setattr(lookup, "_SLOW_OPERATIONS", 0.05)
    tasks = [samples.submission(**{"user.project": f"p{number}"}) for number in range(100)]
    refused(await post_batch(gateway, alice, tasks, "k"), 503, "store_unavailable")
    assert await count(gateway) + await count(gateway, "receipts") == 0


async def test_an_admin_s_batch_may_have_tasks_of_several_users(gateway: Gateway, alice: User) -> None:
    admin = await gateway.add_user("admin", admin=True)
    await gateway.add_user("bob")
    owners = ["bob", "alice", "bob", None]
    tasks = [samples.submission(**({"user.id": owner} if owner else {})) for owner in owners]
    ids = good(await post_batch(gateway, admin, tasks))["ids"]
    assert [(await gateway.task(number)).user.id for number in ids] == ["bob", "alice", "bob", "admin"]


async def test_each_task_is_hinted_once(gateway: Gateway, alice: User) -> None:
    held = samples.submission(**{"status.primary": "created"})
    for _ in range(2):
        ids = good(await post_batch(gateway, alice, [held, *named(2)], "k"))["ids"]
    assert gateway.context.hints._pending == ids[1:]
    assert (await gateway.task(ids[0])).status == "created"


async def test_a_store_that_does_not_answer_leaves_the_key_free(
    gateway: Gateway, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any, **__: Any) -> None:
        raise errors.StoreUnavailable("MongoDB does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.stores.receipts, "add", silent)
        refused(await post(gateway, alice, "k"), 503, "store_unavailable")
    assert await count(gateway) == 0
    assert good(await post(gateway, alice, "k"))


async def test_a_deleted_user_leaves_no_receipt(opened: Stores, gateway: Gateway, alice: User) -> None:
    good(await post(gateway, alice, "k"))
    ben = await gateway.add_user("alice2")
    good(await post(gateway, ben, "k"))
    await gateway.stores.receipts.remove_of("alice")
    left = await gateway.stores.database["receipts"].find().to_list(None)
    assert [receipt["_id"].partition(":")[0] for receipt in left] == ["alice2"]
