"""The sender of a request is recorded in the task, its reason and the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared import clock
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.task import Array
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

OVER, PENDING, RUNNING = TaskStatus.OVER, TaskStatus.PENDING, TaskStatus.RUNNING


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as captured:
        yield captured  # type: ignore[misc]


def of(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


async def test_a_killed_task_names_the_admin_who_asked_first(gateway: Gateway, lines: list[dict[str, Any]]) -> None:
    root, alice = await gateway.add_user("root", admin=True), await gateway.add_user("alice")
    await gateway.add_task(1, RUNNING, attempt=1, placement=samples.placement())
    await gateway.ask("DELETE", "/task/1", by=root)
    await gateway.ask("DELETE", "/task/1", by=alice)
    assert (await gateway.task(1)).intent_by == "root"
    (first, _) = of(lines, "task.kill_asked")
    assert (first["task_id"], first["user"], first["by"], first["log_level"]) == (1, "alice", "root", "info")


@pytest.mark.parametrize("path", ["suspend", "resume", "reschedule"])
async def test_every_intent_names_its_sender(gateway: Gateway, lines: list[dict[str, Any]], path: str) -> None:
    root = await gateway.add_user("root", admin=True)
    await gateway.add_task(1, RUNNING, attempt=1, placement=samples.placement())
    await gateway.ask("GET", f"/task/1/{path}", by=root)
    assert (await gateway.task(1)).intent_by == "root"
    assert [line["by"] for line in of(lines, f"task.{path}_asked")] == ["root"]


async def test_killing_all_tasks_of_a_user_is_one_log_event(gateway: Gateway, lines: list[dict[str, Any]]) -> None:
    root = await gateway.add_user("root", admin=True)
    await gateway.add_user("alice")
    for number in range(1, 6):
        await gateway.add_task(number)
    await gateway.ask("DELETE", "/user/alice/task", by=root)
    assert {(await gateway.task(number)).intent_by for number in range(1, 6)} == {"root"}
    (line,) = of(lines, "task.kill_asked")
    assert (line["user"], line["by"], line["tasks"]) == ("alice", "root", 5)


async def test_later_children_of_a_killed_range_name_its_sender(gateway: Gateway) -> None:
    alice = await gateway.add_user("alice")
    array = Array(start=1, end=9, step=1, count=9, first_id=2)
    await gateway.add_task(1, array=array)
    await gateway.ask("DELETE", "/task/1?index=3-5", by=alice)
    stored = (await gateway.task(1)).array
    assert stored is not None
    assert [stored.killer_of(index) for index in (2, 3, 5, 6)] == [None, "alice", "alice", None]


async def test_a_submission_is_logged_with_its_sender_owner_and_request(
    gateway: Gateway, lines: list[dict[str, Any]]
) -> None:
    root, alice = await gateway.add_user("root", admin=True), await gateway.add_user("alice")
    await gateway.ask("POST", "/task", by=alice, json=samples.submission(), headers={"X-Request-Id": "one"})
    for_alice = samples.submission(**{"user.id": "alice"})
    await gateway.ask("POST", "/task", by=root, json=for_alice, headers={"X-Request-Id": "two"})
    sent = of(lines, "task.submitted")
    assert [(line["user"], line["by"], line["request"]) for line in sent] == [
        ("alice", "alice", "one"),
        ("alice", "root", "two"),
    ]
    assert [line["task_id"] for line in sent] == [1, 2]


async def test_a_killed_run_names_the_sender_in_its_reason(scene: Scene, lines: list[dict[str, Any]]) -> None:
    await scene.add(1, cmd="sleep 60", request="r-1")
    async with scene.running():
        await scene.until(RUNNING)
        await scene.stores.tasks.ask(1, Intent.KILL, at=clock.now(), statuses=[RUNNING], by="bob")
        await scene.broker.tell_watcher_asked()
        task = await scene.until(OVER)
    assert (task.ending, task.reason) == (Ending.KILLED, "killed by bob")
    (started,), (over,) = of(lines, "task.started"), of(lines, "task.over")
    about = {"task_id": 1, "attempt": 1, "user": "alice", "node": samples.NODE, "request": "r-1", "log_level": "info"}
    assert started.items() >= about.items()
    assert over.items() >= {**about, "ending": "killed", "exit_code": 137, "reason": "killed by bob"}.items()


async def test_a_pending_task_that_was_killed_names_the_sender(scene: Scene, lines: list[dict[str, Any]]) -> None:
    await scene.add(1)
    await scene.stores.tasks.ask(1, Intent.KILL, at=clock.now(), statuses=[PENDING], by="bob")
    async with scene.running(scene.watcher()):
        task = await scene.until(OVER)
    assert task.reason == "killed by bob before it was started"
    assert [line["reason"] for line in of(lines, "task.over")] == [task.reason]


async def test_a_rescheduled_task_names_the_sender(scene: Scene) -> None:
    await scene.add(1, cmd="sleep 60")
    async with scene.running():
        await scene.until(RUNNING)
        await scene.stores.tasks.ask(1, Intent.RESCHEDULE, at=clock.now(), statuses=[RUNNING], by="bob")
        await scene.broker.tell_watcher_asked()

        async def again() -> bool:
            return (await scene.task()).attempt == 2

        await waiting.until(again, "it began again")
    assert "rescheduled" in [entry["note"] for entry in (await scene.task()).history]
