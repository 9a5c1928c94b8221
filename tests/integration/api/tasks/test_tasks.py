"""Routes of tasks through HTTP on real stores, as clients rely on them letter for letter."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from services.api import app
from shared import clock
from shared.auth import apikeys, tokens
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.node import Node, StoredReason
from shared.models.user import User
from shared.settings import Node as Host
from shared.settings import Settings, Volume
from shared.units.sizes import GB
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores

PROBLEM = "application/problem+json"
NOW = samples.NOW


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check a problem document in full."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    document: dict[str, Any] = answer.json()
    assert set(document) - {"errors"} == {"type", "title", "status", "detail", "code"}
    assert (document["status"], document["code"]) == (status, code)
    assert document["detail"]
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    return document


def good(answer: httpx.Response) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON), answer.text
    return answer.json()


async def submit(gateway: Gateway, by: User, **changes: Any) -> int:
    answer = good(await gateway.ask("POST", "/task", by, json=samples.submission(**changes)))
    assert answer == {"msg": "Task added", "id": answer["id"]}
    return int(answer["id"])


# --- sessions -------------------------------------------------------------------------------


async def log_in(gateway: Gateway, user: str, key: str) -> httpx.Response:
    return await gateway.ask("POST", "/authenticate", json={"user": user, "apikey": key})


async def test_user_and_key_give_a_token_that_opens_the_other_routes(gateway: Gateway, alice: User) -> None:
    token = good(await log_in(gateway, "alice", gateway.keys["alice"]))["token"]
    answer = await gateway.ask("GET", "/task/active", headers={"Authorization": f"Bearer {token}"})
    assert good(answer) == []


async def test_an_unknown_user_and_a_wrong_key_get_one_and_the_same_answer(gateway: Gateway, alice: User) -> None:
    wrong, unknown = await log_in(gateway, "alice", "wrong"), await log_in(gateway, "nobody", gateway.keys["alice"])
    assert_problem(wrong, 401, "not_authenticated")
    assert wrong.content == unknown.content
    inactive = await gateway.add_user("gone", active=False)
    assert (await log_in(gateway, inactive.id, gateway.keys["gone"])).status_code in (401, 403)


async def test_too_many_failures_lock_out_nobody_else(gateway: Gateway, alice: User, bob: User) -> None:
    limit = gateway.settings.authenticate_limit
    answers = [await log_in(gateway, "alice", "wrong") for _ in range(limit + 1)]
    if answers[-1].status_code == 401:  # a new minute began meanwhile
        answers = [await log_in(gateway, "alice", "wrong") for _ in range(limit + 1)]
    assert_problem(answers[-1], 429, "too_many_requests")
    assert int(answers[-1].headers["retry-after"]) <= 60
    assert (await log_in(gateway, "alice", gateway.keys["alice"])).status_code == 429
    good(await log_in(gateway, "bob", gateway.keys["bob"]))


async def test_a_session_ends_with_its_key_its_user_and_its_time(gateway: Gateway, alice: User) -> None:
    old = gateway.token(alice)
    bearer = {"Authorization": f"Bearer {old}"}
    assert good(await gateway.ask("GET", "/task/active", headers=bearer)) == []
    await gateway.stores.users.set_apikey("alice", apikeys.generate().stored)
    assert_problem(await gateway.ask("GET", "/task/active", headers=bearer), 401, "not_authenticated")
    secret = gateway.settings.secret_passphrase.get_secret_value()
    expired = tokens.make_session("alice", alice.apikey.hash, secret=secret, now=clock.now() - 100, seconds=60)
    answer = await gateway.ask("GET", "/task/active", headers={"Authorization": f"Bearer {expired}"})
    assert_problem(answer, 401, "token_expired")
    await gateway.stores.database["users"].update_one({"_id": "alice"}, {"$set": {"active": False}})
    assert_problem(await gateway.ask("GET", "/task/active", alice), 401, "not_authenticated")
    await gateway.stores.database["users"].delete_one({"_id": "alice"})
    assert_problem(await gateway.ask("GET", "/task/active", alice), 401, "not_authenticated")


PRIVATE = [
    ("POST", "/task"),
    ("GET", "/task/1"),
    ("DELETE", "/task/1"),
    ("GET", "/task/1/status"),
    ("GET", "/task/1/pending"),
    ("GET", "/task/active"),
    ("GET", "/task/over"),
]


@pytest.mark.parametrize(("method", "path"), PRIVATE)
async def test_without_a_valid_token_nothing_private_is_shown(gateway: Gateway, method: str, path: str) -> None:
    await gateway.add_user("alice")
    await gateway.add_task(1)
    forged = tokens.make_session("alice", "0" * 64, secret="x" * 64, now=clock.now(), seconds=60)
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": f"Bearer {forged}"},
        {"Authorization": f"Basic {forged}"},
        {"Authorization": "Bearer " + "x" * 6000},
        {"Authorization": "Bearer \u00e9\u00ff".encode("latin-1")},
    ):
        answer = await gateway.ask(
            method, path, headers=headers, json=samples.submission() if method == "POST" else None
        )
        assert_problem(answer, 401, "not_authenticated")
    assert (await gateway.task(1)).intent is None


# --- tasks --------------------------------------------------------------------------------------


async def test_a_task_is_created_and_shown_as_it_was_sent(gateway: Gateway, alice: User) -> None:
    number = await submit(gateway, alice)
    task = good(await gateway.ask("GET", f"/task/{number}", alice))
    sent = samples.submission()
    assert task["meta"] == sent["meta"]
    assert task["user"] == {"id": "alice", "uid": 20001, "gid": 20002, "project": "default"}
    assert task["command"]["cmd"] == sent["command"]["cmd"]
    assert (task["container"]["image"], task["container"]["network"]) == ("centos:latest", True)
    assert abs(task["date"] - clock.now()) < 60
    assert task["status"] == {
        "primary": "pending",
        "secondary": None,
        "exitcode": None,
        "reason": "waiting for its turn",
        "date_over": None,
        "duration": None,
        "failure": {"reason": [], "nodes": [], "count": 0},
    }
    assert good(await gateway.ask("GET", f"/task/{number}/status", alice)) == {"id": number, "status": task["status"]}


async def test_concurrent_tasks_get_different_numbers(gateway: Gateway, alice: User) -> None:
    numbers = await asyncio.gather(*(submit(gateway, alice, **{"meta.name": f"task{n}"}) for n in range(50)))
    assert len(set(numbers)) == 50
    for place, number in enumerate(numbers):
        assert (await gateway.task(number)).spec.name == f"task{place}"


async def test_a_held_task_waits_for_its_release(gateway: Gateway, alice: User) -> None:
    number = await submit(gateway, alice, **{"status.primary": "created"})
    assert good(await gateway.ask("GET", f"/task/{number}/status", alice))["status"]["primary"] == "created"
    first = await gateway.task(number)
    for _ in range(2):
        assert good(await gateway.ask("GET", f"/task/{number}/pending", alice))["status"]["primary"] == "pending"
    task = await gateway.task(number)
    assert task.queued_at > first.queued_at
    assert len(task.history) == 2


async def test_releasing_a_task_that_is_not_held_changes_nothing(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1, TaskStatus.RUNNING, attempt=1, started_at=NOW, placement=samples.placement())
    assert good(await gateway.ask("GET", "/task/1/pending", alice))["status"]["primary"] == "running"
    await gateway.add_task(2, TaskStatus.CREATED, intent=Intent.KILL)
    answer = good(await gateway.ask("GET", "/task/2/pending", alice))
    assert (answer["status"]["primary"], answer["status"]["secondary"]) == ("created", "kill requested")


async def test_killing_is_recorded_once_however_often_it_is_asked(gateway: Gateway, alice: User) -> None:
    number = await submit(gateway, alice)
    shown = [good(await gateway.ask("DELETE", f"/task/{number}", alice)) for _ in range(2)]
    assert [task["status"]["secondary"] for task in shown] == ["kill requested"] * 2
    task = await gateway.task(number)
    assert (task.status, task.intent) == (TaskStatus.PENDING, Intent.KILL)
    await gateway.add_task(99, TaskStatus.OVER, ending=Ending.EXITED, exit_code=0, ended_at=NOW)
    assert good(await gateway.ask("DELETE", "/task/99", alice))["status"]["primary"] == "over"
    assert (await gateway.task(99)).intent is None


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/task/1"), ("GET", "/task/1/status"), ("GET", "/task/1/pending"), ("DELETE", "/task/1")],
)
async def test_another_user_s_task_is_not_there_and_an_admin_s_to_manage(
    gateway: Gateway, bob: User, admin: User, method: str, path: str
) -> None:
    await gateway.add_task(1, TaskStatus.CREATED)
    before = await gateway.task(1)
    theirs = await gateway.ask(method, path, bob)
    assert_problem(theirs, 404, "task_not_found")
    missing = await gateway.ask(method, path.replace("1", "2"), bob)
    assert theirs.json()["detail"].replace("1", "2") == missing.json()["detail"]
    assert await gateway.task(1) == before
    good(await gateway.ask(method, path, admin))


async def test_only_an_admin_sends_tasks_of_others(gateway: Gateway, alice: User, bob: User, admin: User) -> None:
    for name in ("bob", "nobody", "$(id)", "bob; id", "../bob"):
        answer = await gateway.ask("POST", "/task", alice, json=samples.submission(**{"user.id": name}))
        assert_problem(answer, 403, "not_allowed")
    task = await gateway.task(await submit(gateway, admin, **{"user.id": "bob"}))
    assert (task.user.id, task.user.uid) == ("bob", bob.uid)
    await gateway.add_user("gone", active=False)
    for name in ("nobody", "$(id)", "gone"):
        answer = await gateway.ask("POST", "/task", admin, json=samples.submission(**{"user.id": name}))
        assert [field["path"] for field in assert_problem(answer, 422, "invalid_input")["errors"]] == ["user.id"]
    assert await gateway.stores.database["tasks"].count_documents({}) == 1


async def test_lists_are_of_the_caller_and_in_their_order(gateway: Gateway, alice: User, bob: User) -> None:
    for number, status in enumerate(TaskStatus, start=1):
        ended = {"ended_at": NOW - number, "ending": Ending.EXITED} if status in ("over", "archived") else {}
        await gateway.add_task(number, status, placement=samples.placement(), **ended)
    await gateway.add_task(7, TaskStatus.OVER, ended_at=NOW, ending=Ending.EXITED)
    await gateway.add_task(8, user="bob")
    active = good(await gateway.ask("GET", "/task/active", alice))
    assert [task["id"] for task in active] == [4, 3, 2, 1]
    assert [task["status"]["primary"] for task in active] == ["running", "pending", "pending", "created"]
    over = good(await gateway.ask("GET", "/task/over", alice))
    assert [task["id"] for task in over] == [7, 5, 6]
    assert [task["id"] for task in good(await gateway.ask("GET", "/task/over?limit=1", alice))] == [7]
    assert [task["id"] for task in good(await gateway.ask("GET", "/task/active", bob))] == [8]
    assert good(await gateway.ask("GET", "/task/active?project=other", alice)) == []


async def test_without_a_limit_the_last_hundred_are_listed(gateway: Gateway, alice: User) -> None:
    tasks = [
        samples.task(number, TaskStatus.OVER, ended_at=NOW + number, ending=Ending.EXITED) for number in range(1, 121)
    ]
    await gateway.stores.tasks.insert(tasks)
    assert [task["id"] for task in good(await gateway.ask("GET", "/task/over", alice))] == list(range(120, 20, -1))


async def test_tasks_of_all_users_are_counted(gateway: Gateway) -> None:
    for number, status in enumerate(TaskStatus, start=1):
        await gateway.add_task(number, status, user=f"user{number}", ended_at=NOW, placement=samples.placement())
    await gateway.add_task(10, intent=Intent.KILL)
    for word, total in (("pending", 3), ("running", 1), ("kill", 1), ("all", 7)):
        assert good(await gateway.ask("GET", f"/task/status/{word}/count")) == {"total": total, "status": word}
    assert_problem(await gateway.ask("GET", "/task/status/unknown/count"), 404, "not_found")


async def test_a_pending_task_shows_the_verdict_on_its_shape(gateway: Gateway, alice: User) -> None:
    number = await submit(gateway, alice, **{"requirements.cpu": 64})
    shape = (await gateway.task(number)).shape
    verdict = StoredReason(id=shape, reason="needs 64 cpu: n1 has 3 of 8 cpu free", at=clock.now() + 1)
    await gateway.stores.pending_reasons.put([verdict], placed=[])
    answers = [
        good(await gateway.ask("GET", f"/task/{number}", alice)),
        good(await gateway.ask("GET", f"/task/{number}/status", alice)),
        good(await gateway.ask("GET", "/task/active", alice))[0],
    ]
    assert {(each["status"]["secondary"], each["status"]["reason"]) for each in answers} == {
        ("rejected by scheduler", verdict.reason)
    }


async def test_a_limit_on_pending_tasks_answers_when_to_come_again(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"rate_limit": 2, "rate_limit_all": 3})) as gateway:
        alice, bob = await gateway.add_user("alice"), await gateway.add_user("bob")
        for _ in range(2):
            await submit(gateway, alice)
        answer = await gateway.ask("POST", "/task", alice, json=samples.submission())
        assert "alice has 2 tasks waiting" in assert_problem(answer, 429, "too_many_requests")["detail"]
        await submit(gateway, bob)
        answer = await gateway.ask("POST", "/task", bob, json=samples.submission())
        assert "3 tasks are waiting" in assert_problem(answer, 429, "too_many_requests")["detail"]
        assert await gateway.stores.database["tasks"].count_documents({}) == 3


async def test_the_error_over_the_pending_limit_names_infeasible_tasks(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"rate_limit": 2})) as gateway:
        alice = await gateway.add_user("alice")
        ids = [(await submit(gateway, alice)) for _ in range(2)]
        task = await gateway.task(1)
        verdict = StoredReason(id=task.shape, reason="can never run here: needs 64 cpu", at=clock.now())
        await gateway.stores.pending_reasons.put([verdict], placed=[])
        answer = await gateway.ask("POST", "/task", alice, json=samples.submission())
        detail = assert_problem(answer, 429, "too_many_requests")["detail"]
        assert "alice has 2 tasks waiting" in detail
        assert f"{len(ids)} of those of alice can never run here (tasks 1, 2): kill or change them" in detail


# --- the rest ---------------------------------------------------------------------------------------


async def test_ping_and_configuration_are_public(settings: Settings) -> None:
    secrets = settings.model_copy(
        update={"volumes": [Volume(name="data", path="/srv/secret/place", mount="/data")], "defaults_ram": 3}
    )
    async with gateways.opened(secrets) as gateway:
        assert good(await gateway.ask("GET", "/ping")) == {"msg": "pong"}
        answer = await gateway.ask("GET", "/config")
        config = good(answer)
        assert {"images", "volumes", "constraints", "executors", "executor_features", "defaults", "dynamic_fields"} | {
            *("allow_root", "allow_user_images", "network", "failure_policy", "version")
        } <= set(config)
        assert config["volumes"] == [{"name": "data", "acl": "ro"}]
        assert config["defaults"] == {"cpu": 1, "ram": 3}
        assert [executor["name"] for executor in config["executors"]] == ["simulated"]
        for hidden in ("/srv/secret", settings.mongo_url, settings.secret_passphrase.get_secret_value()):
            assert hidden not in answer.text


async def test_images_are_counted_also_those_with_slashes(gateway: Gateway) -> None:
    names = ["busybox", "group/image:tag", "registry.example.org:5000/a/b/c:1.0", "x@sha256:" + "a" * 64]
    for number, name in enumerate([*names, names[1]], start=1):
        await gateway.add_task(number, image=name)
    assert good(await gateway.ask("GET", "/image")) == {name: 2 if name == names[1] else 1 for name in names}
    for name in names:
        assert good(await gateway.ask("GET", f"/image/{name}")) == {name: 2 if name == names[1] else 1}
    assert good(await gateway.ask("GET", "/image/never/used")) == {"never/used": 0}


async def test_the_use_of_a_node_is_the_sum_of_its_tasks_requests(gateway: Gateway) -> None:
    node = Node(
        id="node1", executor="fake", ready=True, cpus=8, memory=16 * GB, disk_used=5, disk_total=9, checked_at=NOW
    )
    await gateway.stores.nodes.put_many([node, node.model_copy(update={"id": "node2"})])
    for number, status in enumerate((TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER), start=1):
        await gateway.add_task(number, status, cpu=1.5, ram=2.0, placement=samples.placement(), ended_at=NOW)
    assert good(await gateway.ask("GET", "/usage")) == [
        {"name": "node1", "cpu": [3.0, 8.0], "mem": [4 * GB, 16 * GB], "disk": [5, 9]},
        {"name": "node2", "cpu": [0.0, 8.0], "mem": [0, 16 * GB], "disk": [5, 9]},
    ]


async def test_metrics_count_the_calls_and_name_no_user(gateway: Gateway, alice: User) -> None:
    await submit(gateway, alice)
    answer = await gateway.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "godocker_tasks_admitted_total" in answer.text
    assert "godocker_api_http_requests_total" in answer.text
    assert "alice" not in answer.text


async def test_metrics_can_be_closed(settings: Settings) -> None:
    async with gateways.opened(settings.model_copy(update={"metrics_public": False})) as gateway:
        assert (await gateway.http.get("/metrics")).status_code in (401, 404)


async def test_health_says_what_it_depends_on_and_that_it_answers(gateway: Gateway) -> None:
    answer = await gateway.http.get("/health")
    health = answer.json()
    assert answer.headers["content-type"] == JSON
    assert health["service"] == "api"
    parts = {part: state["ok"] for part, state in health["dependencies"].items()}
    assert parts["mongo"]
    assert parts["redis"]
    assert (answer.status_code, health["status"]) == ((200, "ok") if all(parts.values()) else (503, "degraded"))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/1.0/nowhere", 404),
        ("PATCH", "/api/1.0/task", 405),
        ("GET", "/api/1.0/authenticate", 405),
    ],
)
async def test_an_unknown_route_answers_a_problem_document(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = await gateway.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["code"]


async def test_the_documentation_needs_no_other_host(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    described = (await gateway.http.get("/openapi.json")).json()["paths"]
    assert set(app.document().openapi()["paths"]) <= set(described)


def test_every_answer_of_the_main_job_is_documented() -> None:
    paths = app.document().openapi()["paths"]
    expected = {
        ("post", "/authenticate"): {"200", "401", "422", "429", "503"},
        ("post", "/task"): {"200", "401", "403", "413", "422", "429", "503"},
        ("get", "/task/{task_id}"): {"200", "401", "404", "422", "503"},
        ("delete", "/task/{task_id}"): {"200", "401", "404", "422", "503"},
        ("get", "/task/{task_id}/status"): {"200", "401", "404", "422", "503"},
        ("get", "/task/{task_id}/pending"): {"200", "401", "404", "422", "503"},
        ("get", "/task/active"): {"200", "401", "422", "503"},
        ("get", "/task/over"): {"200", "401", "422", "503"},
        ("get", "/task/status/{status}/count"): {"200", "404", "422", "503"},
        ("get", "/image"): {"200", "503"},
        ("get", "/image/{image}"): {"200", "503"},
        ("get", "/config"): {"200"},
        ("get", "/ping"): {"200"},
        ("get", "/usage"): {"200", "503"},
    }
    missing = {
        key: statuses - set(paths[f"/api/1.0{key[1]}"][key[0]]["responses"]) for key, statuses in expected.items()
    }
    assert {key: statuses for key, statuses in missing.items() if statuses} == {}


async def test_ports_have_urls_at_the_public_address_of_a_configured_or_added_node(settings: Settings) -> None:
    nodes = [Host(name="n1", public_address="one.lab.org"), Host(name="n2")]
    async with gateways.opened(settings.model_copy(update={"executor": "docker", "nodes": nodes})) as gateway:
        alice = await gateway.add_user("alice")
        added = Host(name="n3", url="tcp://192.0.2.3:2376", public_address="2001:db8::3")
        await gateway.stores.hosts.add(added, by="test", at=NOW)
        for task_id in (1, 2, 3):
            placed = samples.placement(f"n{task_id}").model_copy(update={"ports": [10_000 + task_id]})
            await gateway.add_task(
                task_id, TaskStatus.RUNNING, attempt=1, started_at=NOW, placement=placed, ports=[8888]
            )
        shown = {task["id"]: task["container"] for task in (await gateway.ask("GET", "/task/active", alice)).json()}
        assert {task_id: container["urls"] for task_id, container in shown.items()} == {
            1: ["http://one.lab.org:10001"],
            2: [],
            3: ["http://[2001:db8::3]:10003"],
        }
        assert (await gateway.ask("GET", "/task/1", alice)).json()["container"]["urls"] == ["http://one.lab.org:10001"]
        gateway.settings.nodes[0] = Host(name="n1", public_address="other.lab.org")  # like a reload
        assert (await gateway.ask("GET", "/task/1", alice)).json()["container"]["urls"] == [
            "http://other.lab.org:10001"
        ]
