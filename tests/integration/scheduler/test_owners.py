"""Held owners: tasks of disabled users and former members of a project do not start. Killed tasks leave the book."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.service import SchedulerService
from shared.lifecycle import Ending, IntentResult, TaskStatus
from shared.models.project import Project
from shared.models.task import Dependencies
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

PENDING, RUNNING, OVER = TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.OVER


async def explained(gateway: Gateway, task_id: int) -> list[dict[str, Any]]:
    root = await gateway.user("root")

    async def answered() -> Any:
        found = (await gateway.ask("GET", f"/task/{task_id}/explain", root)).json()
        return None if found["reasons"][0]["code"] == "no_scheduler" else found["reasons"]

    found: list[dict[str, Any]] = await waiting.until(answered, "a scheduler that leads has answered")
    return found


@pytest.mark.parametrize("full", [False, True], ids=["there is room", "room comes later"])
async def test_a_waiting_task_of_a_disabled_user_starts_once_they_are_enabled(
    scene: Scene, gateway: Gateway, *, full: bool
) -> None:
    await gateway.add_user("root", admin=True)
    await gateway.add_user("alice")
    await gateway.add_user("bob")
    async with scene.running():
        if full:
            await scene.add(1, cmd="sleep 600", cpu=8.0, user="bob")
            await scene.broker.enqueue([1])
            await scene.until(RUNNING, 1)
            await scene.add(2, cmd="sleep 600", cpu=1.0)
        await scene.stores.users.change("alice", {"active": False})
        if not full:
            await scene.add(2, cmd="sleep 600", cpu=1.0)
        await scene.add(3, cmd="sleep 600", cpu=1.0, user="bob")
        await scene.broker.enqueue([2, 3])
        if full:
            await scene.kill(1)
        await scene.until(RUNNING, 3)  # it came later, and is another's

        async def is_shown() -> bool:
            root = await gateway.user("root")
            status = (await gateway.ask("GET", "/task/2", root)).json()["status"]
            return "alice is disabled" in (status["reason"] or "")

        await waiting.until(is_shown, "the status has the reason")
        assert [reason["code"] for reason in await explained(gateway, 2)] == ["user_disabled"]
        assert (await scene.task(2)).attempt == 0
        await scene.stores.users.change("alice", {"active": True})
        await scene.until(RUNNING, 2)


async def test_no_task_starts_for_a_user_who_is_disabled_during_planning(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.stores.users.add(samples.user("alice"))
    commit = scene.scheduler()._dispatcher.commit.__func__  # type: ignore[attr-defined]

    async def late(self: Any, placements: Any, *, epoch: int) -> Any:
        await scene.stores.users.change("alice", {"active": False})
        return await commit(self, placements, epoch=epoch)

    monkeypatch.setattr("services.scheduler.start.dispatch.Dispatcher.commit", late)
    await scene.add(1, cmd="sleep 600")
    scheduler = scene.scheduler()
    async with scene.running(scheduler, scene.watcher()):
        await scene.broker.enqueue([1])
        await waiting.until(lambda: scheduler._owners.held, "it is seen that nothing of theirs is started")
    assert (await scene.task(1)).attempt == 0
    assert not scene.executor.starts


async def test_tasks_of_a_deleted_project_still_start(scene: Scene) -> None:
    await scene.stores.projects.add(Project(id="lab", members=["alice"]))
    await scene.add(1, cmd="sleep 600", project="lab")
    await scene.stores.projects.remove("lab")
    async with scene.running():
        await scene.broker.enqueue([1])
        await scene.until(RUNNING, 1)


# --- what was killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heard", [True, False], ids=["by hint", "by audit"])
async def test_a_waiting_task_that_is_killed_leaves_the_book_and_its_reservation_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, heard: bool
) -> None:
    if not heard:
        monkeypatch.setattr("shared.broker.broker.parse_gone", lambda _: [])
    scene.settings = scene.settings.model_copy(update={"reserve_after": 0.0})
    scheduler: SchedulerService = scene.scheduler()
    async with scene.running(scheduler, scene.watcher()):
        await scene.add(1, cmd="sleep 600", cpu=4.0)
        await scene.broker.enqueue([1])
        await scene.until(RUNNING, 1)
        await scene.add(2, cmd="sleep 600", cpu=8.0)
        await scene.add(3, cmd="sleep 600", cpu=4.0)
        await scene.broker.enqueue([2, 3])
        await waiting.until(
            lambda: scheduler._cycle.reservation is not None and scheduler._cycle.reservation.task_id == 2,
            "the node is kept for the second",
        )
        await scene.kill(2)
        found = await scene.until(OVER, 2)
        assert found.ending is Ending.KILLED
        await scene.until(RUNNING, 3)  # what was kept is free
        assert 2 not in scheduler._book
        assert scheduler._cycle.reservation is None


async def test_a_wrong_hint_removes_no_task_from_the_book(scene: Scene) -> None:
    scheduler = scene.scheduler()
    async with scene.running(scheduler, scene.watcher()):
        await scene.add(1, cmd="sleep 600", cpu=64.0)
        await scene.broker.enqueue([1])
        await waiting.until(lambda: 1 in scheduler._book, "the task is in the book")
        await scheduler._drop([1, 77])
        assert 1 in scheduler._book


# --- what is suspended ----------------------------------------------------------------------------------------


async def test_a_task_that_waits_for_a_suspended_one_or_its_room_is_explained(scene: Scene, gateway: Gateway) -> None:
    await gateway.add_user("root", admin=True)
    await scene.add(1, RUNNING, attempt=1, cpu=8.0, placement=samples.placement(), remark=IntentResult.SUSPENDED)
    await scene.add(2, cmd="sleep 600", cpu=1.0)
    await scene.add(3, cmd="sleep 600", depends=Dependencies(ok=[1]), waiting_on=[1])
    scheduler = scene.scheduler()
    async with scene.running(scheduler):
        await scene.broker.enqueue([2, 3])

        async def texts(task_id: int) -> str:
            return " ".join(reason["text"] for reason in await explained(gateway, task_id))

        async def is_shown() -> bool:
            return "1 task is suspended there" in await texts(2)

        await waiting.until(is_shown, "the task that waits for the room has the reason")
        assert "task 1, which is suspended" in await texts(3)
