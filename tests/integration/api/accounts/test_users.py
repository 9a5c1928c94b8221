"""Users through HTTP on real stores: access, changes, keys, usage, bills, kills."""

from __future__ import annotations

from typing import Any

import pytest

from shared import clock
from shared.lifecycle import Intent, TaskStatus
from shared.models.user import User
from tests.support import samples
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores

DAY = 86400.0


@pytest.fixture
async def alice(gateway: Gateway) -> User:
    return await gateway.add_user("alice", email="alice@example.org", sgids=[20003])


async def test_a_user_has_the_shape_that_clients_read(gateway: Gateway, alice: User) -> None:
    answer = await gateway.ask("GET", "/user/alice", alice)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    assert answer.json() == {
        "id": "alice",
        "uid": 20001,
        "gid": 20002,
        "sgids": [20003],
        "homeDirectory": "/home/alice",
        "email": "alice@example.org",
        "admin": False,
        "guest": False,
        "active": True,
        "credentials": {"apikey": gateway.keys["alice"][:6] + "......", "public": "", "private": ""},
        "usage": {"prio": 50, "quota_time": 0, "quota_cpu": 0, "quota_ram": 0, "disk": None},
        "last": None,
    }


async def test_only_an_admin_lists_the_users(gateway: Gateway, alice: User, admin: User) -> None:
    answer = await gateway.ask("GET", "/user", admin)
    assert [user["id"] for user in answer.json()] == ["admin", "alice"]
    assert answer.headers["content-type"] == JSON
    assert (await gateway.ask("GET", "/user", alice)).status_code == 403
    assert (await gateway.ask("GET", "/user")).status_code == 401


async def test_a_caller_without_the_right_does_not_learn_whether_a_user_exists(
    gateway: Gateway, alice: User, admin: User
) -> None:
    await gateway.add_user("bob")
    there, not_there = await gateway.ask("GET", "/user/bob", alice), await gateway.ask("GET", "/user/nobody", alice)
    assert (there.status_code, there.content) == (not_there.status_code, not_there.content)
    assert there.status_code == 403
    assert (await gateway.ask("GET", "/user/nobody", admin)).status_code == 404


async def test_a_whole_user_sent_back_with_another_address_changes_the_address(gateway: Gateway, alice: User) -> None:
    document = (await gateway.ask("GET", "/user/alice", alice)).json()
    document["email"] = "new@example.org"
    document["credentials"]["public"] = "ssh-ed25519 AAAA alice"
    answer = await gateway.ask("PUT", "/user/alice", alice, json=document)
    assert answer.status_code == 200
    assert answer.json() == document
    changed = await gateway.user("alice")
    assert changed == alice.model_copy(update={"email": "new@example.org", "public_key": "ssh-ed25519 AAAA alice"})


#: Privileges that a user could try to get; none of these fields is theirs to change.
FORBIDDEN: dict[str, Any] = {
    "id": "root",
    "_id": "root",
    "uid": 0,
    "gid": 0,
    "sgids": [0],
    "homeDirectory": "/root",
    "home": "/root",
    "guest": True,
    "last": 1,
    "created_at": 1,
    "deleting": True,
    "apikey": {"hash": "0" * 64, "hint": "x"},
    "credentials": {"apikey": "known", "private": "known"},
    "public_key": "direct",
    "$set": {"admin": True},
    "usage.prio": 100,
}
OF_ADMINS: dict[str, Any] = {
    "admin": True,
    "active": False,
    "usage": {"prio": 100, "quota_time": 1, "quota_cpu": 1, "quota_ram": 1, "disk": "1T"},
}


async def test_fields_that_a_user_may_not_change_are_ignored(gateway: Gateway, alice: User) -> None:
    for field, value in {**FORBIDDEN, **OF_ADMINS}.items():
        answer = await gateway.ask("PUT", "/user/alice", alice, json={field: value})
        assert answer.status_code == 200, field
        assert await gateway.user("alice") == alice, field


async def test_fields_that_nobody_may_change_are_ignored_from_an_admin_too(
    gateway: Gateway, alice: User, admin: User
) -> None:
    for field, value in FORBIDDEN.items():
        answer = await gateway.ask("PUT", "/user/alice", admin, json={field: value})
        assert answer.status_code == 200, field
        assert await gateway.user("alice") == alice, field


