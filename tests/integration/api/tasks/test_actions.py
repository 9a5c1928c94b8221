"""Actions on tasks through HTTP on real stores: intents, changes, shares, samples, archive, deletion."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from jose import jwt

from shared import clock
from shared.lifecycle import Ending, TaskStatus
from shared.models.user import User
from shared.settings import DynamicField, Settings
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores

DAY = 24 * 3600.0


def good(answer: httpx.Response) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON), answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["code"])


async def add_running(gateway: Gateway, number: int = 1) -> None:
    await gateway.add_task(number, TaskStatus.RUNNING, placement=samples.placement(), started_at=samples.NOW, attempt=1)


async def add_over(gateway: Gateway, number: int, *, days: float = 1, user: str = "alice", **fields: Any) -> None:
    """Add a task that ended some days ago."""
    ended = clock.now() - days * DAY
    await gateway.add_task(
        number, TaskStatus.OVER, user=user, started_at=ended - 9, ended_at=ended, ending=Ending.EXITED, **fields
    )


# --- intents ----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["suspend", "resume", "reschedule"])
async def test_an_intent_for_a_running_task_is_recorded(gateway: Gateway, alice: User, action: str) -> None:
    await add_running(gateway)
    shown = good(await gateway.ask("GET", f"/task/1/{action}", alice))
    assert (shown["id"], shown["status"]["secondary"]) == (1, f"{action} requested")
    assert (await gateway.task(1)).intent == action


@pytest.mark.parametrize(
    ("action", "secondary"), [("suspend", "suspend rejected"), ("resume", "resume rejected"), ("reschedule", None)]
)
async def test_an_intent_for_a_waiting_task_is_rejected(
    gateway: Gateway, alice: User, action: str, secondary: str | None
) -> None:
    await gateway.add_task(1)
    assert good(await gateway.ask("GET", f"/task/1/{action}", alice))["status"]["secondary"] == secondary
    assert (await gateway.task(1)).intent is None


@pytest.mark.parametrize("action", ["suspend", "resume", "reschedule"])
async def test_an_intent_for_a_finished_task_is_refused_with_an_alternative(
    gateway: Gateway, alice: User, action: str
) -> None:
    await add_over(gateway, 7)
    await gateway.add_task(8, TaskStatus.ARCHIVED)
    for number in (7, 8):
        answer = await gateway.ask("GET", f"/task/{number}/{action}", alice)
        assert refused(answer, 409) == "conflict"
        assert f"POST to /api/1.0/task the document that GET /api/1.0/task/{number} answers" in answer.json()["detail"]
    # And that is true.
    document = good(await gateway.ask("GET", "/task/7", alice))
    assert good(await gateway.ask("POST", "/task", alice, json=document))["id"] not in (7, 8)


# --- changes ----------------------------------------------------------------------------------


async def test_only_dynamic_fields_are_changed_and_by_those_who_may(settings: Settings) -> None:
    fields = [DynamicField(name="site"), DynamicField(name="ticket", admin_only=True)]
    async with gateways.opened(settings.model_copy(update={"dynamic_fields": fields})) as gateway:
        alice, admin = await gateway.add_user("alice"), await gateway.add_user("admin", admin=True)
        await gateway.add_task(1)
        assert good(await gateway.ask("PUT", "/task/1", alice, json={"name": "site", "value": 6})) == {
            "name": "site",
            "value": "6",
        }
        assert refused(await gateway.ask("PUT", "/task/1", alice, json={"name": "ticket", "value": "9"}), 403)
        assert good(await gateway.ask("PUT", "/task/1", admin, json={"name": "ticket", "value": "9"}))
        assert refused(await gateway.ask("PUT", "/task/1", admin, json={"name": "cpu", "value": "9"}), 422)
        shown = good(await gateway.ask("GET", "/task/1", alice))["requirements"]
        assert (shown["site"], shown["ticket"], shown["cpu"]) == ("6", "9", 1)
        await add_over(gateway, 2)
        assert refused(await gateway.ask("PUT", "/task/2", alice, json={"name": "site", "value": "x"}), 409)


# --- sharing ----------------------------------------------------------------------------------


async def test_a_share_token_opens_one_task_until_it_is_revoked(gateway: Gateway, alice: User, bob: User) -> None:
    await gateway.add_task(1)
    await gateway.add_task(2)
    assert refused(await gateway.ask("GET", "/task/1/share", bob), 404)
    token = good(await gateway.ask("GET", "/task/1/share", alice))["token"]
    assert good(await gateway.ask("GET", f"/task/1?share={token}"))["id"] == 1
    assert good(await gateway.ask("GET", "/task/1", headers={"X-GODOCKER-SHARE": token}))["id"] == 1
    assert refused(await gateway.ask("GET", f"/task/2?share={token}"), 404)
    assert good(await gateway.ask("GET", "/task/1/unshare", alice)) == {"msg": "Task is no longer shared"}
    assert refused(await gateway.ask("GET", f"/task/1?share={token}"), 404)


async def test_a_share_token_stays_the_same_until_a_new_one_is_requested(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    first, again = [good(await gateway.ask("GET", "/task/1/share", alice)) for _ in range(2)]
    assert again == first
    assert abs(first["expires"] - clock.now() - gateway.settings.share_timeout) < 60
    assert good(await gateway.http.get(first["url"]))["id"] == 1
    assert first["files_url"] == f"/api/1.0/task/1/share/{first['token']}/files/"
    new = good(await gateway.ask("GET", "/task/1/share?new=true", alice))
    assert new["token"] != first["token"]
    assert refused(await gateway.http.get(first["url"]), 404)
    assert good(await gateway.http.get(new["url"]))["id"] == 1
    stored = await gateway.stores.database["tasks"].find_one({"_id": 1})
    assert new["token"] not in str(stored)


async def test_concurrent_shares_of_a_task_get_one_token(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    answers = await asyncio.gather(*(gateway.ask("GET", "/task/1/share", alice) for _ in range(3)))
    (token,) = {good(answer)["token"] for answer in answers}
    assert good(await gateway.ask("GET", f"/task/1?share={token}"))["id"] == 1


@pytest.mark.parametrize("share", [{"nonce": None}, {"until": 5.0}, {"nonce": "made with another secret"}])
async def test_a_token_that_cannot_be_recreated_is_replaced(
    gateway: Gateway, alice: User, share: dict[str, Any]
) -> None:
    await gateway.add_task(1)
    old = good(await gateway.ask("GET", "/task/1/share", alice))["token"]
    changes = {f"share.{name}": value for name, value in share.items()}
    await gateway.stores.database["tasks"].update_one({"_id": 1}, {"$set": changes})
    new = good(await gateway.ask("GET", "/task/1/share", alice))["token"]
    assert new != old
    assert good(await gateway.ask("GET", f"/task/1?share={new}"))["id"] == 1


@pytest.mark.parametrize("path", ["/task/1/archive", "/archive/0"])
async def test_files_are_archived_by_post_as_well(gateway: Gateway, alice: User, path: str) -> None:
    await add_over(gateway, 1, days=1)
    assert (await gateway.ask("POST", path, alice)).status_code == 200
    assert str((await gateway.task(1)).status) == "archived"


async def test_a_task_as_a_token_says_what_the_task_is(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    token = good(await gateway.ask("GET", "/task/1/token", alice))["token"]
    secret = gateway.settings.shared_secret_passphrase.get_secret_value()
    claims = jwt.decode(token, secret, algorithms=["HS256"], audience="task")
    assert claims["task"] == good(await gateway.ask("GET", "/task/1", alice))


# --- samples ----------------------------------------------------------------------------------


async def test_samples_of_a_task_are_shown_oldest_first(gateway: Gateway, alice: User) -> None:
    await add_running(gateway)
    await gateway.add_task(2)
    assert good(await gateway.ask("GET", "/task/1/monitor", alice)) == []
    rest = {"cpu_percent": 50.0, "memory": 1, "memory_limit": 2, "network_rx": 3, "network_tx": 4, "pids": 5}
    taken = [{"timestamp": samples.NOW + second, **rest} for second in range(3)]
    for sample in taken:
        await gateway.context.broker.add_samples({1: sample})
    assert good(await gateway.ask("GET", "/task/1/monitor", alice)) == taken
    assert refused(await gateway.ask("GET", "/task/2/monitor", alice), 404) == "not_found"


# --- archive and deletion ---------------------------------------------------------------------


async def test_an_archived_task_stays_and_a_deleted_one_is_gone(gateway: Gateway, alice: User, bob: User) -> None:
    await add_over(gateway, 1)
    await gateway.add_task(2)
    for method in ("GET", "DELETE"):
        assert refused(await gateway.ask(method, "/task/1/archive", bob), 404)
        assert refused(await gateway.ask(method, "/task/2/archive", alice), 409)
    for _ in range(2):
        assert good(await gateway.ask("GET", "/task/1/archive", alice))["status"]["primary"] == "archived"
    assert good(await gateway.ask("DELETE", "/task/1/archive", alice))["id"] == 1
    assert refused(await gateway.ask("GET", "/task/1", alice), 404)


async def test_old_tasks_are_archived_and_deleted_the_caller_s_own(gateway: Gateway, alice: User, bob: User) -> None:
    await add_over(gateway, 1, days=40)
    await add_over(gateway, 2, days=20)
    await add_over(gateway, 3, days=40, user="bob")
    assert good(await gateway.ask("GET", "/archive/30", alice)) == [1]
    assert good(await gateway.ask("GET", "/archive/30", alice)) == []
    assert [str((await gateway.task(number)).status) for number in (1, 2, 3)] == ["archived", "over", "over"]
    assert good(await gateway.ask("DELETE", "/archive/30?tag=none", alice)) == []
    assert good(await gateway.ask("DELETE", "/archive/10", alice)) == [1, 2]
    assert good(await gateway.ask("GET", "/task/over", alice)) == []
    assert [task["id"] for task in good(await gateway.ask("GET", "/task/over", bob))] == [3]


async def test_finished_tasks_are_listed_up_to_the_requested_number(gateway: Gateway, alice: User, admin: User) -> None:
    for number in range(1, 7):
        await add_over(gateway, number, days=number, user=["alice", "bob"][number % 2])

    async def ids(path: str, by: User, **options: Any) -> list[int]:
        return [task["id"] for task in good(await gateway.ask("POST", path, by, **options))]

    assert await ids("/task/over/all/0/0", admin) == [1, 2, 3, 4, 5, 6]
    assert await ids("/task/over/all/1/3", admin, json={}) == [2, 3, 4]
    assert await ids("/task/over/all/0/0", admin, json={"start": clock.now() - 2.5 * DAY}) == [1, 2]
    assert await ids("/task/over/all/0/9", admin, json={"end": clock.now() - 4.5 * DAY}) == [5, 6]
    assert await ids("/task/over/0/0", alice, content=b"", headers={"Content-Type": "application/json"}) == [2, 4, 6]
    assert await ids("/task/over/2/1", alice) == [6]
    assert [task["id"] for task in good(await gateway.ask("GET", "/task/over/all?limit=2", admin))] == [1, 2]
    assert refused(await gateway.ask("POST", "/task/over/all/0/0", alice), 403)
