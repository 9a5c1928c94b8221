"""Log in with API keys and with passwords of a real LDAP directory, through HTTP on real stores."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog

from services.api import app, context
from shared import errors
from shared.auth import apikeys
from shared.auth.providers import ldap
from shared.auth.providers.directory import Directory
from shared.broker import broker
from shared.models.user import Source, User
from shared.settings import Settings
from shared.store import stores
from shared.store.stores import Stores
from tests.support import samples
from tests.support.servers.ldap import PEOPLE, DirectoryServer

RIGHT = "correct horse"


class Gateway:
    """A gateway in this process, and its stores."""

    def __init__(self, http: httpx.AsyncClient, opened: Stores) -> None:
        self.http = http
        self.stores = opened

    async def log_in(self, user: str, secret: str) -> httpx.Response:
        return await self.http.post("/api/1.0/authenticate", json={"user": user, "apikey": secret})

    async def add(self, user_id: str, **fields: Any) -> str:
        """Add a local user and return the API key."""
        key = apikeys.generate()
        await self.stores.users.add(samples.user(user_id, apikey=key.stored, **fields))
        return key.secret

    async def user(self, user_id: str) -> User:
        found = await self.stores.users.get(user_id)
        assert found is not None
        return found


Serve = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """A gateway with other settings: `async with serve(auth_policy="ldap") as gateway`."""

    @asynccontextmanager
    async def serving(**changes: Any) -> AsyncIterator[Gateway]:
        configured = Settings(**{**settings.model_dump(), "authenticate_limit": 10_000, **changes})
        async with stores.connect(configured) as opened, broker.connect(configured) as hints:
            await opened.ensure_indexes()
            application = app.build(context.build(configured, opened, hints, frozenset()))
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as http:
                yield Gateway(http, opened)

    return serving


# --- API keys -----------------------------------------------------------------------------


async def test_an_unknown_user_a_wrong_key_and_a_disabled_user_get_one_and_the_same_answer(serve: Serve) -> None:
    async with serve() as gateway:
        await gateway.add("alice")
        key = await gateway.add("bob", active=False)
        answers = [
            await gateway.log_in("nobody", "wrong"),
            await gateway.log_in("alice", "wrong"),
            await gateway.log_in("bob", key),
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


# --- first and later logins -------------------------------------------------------------------


async def test_the_first_login_makes_a_user_with_the_numbers_home_mail_and_groups_of_the_directory(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("carol", RIGHT, uidNumber=30123)
    directory_server.set_group("biology", 31001, ["carol", "dave"])
    directory_server.set_group("physics", 31002, ["dave"])
    directory_server.set_group("wheel", 0, ["carol"])
    async with serve(**directory_server.settings()) as gateway:
        answer = await gateway.log_in("carol", RIGHT)
        user = await gateway.user("carol")
        token = answer.json()["token"]
        mine = await gateway.http.get("/api/1.0/task/active", headers={"Authorization": f"Bearer {token}"})
    assert (user.uid, user.gid, user.sgids, user.home) == (30123, 30000, [31001], "/home/carol")
    assert (user.email, user.admin, user.active, user.source) == ("carol@lab.test", False, True, Source.LDAP)
    assert mine.status_code == 200


async def test_a_later_login_refreshes_groups_home_and_mail_and_keeps_the_numbers(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    name = directory_server.add_person("carol", RIGHT, uidNumber=30123)
    async with serve(**directory_server.settings()) as gateway:
        await gateway.log_in("carol", RIGHT)
        before = await gateway.user("carol")
        directory_server.set(name, homeDirectory="/data/carol", mail="c@lab.test", uidNumber=30124)
        directory_server.set_group("biology", 31001, ["carol"])
        assert (await gateway.log_in("carol", RIGHT)).status_code == 200
        after = await gateway.user("carol")
    assert (after.uid, after.home, after.email, after.sgids) == (30123, "/data/carol", "c@lab.test", [31001])
    assert after.apikey == before.apikey, "sessions from before go on"


async def test_the_settings_name_the_admins_at_each_login(serve: Serve, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT, uidNumber=30123)
    directory_server.add_person("dave", RIGHT, uidNumber=30124)
    directory_server.add_person("erin", RIGHT, uidNumber=30125)
    directory_server.set_group("operators", 31001, ["dave"])
    settings = directory_server.settings(ldap_admins=["carol"], ldap_admin_group="operators")
    async with serve(**settings) as gateway:
        for login in ("carol", "dave", "erin"):
            await gateway.log_in(login, RIGHT)
        admins = [user.id for user in await gateway.stores.users.list() if user.admin]
        directory_server.set_group("operators", 31001, [])
        await gateway.log_in("dave", RIGHT)
        assert admins == ["carol", "dave"]
        assert not (await gateway.user("dave")).admin


async def test_two_first_logins_at_once_make_one_user(serve: Serve, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT)
    async with serve(**directory_server.settings()) as gateway:
        answers = await asyncio.gather(*(gateway.log_in("carol", RIGHT) for _ in range(6)))
        assert {answer.status_code for answer in answers} == {200}
        assert [user.id for user in await gateway.stores.users.list()] == ["carol"]


@pytest.mark.parametrize("login", ["Bob", "bob", "BOB"])
async def test_a_name_is_compared_as_the_directory_does_and_the_groups_of_the_entry_are_found(
    serve: Serve, directory_server: DirectoryServer, login: str
) -> None:
    directory_server.add_person("Bob", RIGHT, uidNumber=30123)
    directory_server.set_group("biology", 31001, ["Bob"])
    directory_server.set_group("physics", 31002, ["bob"])
    directory_server.set_group("operators", 31003, ["Bob"])
    settings = directory_server.settings(ldap_admin_group="Operators")
    async with serve(**settings) as gateway:
        for name in (login, "bob", "Bob"):
            assert (await gateway.log_in(name, RIGHT)).status_code == 200
            user = await gateway.user("bob")
            assert (user.uid, user.sgids, user.admin) == (30123, [31001, 31002, 31003], True)
        assert [user.id for user in await gateway.stores.users.list()] == ["bob"]


async def test_an_admin_of_the_settings_is_one_however_the_name_is_spelt(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("Bob", RIGHT)
    async with serve(**directory_server.settings(ldap_admins=["BOB"])) as gateway:
        await gateway.log_in("bob", RIGHT)
        assert (await gateway.user("bob")).admin


async def test_an_api_key_fits_its_owner_however_the_name_is_spelt(serve: Serve) -> None:
    async with serve() as gateway:
        key = await gateway.add("bob")
        assert (await gateway.log_in("Bob", key)).status_code == 200
        assert (await gateway.log_in("Bobby", key)).status_code == 401


async def test_a_name_that_differs_in_case_does_not_log_in_as_a_known_user(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("bob", RIGHT, uidNumber=30123)
    async with serve(**directory_server.settings()) as gateway:
        await gateway.log_in("bob", RIGHT)
        directory_server.fill()
        directory_server.add_person("Bob", RIGHT, uidNumber=30124)
        answer = await gateway.log_in("Bob", RIGHT)
        assert answer.status_code == 403
        assert "belongs to another user" in answer.json()["detail"]


PASSWORDS = [
    "plain",
    " spaces around ",
    "p\u00e4ssw\u00f6rt",
    "pa\u0308sswo\u0308rt",  # looks the same, but has other bytes
    "\u00a0no-break",
    "soft\u00adhyphen",
    "\ufb01ligature",
    "\u00bd half",
    "\uff21\uff22 wide",
    "\u043f\u0430\u0440\u043e\u043b\u044c",
    "\u5bc6\u7801",
    "\u0645\u0631\u062d\u0628\u0627",
    "a\u0645 both ways",
    "\U0001f511 key",
    "zero\u200bwidth",
    "tab\tand\u007f",
    "\u202eright",
    "\u1e9e new after 3.2",
    "\u00aa ordinal",
]


async def test_the_bytes_of_a_password_are_taken_as_they_are(serve: Serve, directory_server: DirectoryServer) -> None:
    async with serve(**directory_server.settings()) as gateway:
        for number, password in enumerate(PASSWORDS):
            directory_server.add_person(f"p{number}", password, uidNumber=30100 + number)
        refused = [
            password
            for number, password in enumerate(PASSWORDS)
            if (await gateway.log_in(f"p{number}", password)).status_code != 200
        ]
        assert refused == []
        assert (await gateway.log_in("p2", PASSWORDS[3])).status_code == 401


@pytest.mark.parametrize(("field", "name"), [("uidNumber", "uid"), ("gidNumber", "gid")])
async def test_a_number_that_no_engine_accepts_is_refused_at_login(
    serve: Serve, directory_server: DirectoryServer, field: str, name: str
) -> None:
    directory_server.add_person("carol", RIGHT, **{field: 2**31})
    async with serve(**directory_server.settings(executor="docker")) as gateway:
        answer = await gateway.log_in("carol", RIGHT)
        assert answer.status_code == 403
        assert f"its {name} 2147483648 is above 2147483647" in answer.json()["detail"]
    async with serve(**directory_server.settings(executor="process")) as gateway:
        assert (await gateway.log_in("carol", RIGHT)).status_code == 200
        assert (await gateway.user("carol")).model_dump()[name] == 2**31
    async with serve(**directory_server.settings(executor="docker")) as gateway:
        assert (await gateway.log_in("carol", RIGHT)).status_code == 403, "also of one who is known"


async def test_a_further_group_that_no_engine_takes_is_left_out_with_a_warning(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("carol", RIGHT)
    directory_server.set_group("biology", 31001, ["carol"])
    directory_server.set_group("mapped", 2**31, ["carol"])
    async with serve(**directory_server.settings(executor="docker")) as gateway:
        with structlog.testing.capture_logs() as lines:
            assert (await gateway.log_in("carol", RIGHT)).status_code == 200
        assert (await gateway.user("carol")).sgids == [31001]
    (told,) = [line for line in lines if line["event"] == "ldap.groups_left_out"]
    assert (told["user"], told["groups"], told["log_level"]) == ("carol", [2**31], "warning")


# --- refused logins -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("carol", ""),
        ("carol", "wrong"),
        ("carol", " "),
        ("carol", "\0"),
        ("nobody", RIGHT),
        ("carol ", RIGHT),
        ("c\u0430rol", RIGHT),  # a Cyrillic letter
        ("*", RIGHT),
        ("car*", RIGHT),
        ("carol)(uid=*", RIGHT),
        ("carol)(|(uid=*", RIGHT),
        (f"uid=carol,{PEOPLE}", RIGHT),
        ("", RIGHT),
    ],
)
async def test_nobody_gets_in_without_the_right_name_and_password(
    serve: Serve, directory_server: DirectoryServer, login: str, password: str
) -> None:
    directory_server.add_person("carol", RIGHT)
    async with serve(**directory_server.settings()) as gateway:
        answer = await gateway.log_in(login, password)
        assert answer.status_code == 401
        assert await gateway.stores.users.list() == []


@pytest.mark.parametrize("login", ["*", "car*", "carol)(uid=*", "carol)(|(uid=*", "nobody,ou=x", "a\\2a", ""])
def test_a_filter_holds_no_more_than_the_name_that_was_given(
    settings: Settings, directory_server: DirectoryServer, login: str
) -> None:
    """Tested below the check of the name's form, which would refuse these names."""
    directory_server.add_person("carol", RIGHT)
    directory = Directory(Settings(**{**settings.model_dump(), **directory_server.settings()}))
    assert directory.person("carol", RIGHT) is not None
    assert directory.person(login, RIGHT) is None