async def test_an_admin_changes_quotas_rights_and_whether_somebody_is_active(
    gateway: Gateway, alice: User, admin: User
) -> None:
    document = (await gateway.ask("GET", "/user/alice", admin)).json()
    document["usage"] = {"prio": "70", "quota_time": 3600, "quota_cpu": "12.5", "quota_ram": 8, "disk": "500M"}
    document["admin"] = True
    answer = await gateway.ask("PUT", "/user/alice", admin, json=document)
    usage = {"prio": 70, "quota_time": 3600, "quota_cpu": 12.5, "quota_ram": 8, "disk": "500M"}
    assert answer.json() == {**document, "usage": usage}
    changed = await gateway.user("alice")
    assert (changed.admin, changed.usage.model_dump()) == (True, usage)
    assert (await gateway.ask("PUT", "/user/alice", admin, json={"usage": {"disk": 1000}})).status_code == 200
    assert (await gateway.user("alice")).usage.disk == "1000"

    assert (await gateway.ask("PUT", "/user/alice", admin, json={"active": False})).json()["active"] is False
    assert (await gateway.ask("GET", "/user/alice", alice)).status_code == 401


async def test_nobody_changes_another_user(gateway: Gateway, alice: User) -> None:
    bob = await gateway.add_user("bob")
    answer = await gateway.ask("PUT", "/user/bob", alice, json={"email": "mine@example.org"})
    assert answer.status_code == 403
    assert await gateway.user("bob") == bob


OPERATORS: list[Any] = [{"$gt": ""}, {"$ne": None}, {"$regex": ".*"}, {"$where": "sleep(5000)"}, ["a"]]


@pytest.mark.parametrize("path", ["email", "credentials.public", "usage.disk", "usage.quota_cpu", "admin", "active"])
async def test_an_operator_where_a_value_belongs_is_refused(gateway: Gateway, alice: User, path: str) -> None:
    for value in OPERATORS:
        document: dict[str, Any] = {}
        samples.put(document, path, value)
        answer = await gateway.ask("PUT", "/user/alice", alice, json=document)
        assert answer.status_code == 422, value
        assert answer.json()["errors"][0]["path"].startswith(path)
    assert await gateway.user("alice") == alice


WRONG: list[dict[str, Any]] = [
    {"email": "no address"},
    {"email": "a@b\nBcc: c@d"},
    {"email": "a" * 300 + "@b"},
    {"credentials": {"public": "two\nlines"}},
    {"usage": {"prio": 101}},
    {"usage": {"quota_time": -1}},
    {"usage": {"quota_cpu": True}},
    {"usage": {"disk": "a lot"}},
]


async def test_a_value_that_breaks_a_rule_is_refused_and_changes_nothing(
    gateway: Gateway, alice: User, admin: User
) -> None:
    for document in WRONG:
        assert (await gateway.ask("PUT", "/user/alice", admin, json=document)).status_code == 422, document
    assert await gateway.user("alice") == alice


async def test_an_address_can_be_taken_away(gateway: Gateway, alice: User) -> None:
    assert (await gateway.ask("PUT", "/user/alice", alice, json={"email": None})).json()["email"] is None
    assert (await gateway.user("alice")).email is None


# --- keys -----------------------------------------------------------------------------------------


async def test_a_new_key_voids_the_old_one_and_its_sessions_at_once(gateway: Gateway, alice: User) -> None:
    async def log_in(key: str) -> int:
        credentials = {"user": "alice", "apikey": key}
        return (await gateway.ask("POST", "/authenticate", json=credentials)).status_code

    answer = await gateway.ask("DELETE", "/user/alice/apikey", alice)
    assert set(answer.json()) == {"apikey"}
    assert await log_in(gateway.keys["alice"]) == 401
    assert (await gateway.ask("GET", "/user/alice", alice)).status_code == 401
    assert await log_in(answer.json()["apikey"]) == 200
    assert (await gateway.user("alice")).last == pytest.approx(clock.now(), abs=60)


async def test_no_key_can_be_used_that_stands_in_the_database(gateway: Gateway, alice: User) -> None:
    key = (await gateway.ask("DELETE", "/user/alice/apikey", alice)).json()["apikey"]
    document = await gateway.stores.database["users"].find_one({"_id": "alice"})
    assert key not in str(document)


async def test_an_admin_replaces_somebodys_key_and_nobody_else_does(gateway: Gateway, alice: User, admin: User) -> None:
    bob = await gateway.add_user("bob")
    assert (await gateway.ask("DELETE", "/user/alice/apikey", bob)).status_code == 403
    assert (await gateway.ask("DELETE", "/user/alice/apikey", admin)).status_code == 200
    assert (await gateway.ask("DELETE", "/user/nobody/apikey", admin)).status_code == 404


# --- projects, usage, bills -------------------------------------------------------------------------


