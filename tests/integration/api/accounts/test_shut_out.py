"""Nothing of an inactive or deleted user is served: sessions, shares, application tokens, recipes, mails."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from jose import jwt

from godocker.admin import accounts
from services.watcher.mail.outbox_writer import OutboxWriter
from shared import clock
from shared.auth.permissions import Action
from shared.lifecycle import Ending, TaskStatus
from shared.models.user import User
from tests.integration.api.accounts.test_permissions_matrix import EVERYBODY, ROWS, Caller, World, documented, world
from tests.support import samples
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

__all__ = ["world"]  # a fixture

WAYS = ["disabled", "disabled by command", "being deleted"]


async def shut_out(gateway: Gateway, root: User, way: str) -> None:
    if way == "disabled":
        answer = await gateway.ask("PUT", "/user/alice", by=root, json={"active": False})
        assert answer.status_code == 200
    elif way == "disabled by command":
        await accounts.activate(gateway.settings, "alice", active=False)
    else:
        assert (await gateway.ask("DELETE", "/user/alice", by=root)).status_code == 200


async def session(gateway: Gateway, user: str = "alice") -> dict[str, str]:
    answer = await gateway.ask("POST", "/authenticate", json={"user": user, "apikey": gateway.keys[user]})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def status(gateway: Gateway, path: str, headers: dict[str, str]) -> int:
    return (await gateway.ask("GET", path, headers=headers)).status_code


@pytest.fixture
async def root(gateway: Gateway) -> User:
    await gateway.add_user("alice", email="alice@lab.test")
    return await gateway.add_user("root", admin=True)


@pytest.mark.parametrize("way", WAYS[:2])
async def test_an_old_token_stays_void_when_its_user_is_activated_again(gateway: Gateway, root: User, way: str) -> None:
    before = await session(gateway)
    assert await status(gateway, "/task/active", before) == 200
    await shut_out(gateway, root, way)
    assert await status(gateway, "/task/active", before) == 401
    await gateway.ask("PUT", "/user/alice", by=root, json={"active": True})
    assert await status(gateway, "/task/active", before) == 401
    after = await session(gateway)
    assert await status(gateway, "/task/active", after) == 200
    await shut_out(gateway, root, way)
    await gateway.ask("PUT", "/user/alice", by=root, json={"active": True})
    assert {await status(gateway, "/task/active", each) for each in (before, after)} == {401}


async def test_a_token_survives_other_changes_of_its_user(gateway: Gateway, root: User) -> None:
    before = await session(gateway)
    for fields in ({"active": True}, {"email": "a@lab.test"}, {"usage": {"prio": 60}}):
        await gateway.ask("PUT", "/user/alice", by=root, json=fields)
    assert await status(gateway, "/task/active", before) == 200


async def test_a_guest_who_is_activated_again_must_log_in(gateway: Gateway, root: User) -> None:
    await gateway.add_user("gast", guest=True)
    before = await session(gateway, "gast")
    for active in (False, True):
        await gateway.ask("POST", "/guest/status", by=root, json={"id": "gast", "active": active})
    assert await status(gateway, "/task/active", before) == 401


@pytest.mark.parametrize("way", WAYS)
async def test_a_share_token_of_an_inactive_user_is_void(gateway: Gateway, root: User, way: str) -> None:
    await gateway.add_task(1)
    answer = await gateway.ask("GET", "/task/1/share", headers=await session(gateway))
    token = answer.json()["token"]
    paths = [f"/task/1?share={token}", f"/task/1/status?share={token}", f"/task/1/share/{token}/files/god.log"]
    assert [await status(gateway, path, {}) for path in paths] == [200, 200, 503], "no files service runs here"
    await shut_out(gateway, root, way)
    assert [await status(gateway, path, {}) for path in paths] == [404, 404, 404]


async def test_a_share_token_of_a_deleted_user_is_void(gateway: Gateway, root: User) -> None:
    await gateway.add_task(1)
    token = (await gateway.ask("GET", "/task/1/share", headers=await session(gateway))).json()["token"]
    await gateway.stores.users.shut_out("alice")
    await gateway.stores.users.remove("alice")
    assert await status(gateway, f"/task/1?share={token}", {}) == 404


@pytest.mark.parametrize("way", WAYS)
async def test_an_application_token_of_an_inactive_user_is_void(gateway: Gateway, root: User, way: str) -> None:
    made = await gateway.ask("POST", "/app/token", headers=await session(gateway), json={"name": "x"})
    token = made.json()["token"]
    secret = gateway.settings.shared_secret_passphrase.get_secret_value()
    bearer = {"Authorization": f"Bearer {jwt.encode({'app_token': token}, secret)}"}
    assert await status(gateway, f"/app/token/{token}/user", bearer) == 200
    await shut_out(gateway, root, way)
    assert await status(gateway, f"/app/token/{token}/user", bearer) == 404


@pytest.mark.parametrize("way", WAYS)
async def test_a_public_recipe_of_an_inactive_user_is_shown_only_to_admins(
    gateway: Gateway, root: User, way: str
) -> None:
    await gateway.add_task(1)
    body = {"description": "x", "task": 1, "public": True}
    made = await gateway.ask("POST", "/marketplace/recipe/mine", headers=await session(gateway), json=body)
    assert made.status_code == 200
    listed = [{"id": "mine", "description": "x"}]
    assert (await gateway.ask("GET", "/marketplace/recipe")).json() == listed
    await shut_out(gateway, root, way)
    assert (await gateway.ask("GET", "/marketplace/recipe")).json() == []
    assert await status(gateway, "/marketplace/recipe/mine", {}) == 404
    assert (await gateway.ask("GET", "/marketplace/recipe/mine", by=root)).status_code == 200


async def test_an_inactive_user_gets_no_mail(gateway: Gateway, root: User) -> None:
    over = {"ending": Ending.EXITED, "ended_at": samples.NOW, "exit_code": 0, "told": -1}
    await gateway.add_task(1, TaskStatus.OVER, **over)
    await shut_out(gateway, root, "disabled")
    notifier = OutboxWriter(gateway.stores, gateway.context.directories, poll=1)
    await notifier._write_some()
    assert await gateway.stores.database["outbox"].count_documents({}) == 0
    assert (await gateway.task(1)).told is None


@pytest.mark.parametrize("route", documented(), ids=" ".join)
async def test_no_route_serves_an_inactive_user(world: World, route: tuple[str, str]) -> None:
    """As `test_a_route_answers_each_caller_as_its_row_says`, with everybody's accounts disabled but the admin's."""
    row = ROWS[route]
    here = world._sharing
    for name in ("otto", "mia", "olga"):
        await here.stores.users.change(name, {"active": False})
    callers = [Caller.SHARED, Caller.OTHER, Caller.APART, Caller.MEMBER, Caller.OWNER]
    answers = {caller: await world.ask(caller, route[0], row) for caller in callers}
    public = {"/ping", "/config", "/usage", "/health", "/authenticate", "/prometheus", "/task/status/all/count"}
    refusals = {401, 404} if row.action is Action.SEE_TASK or "share" in row.path or "recipe" in row.path else {401}
    if row.path in public:
        return
    if "{app_secret}" in row.path:
        refusals = {404}
    if row.statuses == EVERYBODY and answers[Caller.SHARED] == 200:
        del answers[Caller.SHARED]  # public, needs no token
    assert set(answers.values()) <= refusals, answers


# --- a new key ---------------------------------------------------------------------------------------


async def handed_on(gateway: Gateway) -> tuple[str, str]:
    """A share token and an application token of alice."""
    await gateway.add_task(1)
    await gateway.add_task(2)
    headers = await session(gateway)
    share = (await gateway.ask("GET", "/task/1/share", headers=headers)).json()["token"]
    app = (await gateway.ask("POST", "/app/token", headers=headers, json={"name": "x"})).json()["token"]
    return share, app


async def app_answer(gateway: Gateway, token: str) -> int:
    secret = gateway.settings.shared_secret_passphrase.get_secret_value()
    bearer = {"Authorization": f"Bearer {jwt.encode({'app_token': token}, secret)}"}
    return await status(gateway, f"/app/token/{token}/user", bearer)


async def test_a_new_key_comes_with_a_warning_about_tokens_that_stay_valid(gateway: Gateway, root: User) -> None:
    share, app = await handed_on(gateway)
    before = await session(gateway)
    answer = (await gateway.ask("DELETE", "/user/alice/apikey", headers=before)).json()
    said = "1 application token and 1 share of a task stay good"
    assert answer["warnings"] == [f"{said}: ?all=true ends these as well"]
    assert (await accounts.replace_key(gateway.settings, "alice")).still_valid == said
    assert await status(gateway, "/task/active", before) == 401
    assert (await status(gateway, f"/task/1?share={share}", {}), await app_answer(gateway, app)) == (200, 200)


@pytest.mark.parametrize("way", ["by request", "by command"])
async def test_a_new_key_revokes_shares_and_application_tokens_on_request(
    gateway: Gateway, root: User, way: str
) -> None:
    share, app = await handed_on(gateway)
    if way == "by request":
        answer = (await gateway.ask("DELETE", "/user/alice/apikey?all=true", by=root)).json()
        assert set(answer) == {"apikey"}
    else:
        new = await accounts.replace_key(gateway.settings, "alice", everything=True)
        assert new.still_valid is None
    assert (await status(gateway, f"/task/1?share={share}", {}), await app_answer(gateway, app)) == (404, 404)


# --- public recipes -------------------------------------------------------------------------------------


async def recipe(gateway: Gateway, method: str, by: User, body: dict[str, Any], name: str = "r") -> int:
    return (await gateway.ask(method, f"/marketplace/recipe/{name}", by=by, json=body)).status_code


async def test_a_task_of_another_member_never_becomes_a_public_recipe(gateway: Gateway) -> None:
    alice, bob = await gateway.add_user("alice"), await gateway.add_user("bob")
    root = await gateway.add_user("root", admin=True)
    await gateway.add_project("lab", members=["alice", "bob"])
    gateway.settings.__dict__["share_project_tasks"] = True
    await gateway.add_task(1, user="alice", project="lab")
    await gateway.add_task(2, user="bob", project="lab")
    text = {"description": "x"}
    assert await recipe(gateway, "POST", bob, {**text, "task": 1, "public": True}) == 403
    assert await recipe(gateway, "POST", bob, {**text, "task": 1}) == 200, "to start from it oneself is fine"
    assert await recipe(gateway, "PUT", bob, {"public": True}) == 403
    assert await recipe(gateway, "POST", bob, {**text, "task": 2, "public": True}, "own") == 200
    assert await recipe(gateway, "PUT", bob, {"task": 1}, "own") == 403
    assert await recipe(gateway, "PUT", bob, {"task": 1, "public": False}, "own") == 200
    assert await recipe(gateway, "PUT", bob, {"public": True}, "own") == 403
    assert await recipe(gateway, "PUT", root, {"public": True}, "own") == 200
    assert await recipe(gateway, "PUT", bob, {"description": "y"}, "own") == 200
    assert await recipe(gateway, "POST", alice, {**text, "task": 1, "public": True}, "alices") == 200


async def test_a_recipe_of_an_earlier_version_is_made_public_by_the_owner_of_its_task(gateway: Gateway) -> None:
    alice, bob = await gateway.add_user("alice"), await gateway.add_user("bob")
    await gateway.add_task(1, user="alice")
    for number, owner in enumerate((alice, bob)):
        old = {"_id": f"r{number}", "description": "", "task": 1, "public": False, "owner": owner.id, "spec": {}}
        await gateway.stores.database["recipes"].insert_one({**old, "created_at": 1.0})
    assert await recipe(gateway, "PUT", alice, {"public": True}, "r0") == 200
    assert await recipe(gateway, "PUT", bob, {"public": True}, "r1") == 403


# --- bills -------------------------------------------------------------------------------------------------


async def test_a_new_project_does_not_show_the_bill_of_an_old_one_of_its_name(gateway: Gateway) -> None:
    root = await gateway.add_user("root", admin=True)
    now = clock.now()
    year, month = time.gmtime(now)[:2]
    before = samples.NOW  # November 2023
    await gateway.add_project("lab", created_at=before - 100)
    await gateway.add_usage(1, user="alice", project="lab", at=before)
    await gateway.add_usage(2, user="alice", project="lab", at=now - 5)
    paths = ["/project/lab/billing/2023/11", f"/project/lab/billing/{year}/{month}"]

    async def bills() -> list[float]:
        answers = [(await gateway.ask("GET", path, by=root)).json() for path in paths]
        return [sum(row["totaltime"] for row in rows) for rows in answers]

    assert await bills() == [10.0, 10.0]
    assert await bills() == [10.0, 10.0], "also where the month is remembered"
    assert (await gateway.ask("DELETE", "/project/lab", by=root)).status_code == 200
    assert (await gateway.ask("POST", "/project", by=root, json={"id": "lab"})).status_code == 200
    assert await bills() == [0, 0]
    assert [(await gateway.ask("GET", f"{path}?force=true", by=root)).json() for path in paths] == [[], []]


# --- restricted by the configuration ---------------------------------------------------------------------------


async def test_the_list_of_images_can_require_a_token(gateway: Gateway) -> None:
    alice = await gateway.add_user("alice")
    for path in ("/image", "/image/busybox"):
        assert await status(gateway, path, {}) == 200
    gateway.settings.__dict__["images_public"] = False
    for path in ("/image", "/image/busybox"):
        assert await status(gateway, path, {}) == 401
        assert (await gateway.ask("GET", path, by=alice)).status_code == 200


# --- claims ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["sub", "key", "exp", "iat", "aud", "iss"])
@pytest.mark.parametrize("value", ["ключ", "\ud800", "", 0, -1, 1e400, float("nan"), None, [], {}, True, "9" * 5000])
async def test_any_odd_claim_answers_401(gateway: Gateway, claim: str, value: Any) -> None:
    alice = await gateway.add_user("alice")
    secret = gateway.settings.secret_passphrase.get_secret_value()
    if claim == "iat" and isinstance(value, int):
        return  # any time will do
    claims: dict[str, Any] = jwt.get_unverified_claims(gateway.token(alice))
    claims[claim] = value
    if isinstance(value, str) and "\ud800" in value:
        claims[claim] = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    token = signed(claims, secret)
    assert await status(gateway, "/task/active", {"Authorization": f"Bearer {token}"}) == 401


def signed(claims: dict[str, Any], secret: str) -> str:
    """A token with any claims, including those that a JWT library would refuse to sign."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    body = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (body + b"." + part(hmac.new(secret.encode(), body, hashlib.sha256).digest())).decode()