def test_a_name_of_two_people_is_nobodys(settings: Settings, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT, rdn="cn=first")
    directory_server.add_person("carol", RIGHT, rdn="cn=second", uidNumber=30002)
    directory = Directory(Settings(**{**settings.model_dump(), **directory_server.settings()}))
    assert directory.person("carol", RIGHT) is None


async def test_people_outside_of_the_filter_cannot_log_in(serve: Serve, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT, employeeType="staff")
    directory_server.add_person("dave", RIGHT, employeeType="visitor", uidNumber=30002)
    async with serve(**directory_server.settings(ldap_filter="(employeeType=staff)")) as gateway:
        assert (await gateway.log_in("carol", RIGHT)).status_code == 200
        assert (await gateway.log_in("dave", RIGHT)).status_code == 401


async def test_a_disabled_user_cannot_log_in_through_the_directory(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("carol", RIGHT)
    async with serve(**directory_server.settings()) as gateway:
        await gateway.log_in("carol", RIGHT)
        await gateway.stores.users.change("carol", {"active": False})
        wrong = await gateway.log_in("carol", "wrong")
        right = await gateway.log_in("carol", RIGHT)
        assert (right.status_code, right.content) == (401, wrong.content)
        assert not (await gateway.user("carol")).active


async def test_a_local_user_is_not_taken_over_by_a_namesake_in_the_directory(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("admin", RIGHT)
    async with serve(**directory_server.settings()) as gateway:
        key = await gateway.add("admin", admin=True)
        assert (await gateway.log_in("admin", RIGHT)).status_code == 401
        assert (await gateway.log_in("admin", key)).status_code == 200


@pytest.mark.parametrize("numbers", [{"uidNumber": 0}, {"gidNumber": 0}, {"uidNumber": None}])
async def test_nobody_becomes_root_or_a_user_without_numbers_by_way_of_the_directory(
    serve: Serve, directory_server: DirectoryServer, numbers: dict[str, Any]
) -> None:
    directory_server.add_person("carol", RIGHT, **numbers)
    async with serve(**directory_server.settings()) as gateway:
        answer = await gateway.log_in("carol", RIGHT)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
        assert await gateway.stores.users.list() == []


async def test_a_uid_of_another_user_is_not_shared(serve: Serve, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT, uidNumber=20001)
    async with serve(**directory_server.settings()) as gateway:
        await gateway.add("alice", uid=20001)
        answer = await gateway.log_in("carol", RIGHT)
        assert answer.status_code == 403
        assert "another user" in answer.json()["detail"]


# --- connections to the directory -----------------------------------------------------------------


@pytest.mark.parametrize("way", ["none", "starttls", "ldaps"])
async def test_people_log_in_over_each_kind_of_connection(
    serve: Serve, directory_server: DirectoryServer, way: str
) -> None:
    directory_server.add_person("carol", RIGHT)
    port = directory_server.tls_port if way == "ldaps" else directory_server.port
    async with serve(**directory_server.settings(ldap_tls=way, ldap_port=port)) as gateway:
        assert (await gateway.log_in("carol", RIGHT)).status_code == 200
        assert (await gateway.log_in("carol", "wrong")).status_code == 401


@pytest.mark.parametrize("way", ["starttls", "ldaps"])
async def test_a_directory_with_a_foreign_certificate_is_refused(
    serve: Serve, directory_server: DirectoryServer, way: str
) -> None:
    directory_server.add_person("carol", RIGHT)
    port = directory_server.tls_port if way == "ldaps" else directory_server.port
    async with serve(**directory_server.settings(ldap_tls=way, ldap_port=port, ldap_ca=None)) as gateway:
        assert (await gateway.log_in("carol", RIGHT)).status_code == 503


async def test_a_directory_whose_name_differs_from_its_certificate_is_refused(
    serve: Serve, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("carol", RIGHT)
    async with serve(**directory_server.settings(ldap_host="localhost")) as gateway:
        assert (await gateway.log_in("carol", RIGHT)).status_code == 503


@pytest.mark.parametrize(
    "changes",
    [
        {"ldap_admin_password": "wrong"},
        {"ldap_admin_dn": None, "ldap_admin_password": None},  # this directory allows no anonymous search
        {"ldap_dn": "dc=other,dc=test"},
    ],
)
async def test_a_directory_that_cannot_be_searched_is_unavailable_and_the_password_is_not_wrong(
    serve: Serve, directory_server: DirectoryServer, changes: dict[str, Any]
) -> None:
    directory_server.add_person("carol", RIGHT)
    async with serve(**directory_server.settings(**changes)) as gateway:
        answer = await gateway.log_in("carol", RIGHT)
        assert (answer.status_code, answer.json()["code"]) == (503, "directory_unavailable")


# --- a directory that does not answer ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "freeze"])
async def test_without_the_directory_only_api_keys_work(
    serve: Serve, directory_server: DirectoryServer, how: str
) -> None:
    directory_server.add_person("carol", RIGHT)
    async with serve(**directory_server.settings(ldap_timeout=1.0)) as gateway:
        key = await gateway.add("alice")
        assert (await gateway.log_in("carol", RIGHT)).status_code == 200
        getattr(directory_server, how)()
        began = time.monotonic()
        refused = await gateway.log_in("carol", RIGHT)
        waited = time.monotonic() - began
        assert (await gateway.log_in("alice", key)).status_code == 200
        assert (refused.status_code, refused.json()["code"]) == (503, "directory_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert waited < 5
        directory_server.thaw()
        directory_server.start()
        assert (await gateway.log_in("carol", RIGHT)).status_code == 200


async def test_other_requests_do_not_wait_for_logins_that_hang(serve: Serve, directory_server: DirectoryServer) -> None:
    async with serve(**directory_server.settings(ldap_timeout=2.0)) as gateway:
        key = await gateway.add("alice")
        directory_server.freeze()
        hanging = [asyncio.create_task(gateway.log_in("carol", RIGHT), name=f"login-{n}") for n in range(40)]
        await asyncio.sleep(0)
        began = time.monotonic()
        assert (await gateway.log_in("alice", key)).status_code == 200
        assert time.monotonic() - began < 1.5
        answers = await asyncio.gather(*hanging)
        assert {answer.status_code for answer in answers} == {503}


# --- timing ------------------------------------------------------------------------------------------


async def test_a_refusal_takes_as_long_for_an_unknown_user_as_for_a_wrong_password(
    settings: Settings, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("carol", RIGHT)
    configured = Settings(**{**settings.model_dump(), **directory_server.settings()})
    async with stores.connect(configured) as opened:
        provider = ldap.Ldap(Directory(configured), opened.users, deadline=10.0)

        async def seconds(login: str) -> float:
            began = time.perf_counter()
            assert await provider.authenticate(login, "wrong") is None
            return time.perf_counter() - began

        pairs = [(await seconds("carol"), await seconds("nobody")) for _ in range(12)]
    known, unknown = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert min(known, unknown) >= ldap.REFUSAL * 0.99
    assert abs(known - unknown) < 0.05 * known


async def test_a_refused_first_login_is_an_error_of_ours(settings: Settings, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT, uidNumber=0)
    configured = Settings(**{**settings.model_dump(), **directory_server.settings()})
    async with stores.connect(configured) as opened:
        provider = ldap.Ldap(Directory(configured), opened.users, deadline=10.0, refusal_seconds=0)
        with pytest.raises(errors.NotAllowed, match="uid"):
            await provider.authenticate("carol", RIGHT)