async def test_the_projects_of_a_user_begin_with_default(gateway: Gateway, alice: User) -> None:
    await gateway.add_project("zoo", members=["alice"])
    await gateway.add_project("ants", owner="alice")
    await gateway.add_project("others", members=["bob"])
    answer = await gateway.ask("GET", "/user/alice/project", alice)
    assert [project["id"] for project in answer.json()] == ["default", "ants", "zoo"]
    assert (answer.json()[0]["prio"], answer.json()[0]["quota_time"]) == (50, 0)


def products(core: float, gb: float, gpu: float) -> dict[str, float]:
    """Sums of amount × time of each task, not products of sums."""
    return {"core_seconds": core, "gb_seconds": gb, "gpu_seconds": gpu}


async def test_usage_is_summed_by_day_over_the_window_newest_first(gateway: Gateway, alice: User) -> None:
    now = clock.now()
    await gateway.add_usage(1, user="alice", at=now)
    await gateway.add_usage(2, user="alice", at=now, cpu=1.0, gpus=1)
    await gateway.add_usage(3, user="alice", at=now - 5 * DAY, project="lab")
    await gateway.add_usage(4, user="alice", at=now - 31 * DAY)
    await gateway.add_usage(5, user="bob", at=now)
    answer = await gateway.ask("GET", "/user/alice/usage", alice)
    assert answer.json() == [
        {"date": clock.day(now), "cpu": 3.0, "ram": 6.0, "time": 20.0, "gpus": 1} | products(30, 60, 10),
        {"date": clock.day(now - 5 * DAY), "cpu": 2.0, "ram": 3.0, "time": 10.0, "gpus": 0} | products(20, 30, 0),
    ]
    assert (await gateway.ask("GET", "/user/bob/usage", alice)).status_code == 403


NOVEMBER = 1_699_963_200.0  #: 2023-11-14


async def test_a_bill_is_a_months_sums_per_project(gateway: Gateway, alice: User) -> None:
    await gateway.add_usage(1, user="alice", at=NOVEMBER)
    await gateway.add_usage(2, user="alice", at=NOVEMBER, project="lab", gpus=2)
    await gateway.add_usage(3, user="alice", at=NOVEMBER + 5 * DAY, project="lab")
    await gateway.add_usage(4, user="alice", at=NOVEMBER + 30 * DAY)
    await gateway.add_usage(5, user="bob", at=NOVEMBER)
    answer = await gateway.ask("GET", "/user/alice/billing/2023/11", alice)
    assert answer.json() == [
        {"_id": {"user": "alice", "project": "default"}, "cpu": 2.0, "ram": 3.0, "gpus": 0, "totaltime": 10.0}
        | products(20, 30, 0),
        {"_id": {"user": "alice", "project": "lab"}, "cpu": 4.0, "ram": 6.0, "gpus": 2, "totaltime": 20.0}
        | products(40, 60, 20),
    ]
    assert (await gateway.ask("GET", "/user/bob/billing/2023/11", alice)).status_code == 403


async def test_a_past_month_is_cached_until_it_is_summed_again(gateway: Gateway, alice: User) -> None:
    async def seconds(query: str = "") -> float:
        answer = await gateway.ask("GET", f"/user/alice/billing/2023/11{query}", alice)
        return sum(row["totaltime"] for row in answer.json())

    await gateway.add_usage(1, user="alice", at=NOVEMBER)
    assert await seconds() == 10
    await gateway.add_usage(2, user="alice", at=NOVEMBER)
    assert await seconds() == 10
    assert await seconds("?force=0") == 10
    assert await seconds("?force=1") == 20
    assert await seconds() == 20


async def test_a_month_cached_by_an_earlier_version_is_summed_again(gateway: Gateway, alice: User) -> None:
    row = {"_id": {"user": "alice", "project": "default"}, "cpu": 2.0, "ram": 3.0, "gpus": 0, "totaltime": 10.0}
    await gateway.context.broker.remember_billing("user", "alice", "2023-11", [row])
    await gateway.add_usage(1, user="alice", at=NOVEMBER)
    answer = await gateway.ask("GET", "/user/alice/billing/2023/11", alice)
    assert answer.json() == [row | products(20, 30, 0)]


async def test_the_current_month_is_summed_every_time(gateway: Gateway, alice: User) -> None:
    year, month, _ = clock.day(clock.now()).split("_")
    for number in (1, 2):
        await gateway.add_usage(number, user="alice", at=clock.now())
        rows = (await gateway.ask("GET", f"/user/alice/billing/{year}/{int(month)}", alice)).json()
        assert rows[0]["totaltime"] == 10.0 * number


async def test_bills_are_made_without_redis(gateway: Gateway, alice: User, redis_server: Any) -> None:
    await gateway.add_usage(1, user="alice", at=NOVEMBER)
    redis_server.stop()
    answer = await gateway.ask("GET", "/user/alice/billing/2023/11", alice)
    assert (answer.status_code, len(answer.json())) == (200, 1)


