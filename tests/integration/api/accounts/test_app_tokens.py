"""Application tokens through HTTP: shown once, valid for one question with the right bearer token."""

from __future__ import annotations

import time
from typing import Any

import pytest
from jose import jwt

from shared.models.user import User
from shared.store.accounts import app_tokens
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores


async def make(gateway: Gateway, by: User, name: str = "notebook") -> dict[str, str]:
    answer = await gateway.ask("POST", "/app/token", by, json={"name": name})
    assert answer.status_code == 200
    made: dict[str, str] = answer.json()
    return made


def bearer(gateway: Gateway, token: str, *, secret: str | None = None, algorithm: str = "HS256", **more: Any) -> str:
    key = secret or gateway.settings.shared_secret_passphrase.get_secret_value()
    return str(jwt.encode({"app_token": token, **more}, key, algorithm=algorithm))


async def who(gateway: Gateway, token: str, credentials: str | None) -> Any:
    headers = {"Authorization": f"Bearer {credentials}"} if credentials is not None else {}
    return await gateway.ask("GET", f"/app/token/{token}/user", headers=headers)


async def test_an_application_asks_who_its_user_is(gateway: Gateway, alice: User) -> None:
    made = await make(gateway, alice)
    answer = await who(gateway, made["token"], bearer(gateway, made["token"]))
    assert (answer.status_code, answer.json()["id"]) == (200, "alice")


async def test_a_token_is_shown_once_and_kept_as_a_hash(gateway: Gateway, alice: User) -> None:
    made = await make(gateway, alice)
    assert set(made) == {"id", "token"}
    (listed,) = (await gateway.ask("GET", "/app/token", alice)).json()
    assert (listed["id"], listed["name"]) == (made["id"], "notebook")
    document = await gateway.stores.database["app_tokens"].find_one({})
    assert made["token"] not in str(document) + str(listed)


async def test_a_bearer_that_was_not_made_for_the_token_is_refused(gateway: Gateway, alice: User) -> None:
    token, other = (await make(gateway, alice))["token"], (await make(gateway, alice))["token"]
    unsigned = "eyJhbGciOiJub25lIn0." + bearer(gateway, token).split(".")[1] + "."
    refused = {
        "none at all": None,
        "empty": "",
        "a session": gateway.token(alice),
        "the token itself": token,
        "another token": bearer(gateway, other),
        "another secret": bearer(gateway, token, secret="x" * 32),
        "the secret of sessions": bearer(gateway, token, secret=gateway.settings.secret_passphrase.get_secret_value()),
        "another algorithm": bearer(gateway, token, algorithm="HS512"),
        "no algorithm": unsigned,
        "past its end": bearer(gateway, token, exp=int(time.time()) - 10),
        "not yet": bearer(gateway, token, nbf=int(time.time()) + 1000),
        "no token in it": jwt.encode({}, gateway.settings.shared_secret_passphrase.get_secret_value()),
        "no text": bearer(gateway, {"$ne": ""}),  # type: ignore[arg-type]
        "huge": bearer(gateway, token, padding="x" * 5000),
    }
    for why, credentials in refused.items():
        answer = await who(gateway, token, credentials)
        assert answer.status_code == 401, why


async def test_an_unknown_token_is_not_found(gateway: Gateway, alice: User) -> None:
    made = await make(gateway, alice)
    credentials = bearer(gateway, made["token"])
    assert (await who(gateway, "unknown", bearer(gateway, "unknown"))).status_code == 404
    assert (await gateway.ask("DELETE", f"/app/token/{made['id']}", alice)).json() == {
        "msg": "the application token is deleted"
    }
    assert (await who(gateway, made["token"], credentials)).status_code == 404
    assert (await gateway.ask("DELETE", f"/app/token/{made['id']}", alice)).status_code == 404


async def test_a_token_of_an_inactive_user_is_void(gateway: Gateway, alice: User) -> None:
    token = (await make(gateway, alice))["token"]
    await gateway.stores.users.change("alice", {"active": False})
    assert (await who(gateway, token, bearer(gateway, token))).status_code == 404


async def test_users_see_only_their_own_tokens(gateway: Gateway, alice: User) -> None:
    made = await make(gateway, alice)
    bob = await gateway.add_user("bob")
    assert (await gateway.ask("GET", "/app/token", bob)).json() == []
    assert (await gateway.ask("DELETE", f"/app/token/{made['id']}", bob)).status_code == 404
    assert len((await gateway.ask("GET", "/app/token", alice)).json()) == 1


async def test_an_application_token_is_no_session(gateway: Gateway, alice: User) -> None:
    token = (await make(gateway, alice))["token"]
    for credentials in (token, bearer(gateway, token), bearer(gateway, token, sub="alice", aud="session")):
        headers = {"Authorization": f"Bearer {credentials}"}
        assert (await gateway.ask("GET", "/user/alice", headers=headers)).status_code == 401


async def test_the_number_of_tokens_per_user_is_limited(
    gateway: Gateway, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_tokens, "MOST", 2)
    for _ in range(2):
        await make(gateway, alice)
    assert (await gateway.ask("POST", "/app/token", alice, json={"name": "third"})).status_code == 409


async def test_an_invalid_name_is_refused(gateway: Gateway, alice: User) -> None:
    for document in ({}, {"name": ""}, {"name": {"$gt": ""}}, {"name": "a\nb"}, {"name": "x" * 101}, {"name": 7}):
        assert (await gateway.ask("POST", "/app/token", alice, json=document)).status_code == 422, document
