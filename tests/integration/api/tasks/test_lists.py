"""Lists of tasks through HTTP on real stores: streamed in pieces, or in sorted and filtered pages."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import Message

from services.api.answers import tasks as task_answers
from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models.node import StoredReason
from shared.models.task import Task
from shared.models.user import User
from shared.store.tasks.lists import Stream
from tests.support import samples
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores

NOW = samples.NOW


def good(answer: httpx.Response) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON), answer.text
    return answer.json()


async def add_active(gateway: Gateway, count: int) -> list[Task]:
    """Add tasks of three users, every other one pending; return them newest first."""
    tasks = [
        samples.task(
            number,
            TaskStatus.PENDING if number % 2 else TaskStatus.RUNNING,
            user=["alice", "bob", "carol"][number % 3],
            at=NOW + number,
            **({} if number % 2 else {"placement": samples.placement()}),
        )
        for number in range(1, count + 1)
    ]
    await gateway.stores.tasks.insert(tasks)
    return tasks[::-1]


async def pieces_of(gateway: Gateway, tasks: Stream) -> tuple[list[bytes], bool]:
    """Return the pieces of a streamed list, and whether it is complete."""
    answer = await task_answers.streamed(gateway.context, tasks)
    pieces: list[bytes] = []
    ended = False

    async def send(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.body":
            pieces.append(message["body"])
            ended = not message.get("more_body", False)

    async def receive() -> Message:
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    await answer({"type": "http", "method": "GET"}, receive, send)
    return pieces, ended


# --- long lists -------------------------------------------------------------------------------


async def test_a_long_list_has_all_tasks_newest_first_with_their_verdicts(
    gateway: Gateway, alice: User, admin: User
) -> None:
    tasks = await add_active(gateway, 450)
    verdict = StoredReason(id=tasks[0].shape, reason="needs more than there is", at=clock.now())
    await gateway.stores.pending_reasons.put([verdict], placed=[])
    everybody = good(await gateway.ask("GET", "/task/active/all", admin))
    assert everybody == await task_answers.documents(gateway.context, tasks)
    assert [task["status"]["reason"] for task in everybody if task["status"]["primary"] == "pending"] == [
        verdict.reason
    ] * 225
    mine = good(await gateway.ask("GET", "/task/active", alice))
    assert mine == [task for task in everybody if task["user"]["id"] == "alice"]
    assert len(mine) == 150


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200])
async def test_a_list_is_whole_wherever_its_pieces_end(gateway: Gateway, admin: User, count: int) -> None:
    expected = [task.id for task in await add_active(gateway, count)] if count else []
    assert [task["id"] for task in good(await gateway.ask("GET", "/task/active/all", admin))] == expected


async def test_a_long_list_is_sent_in_pieces_and_in_flat_memory(gateway: Gateway) -> None:
    expected = [task.id for task in await add_active(gateway, 3000)]
    tracemalloc.start()
    try:
        pieces, ended = await pieces_of(gateway, gateway.stores.lists.active(None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    sent = b"".join(pieces)
    assert ended
    assert [task["id"] for task in orjson.loads(sent)] == expected
    assert max(len(piece) for piece in pieces) < len(sent) / 25
    # All these tasks at once take 25 MB; usually 3 are used, more before garbage is collected.
    assert peak - len(sent) < 12 * 1024**2


async def test_a_list_whose_store_goes_away_breaks_off_and_does_not_look_whole(gateway: Gateway) -> None:
    async def some() -> Stream:
        for number in range(1, 151):
            yield samples.task(number)
        raise errors.StoreUnavailable("MongoDB does not answer")

    pieces, ended = await pieces_of(gateway, some())
    assert pieces
    assert not ended


async def test_a_list_without_a_store_is_an_error(gateway: Gateway) -> None:
    async def none() -> Stream:
        raise errors.StoreUnavailable("MongoDB does not answer")
        yield samples.task()

    with pytest.raises(errors.StoreUnavailable):
        await task_answers.streamed(gateway.context, none())


# --- pages ------------------------------------------------------------------------------------


async def add_ended(gateway: Gateway) -> None:
    """Add twelve tasks of alice, every third one named `sort`, and one of bob."""
    for number in range(1, 13):
        name, image = ["sort", "Align", "call"][number % 3], f"lab/tool{number % 2}"
        task = samples.task(
            number,
            TaskStatus.OVER,
            image=image,
            started_at=NOW + number,
            ended_at=NOW + 100 + number,
            ending=Ending.EXITED,
        )
        await gateway.stores.tasks.insert(
            [task.model_copy(update={"spec": task.spec.model_copy(update={"name": name})})]
        )
    await gateway.add_task(20, TaskStatus.OVER, user="bob", ended_at=NOW, ending=Ending.EXITED)
    await gateway.add_task(21, TaskStatus.OVER, ended_at=NOW, ending=Ending.EXITED, purge="all")
    await gateway.add_task(22)


async def page(gateway: Gateway, by: User, query: str) -> tuple[list[int], int, int]:
    (found,) = good(await gateway.ask("GET", f"/task/over?draw=3&{query}", by))
    assert found["draw"] == 3
    return [task["id"] for task in found["data"]], found["recordsTotal"], found["recordsFiltered"]


@pytest.mark.parametrize(
    ("query", "ids", "matching"),
    [
        ("limit=3", [12, 11, 10], 12),
        ("limit=3&start=3", [9, 8, 7], 12),
        ("limit=3&reverse=true", [1, 2, 3], 12),
        ("limit=2&orderBy=id", [1, 2], 12),
        ("limit=2&orderBy=id&reverse=true", [12, 11], 12),
        ("limit=5&orderBy=name", [1, 4, 7, 10, 2], 12),
        ("limit=2&start=2&orderBy=name", [7, 10], 12),
        ("limit=7&orderBy=container_image", [2, 4, 6, 8, 10, 12, 1], 12),
        ("limit=2&orderBy=user_id", [1, 2], 12),
        ("limit=2&regex=align", [10, 7], 4),
        ("limit=9&regex=ALIGN&reverse=true", [1, 4, 7, 10], 4),
        ("limit=2&start=2&regex=alig", [4, 1], 4),
        ("limit=2&start=9&regex=alig", [], 4),
        ("limit=2&regex=tool1&orderBy=name", [1, 7], 6),
        ("limit=1&regex=alice", [12], 12),
        ("limit=2&regex=t.ol", [], 0),
        ("limit=2&regex=tool1align", [], 0),
        (f"limit=9&start_date={NOW + 10}", [12, 11, 10], 3),
        (f"limit=9&start_date={NOW + 5}&end_date={NOW + 7}&regex=sort", [6], 1),
    ],
)
async def test_a_page_is_sorted_searched_and_counted(
    gateway: Gateway, alice: User, query: str, ids: list[int], matching: int
) -> None:
    await add_ended(gateway)
    assert await page(gateway, alice, query) == (ids, 12, matching)


@pytest.mark.parametrize("text", ["%00", "a%0Ab"])
async def test_a_search_text_that_no_name_can_contain_is_refused(gateway: Gateway, alice: User, text: str) -> None:
    answer = await gateway.ask("GET", f"/task/over?draw=1&regex={text}", alice)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "query.regex"