async def test_an_invalid_month_is_refused(gateway: Gateway, alice: User) -> None:
    for month in ("2023/13", "2023/0", "0/1", "2023/x", "99999/1", "2023/-1", "-5/1"):
        assert (await gateway.ask("GET", f"/user/alice/billing/{month}", alice)).status_code == 422, month


# --- kill all ------------------------------------------------------------------------------------------


async def test_all_tasks_of_a_user_are_to_be_killed_and_nobody_elses(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    await gateway.add_task(2, TaskStatus.CREATED)
    await gateway.add_task(3, TaskStatus.RUNNING, placement=samples.placement(), intent=Intent.KILL, intent_at=5.0)
    await gateway.add_task(4, TaskStatus.OVER)
    await gateway.add_task(5, user="bob")
    answer = await gateway.ask("DELETE", "/user/alice/task", alice)
    assert answer.json() == [3, 2, 1]
    assert [(await gateway.task(number)).intent for number in (1, 2, 3)] == [Intent.KILL] * 3
    assert (await gateway.task(3)).intent_at == 5.0
    assert [(await gateway.task(number)).intent for number in (4, 5)] == [None, None]


async def test_with_a_tag_only_its_tasks_are_killed(gateway: Gateway, alice: User) -> None:
    for number, tags in ((1, ["night"]), (2, ["day", "night"]), (3, ["day"]), (4, [])):
        task = samples.task(number)
        await gateway.stores.tasks.insert(
            [task.model_copy(update={"spec": task.spec.model_copy(update={"tags": tags})})]
        )
    assert (await gateway.ask("DELETE", "/user/alice/task?tag=night", alice)).json() == [2, 1]
    assert (await gateway.task(3)).intent is None
    assert (await gateway.ask("DELETE", "/user/alice/task?tag=none", alice)).json() == []


async def test_an_invalid_query_kills_nothing(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    for query in ("tag[$ne]=x", "tag[]=x", "$where=1", "tag=", "a.b=1"):
        assert (await gateway.ask("DELETE", f"/user/alice/task?{query}", alice)).status_code == 422, query
    assert (await gateway.task(1)).intent is None


async def test_nobody_kills_the_tasks_of_another(gateway: Gateway, alice: User) -> None:
    await gateway.add_user("bob")
    await gateway.add_task(1, user="bob")
    assert (await gateway.ask("DELETE", "/user/bob/task", alice)).status_code == 403
    assert (await gateway.task(1)).intent is None


# --- requests for deletion; the rest is in test_user_deletion ------------------------------------------------


async def test_a_user_deletion_locks_the_user_out_at_once_and_for_good(
    gateway: Gateway, alice: User, admin: User
) -> None:
    answer = await gateway.ask("DELETE", "/user/alice", admin)
    assert (answer.status_code, answer.json()) == (200, {"msg": "user alice is being deleted"})
    assert (await gateway.ask("GET", "/user/alice", alice)).status_code == 401
    credentials = {"user": "alice", "apikey": gateway.keys["alice"]}
    assert (await gateway.ask("POST", "/authenticate", json=credentials)).status_code == 401
    assert (await gateway.ask("PUT", "/user/alice", admin, json={"active": True})).status_code == 409
    assert not (await gateway.user("alice")).active
    assert (await gateway.ask("DELETE", "/user/alice", admin)).status_code == 200
    (deletion,) = await gateway.stores.deletions.list()
    assert (deletion.id, deletion.asked_by) == ("alice", "admin")


async def test_only_an_admin_deletes_users_and_not_themselves(gateway: Gateway, alice: User, admin: User) -> None:
    assert (await gateway.ask("DELETE", "/user/alice", alice)).status_code == 403
    assert (await gateway.ask("DELETE", "/user/admin", admin)).status_code == 409
    assert (await gateway.ask("DELETE", "/user/nobody", admin)).status_code == 404
    assert await gateway.stores.deletions.list() == []


# --- empty bodies, odd names ---------------------------------------------------------------------------------


async def test_an_empty_json_body_counts_as_missing(gateway: Gateway, alice: User) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await gateway.ask("DELETE", "/user/alice/task", alice, headers=headers, content=b"")
    assert answer.status_code == 200
    answer = await gateway.ask("PUT", "/user/alice", alice, headers=headers, content=b"")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_an_odd_name_is_not_found(gateway: Gateway, admin: User) -> None:
    for name in ("%24gt", "%2e%2e", "a%00b", "%0d%0aX", "A" * 65, "%ff", "{}", "%F0%9F%8E%89"):
        assert (await gateway.ask("GET", f"/user/{name}", admin)).status_code in (404, 422), name
