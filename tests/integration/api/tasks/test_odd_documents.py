"""Odd documents for every route of users, projects and the rest that takes one: an answer, no change."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.models.user import User
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

ROUTES = [
    ("PUT", "/user/alice"),
    ("POST", "/guest/status"),
    ("POST", "/project"),
    ("POST", "/project/lab"),
    ("POST", "/marketplace/recipe/new"),
    ("PUT", "/marketplace/recipe/old"),
    ("POST", "/app/token"),
    ("POST", "/prometheus"),
]

DEEP = b'{"a":' * 500 + b"1" + b"}" * 500
FIELDS = (
    "id",
    "email",
    "usage",
    "credentials",
    "members",
    "owner",
    "description",
    "task",
    "name",
    "key",
    "stat",
    "prio",
)
VALUES: list[bytes] = [
    b'{"$gt": ""}',
    b'{"$where": "sleep(5000)"}',
    b'[{"$ne": null}]',
    b'{"a.b": 1, "$set": {"admin": true}, "__proto__": {"admin": true}, "\\u0000": 1}',
    b"9" * 4300,
    b"-1e999",
    b'"\\ud800"',
    b'"\\u0000"',
    b"NaN",
    b"Infinity",
    DEEP,
]
WHOLE: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b"{} {}",
    DEEP,
    b"[" * 100_000,
    b'{"a": NaN}',
]


@pytest.fixture
async def admin(gateway: Gateway) -> User:
    await gateway.add_user("alice")
    await gateway.add_project("lab", owner="alice")
    await gateway.add_task(1)
    return await gateway.add_user("admin", admin=True)


async def everything(gateway: Gateway) -> dict[str, list[Any]]:
    names = ("users", "projects", "recipes", "app_tokens", "deletions", "maintenance")
    return {name: [document async for document in gateway.stores.database[name].find()] for name in names}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_an_odd_document_is_answered_and_changes_nothing(
    gateway: Gateway, admin: User, method: str, path: str
) -> None:
    before = await everything(gateway)
    documents = [*WHOLE, *(b'{"%s": %s}' % (name.encode(), value) for name in FIELDS for value in VALUES)]
    for document in documents:
        headers = {"Content-Type": "application/json"}
        answer = await gateway.ask(method, path, admin, content=document, headers=headers)
        assert answer.status_code < 500, document[:100]
        assert answer.status_code in (200, 400, 401, 404, 409, 422), document[:100]
        assert orjson.loads(answer.content)
    after = await everything(gateway)
    # Unknown names are ignored, and any plain text is valid: only the description may have changed.
    for collection in (after, before):
        for project in collection["projects"]:
            project.pop("description")
    assert after == before


async def test_a_repeated_field_counts_once(gateway: Gateway, admin: User) -> None:
    sent = b'{"email": "a@example.org", "email": {"$ne": ""}}'
    answer = await gateway.ask("PUT", "/user/alice", admin, content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert (await gateway.user("alice")).email is None


async def test_a_document_that_is_too_large_is_not_read(gateway: Gateway, admin: User) -> None:
    for method, path in ROUTES:
        answer = await gateway.ask(method, path, admin, content=b" " * (1024 * 1024 + 1))
        assert answer.status_code == 413
