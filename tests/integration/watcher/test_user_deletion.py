"""A user is deleted completely, safe against a crash at any step."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from services.watcher.cleanup.purge import Purger
from services.watcher.cleanup.user_deletion import UserDeletions
from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models.app_token import AppToken
from shared.models.notice import Notice
from shared.models.receipt import RequestKey
from shared.models.recipe import Recipe
from shared.models.task import Place
from shared.models.transitions import Transition
from shared.models.user import Deletion
from shared.runtime import lifetime
from shared.settings import Settings
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores


class Died(Exception):
    """The simulated death of the process."""


@pytest.fixture
async def world(gateway: Gateway) -> Gateway:
    """Yield a system with alice, who will be deleted, and bob, each with one of everything."""
    for number, name in enumerate(("alice", "bob")):
        await gateway.add_user(name)
        for task_id in (10 * number + 1, 10 * number + 2):
            await gateway.add_task(task_id, TaskStatus.OVER, user=name, ended_at=samples.NOW)
            directory = gateway.context.directories.path(Place(task_id))
            directory.mkdir(parents=True)
            (directory / "god.log").write_text("done")
        await gateway.add_task(10 * number + 3, user=name)
        await gateway.add_usage(10 * number + 1, user=name, at=samples.NOW)
        storage = gateway.settings.shared_dir / "users" / name
        (storage / "deep" / "er").mkdir(parents=True)
        (storage / "deep" / "er" / "data").write_text("mine")
        recipe = Recipe(id=f"of-{name}", description="", task=1, owner=name, spec={}, created_at=1)
        await gateway.stores.recipes.add(recipe)
        token = AppToken(id=f"of-{name}", user=name, name="x", hash=name, created_at=1)
        await gateway.stores.app_tokens.add(token)
        receipt = RequestKey(name, "key", "body").receipt([1], now=samples.NOW)
        await gateway.stores.database["receipts"].insert_one(receipt.model_dump(by_alias=True))
        mail = Notice(id=f"{number}-1-over", user=name, to=f"{name}@lab.test", subject="x", text="x", at=samples.NOW)
        await gateway.stores.outbox.write([mail])
        await gateway.add_project(f"of-{name}", owner=name, members=["alice", "bob"])
    await gateway.stores.deletions.ask(Deletion(id="alice", asked_by="admin", asked_at=samples.NOW))
    return gateway


def retention(gateway: Gateway, holder: str = "one") -> UserDeletions:
    return UserDeletions(gateway.stores, gateway.context.broker, gateway.settings, holder=holder)


async def end_killed(gateway: Gateway) -> None:
    """Kill waiting tasks like the watcher."""
    for task in await gateway.stores.work.kills_of_waiting():
        fields = {"ending": Ending.KILLED, "ended_at": samples.NOW, "intent": None}
        move = Transition(task.id, task.attempt, task.status, TaskStatus.OVER, at=samples.NOW, fields=fields)
        await gateway.stores.tasks.transition(move)


async def purge(gateway: Gateway) -> None:
    """Run one pass of the purger."""
    stop = asyncio.Event()
    purger = Purger(gateway.stores, gateway.context.directories, poll=0.01)
    running = asyncio.create_task(purger.run(stop), name="purger")

    async def nothing_left() -> bool:
        return not await gateway.stores.work.to_purge(limit=1)

    await waiting.until(nothing_left, "all is purged that can be")
    stop.set()
    await running


async def delete_all(gateway: Gateway, holder: str = "one") -> None:
    """Repeat the steps until nothing is left, like the services."""
    (deletion,) = await gateway.stores.deletions.list()
    for _ in range(5):
        if await retention(gateway, holder).go_on(deletion):
            return
        await end_killed(gateway)
        await purge(gateway)
    raise AssertionError("the deletion does not come to its end")


async def left_of(gateway: Gateway, name: str) -> dict[str, Any]:
    """Return what is left of a user in the stores and on the disk."""
    database = gateway.stores.database
    number = 0 if name == "alice" else 1
    paths = [gateway.context.directories.path(Place(10 * number + task_id)) for task_id in (1, 2)]
    paths.append(gateway.settings.shared_dir / "users" / name)
    return {
        "users": await database["users"].count_documents({"_id": name}),
        "tasks": await database["tasks"].count_documents({"user.id": name}),
        "usage": await database["usage"].count_documents({"user": name}),
        "recipes": await database["recipes"].count_documents({"owner": name}),
        "app_tokens": await database["app_tokens"].count_documents({"user": name}),
        "outbox": await database["outbox"].count_documents({"user": name}),
        "receipts": await database["receipts"].count_documents({"_id": {"$regex": f"^{name}:"}}),
        "owned": await database["projects"].count_documents({"owner": name}),
        "member": await database["projects"].count_documents({"members": name}),
        "deletions": await database["deletions"].count_documents({"_id": name}),
        "paths": len([path for path in paths if path.exists()]),
    }


ALL_OF_BOB = {
    "users": 1,
    "tasks": 3,
    "usage": 1,
    "recipes": 1,
    "app_tokens": 1,
    "outbox": 1,
    "receipts": 1,
    "owned": 1,
    "member": 2,
    "deletions": 0,
    "paths": 3,
}
NOTHING = dict.fromkeys(ALL_OF_BOB, 0)


async def test_nothing_is_left_of_a_deleted_user_and_everything_of_others(world: Gateway) -> None:
    assert (await left_of(world, "alice"))["tasks"] == 3
    await delete_all(world)
    assert await left_of(world, "alice") == NOTHING
    assert await left_of(world, "bob") == ALL_OF_BOB
    project = await world.stores.projects.get("of-alice")
    assert project is not None
    assert (project.owner, project.members) == (None, ["bob"])


#: The points where the process may die: before each step.
STEPS = (
    ("users", "shut_out"),
    ("owned", "kill_all"),
    ("owned", "count_unfinished"),
    ("owned", "purge_all"),
    ("usage", "remove_of"),
    ("projects", "leave_all"),
    ("recipes", "remove_of"),
    ("app_tokens", "remove_of"),
    ("receipts", "remove_of"),
    ("outbox", "remove_of"),
    ("users", "remove"),
    ("deletions", "done"),
)


@pytest.mark.parametrize(("store", "step"), STEPS)
async def test_a_crash_before_any_step_leaves_it_to_the_next_watcher(
    world: Gateway, monkeypatch: pytest.MonkeyPatch, store: str, step: str
) -> None:
    async def die(*_: Any, **__: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(type(getattr(world.stores, store)), step, die)
        with pytest.raises(Died):
            await delete_all(world)
    assert [deletion.id for deletion in await world.stores.deletions.list()] == ["alice"]
    await delete_all(world, holder="another")
    assert await left_of(world, "alice") == NOTHING
    assert await left_of(world, "bob") == ALL_OF_BOB


async def test_a_user_stays_until_its_runs_have_ended(world: Gateway) -> None:
    (deletion,) = await world.stores.deletions.list()
    await world.add_task(4, TaskStatus.RUNNING, placement=samples.placement(), attempt=1)
    assert not await retention(world).go_on(deletion)
    await end_killed(world)
    assert not await retention(world).go_on(deletion)
    left = await left_of(world, "alice")
    assert (left["users"], left["tasks"], left["usage"], left["paths"]) == (1, 4, 1, 3)
    # Over, and not accounted yet: its row would reappear after the others are gone.
    move = Transition(
        4, 1, TaskStatus.RUNNING, TaskStatus.OVER, at=samples.NOW, fields={"settled": False, "intent": None}
    )
    assert await world.stores.tasks.transition(move)
    assert not await retention(world).go_on(deletion)
    assert (await left_of(world, "alice"))["usage"] == 1
    await world.stores.tasks.settle([(4, 1)])
    await delete_all(world)
    assert await left_of(world, "alice") == NOTHING


async def test_nothing_is_removed_while_a_request_may_still_add_a_task(world: Gateway) -> None:
    (deletion,) = await world.stores.deletions.list()
    await retention(world).go_on(deletion)
    await end_killed(world)
    just_now = deletion.model_copy(update={"asked_at": clock.now()})
    assert not await retention(world).go_on(just_now)
    assert not await world.stores.work.to_purge(limit=1)
    assert (await left_of(world, "alice"))["usage"] == 1
    await delete_all(world)
    assert await left_of(world, "alice") == NOTHING


async def test_a_task_in_admission_is_found(world: Gateway) -> None:
    (deletion,) = await world.stores.deletions.list()
    await retention(world).go_on(deletion)
    await end_killed(world)
    await world.add_task(5)
    await delete_all(world)
    assert await left_of(world, "alice") == NOTHING


async def test_links_do_not_lead_the_removal_outside(world: Gateway, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "keep").write_text("keep")
    storage = world.settings.shared_dir / "users" / "alice"
    for place in (storage, storage / "deep", world.context.directories.path(Place(1))):
        (place / "file").symlink_to(outside / "keep")
        (place / "folder").symlink_to(outside)
        os.link(outside / "keep", place / "hard")
        os.mkfifo(place / "pipe")
    await delete_all(world)
    assert await left_of(world, "alice") == NOTHING
    assert (outside / "keep").read_text() == "keep"
    assert (outside / "sub").is_dir()


async def test_a_link_in_place_of_the_storage_is_not_followed(world: Gateway, tmp_path: Path) -> None:
    storage = world.settings.shared_dir / "users" / "alice"
    storage.rename(tmp_path / "elsewhere")
    storage.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AssertionError, match="does not come to its end"):
        await delete_all(world)
    assert (tmp_path / "elsewhere" / "deep").is_dir()
    assert (await left_of(world, "alice"))["users"] == 1


async def test_without_redis_a_user_is_deleted_all_the_same(world: Gateway, redis_server: Any) -> None:
    redis_server.stop()
    await delete_all(world)
    assert await left_of(world, "alice") == NOTHING


async def test_a_name_can_be_given_again_only_after_the_deletion(world: Gateway) -> None:

    with pytest.raises(errors.Conflict):
        await world.add_user("alice")
    await delete_all(world)
    await world.add_user("alice")
    assert (await left_of(world, "alice"))["usage"] == 0


async def test_two_watchers_delete_together(world: Gateway, settings: Settings) -> None:
    stop = asyncio.Event()
    loops: dict[str, lifetime.Loop] = {
        "one": retention(world, "one").run,
        "two": retention(world, "two").run,
        "purger": Purger(world.stores, world.context.directories, poll=0.05).run,
        "other purger": Purger(world.stores, world.context.directories, poll=0.05).run,
    }
    running = asyncio.create_task(lifetime.run_loops(loops, stop=stop), name="watchers")

    async def gone() -> bool:
        await end_killed(world)
        return await left_of(world, "alice") == NOTHING

    try:
        await waiting.until(gone, "nothing is left of alice")
        assert await left_of(world, "bob") == ALL_OF_BOB
    finally:
        stop.set()
        await running
