"""The id of a request, from the client to the task and its container."""

from __future__ import annotations

import re

import pytest
import structlog

from services.api.http.request_ids import HEADER
from services.scheduler.start import run_spec
from shared.executors.docker import body
from shared.models.user import User
from shared.rules import arrays
from tests.support import samples
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores


@pytest.mark.parametrize("path", ["/ping", "/task/active", "/nothing"])
async def test_every_answer_has_the_id_that_was_sent(gateway: Gateway, path: str) -> None:
    answer = await gateway.ask("GET", path, headers={HEADER: "lab-42.a_B"})
    assert answer.headers.get_list(HEADER) == ["lab-42.a_B"]


async def test_a_request_that_is_refused_early_has_its_id(gateway: Gateway, alice: User) -> None:
    answer = await gateway.ask("POST", "/task", alice, content=b"x" * 2**21, headers={HEADER: "large"})
    assert (answer.status_code, answer.headers[HEADER]) == (413, "large")


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 65, "a;rm", "é", '"', "a/b"])
async def test_an_id_that_is_missing_too_long_or_not_plain_is_replaced(gateway: Gateway, sent: str | None) -> None:
    headers = {} if sent is None else {HEADER: sent.encode()}
    first, second = [(await gateway.ask("GET", "/ping", headers=headers)).headers[HEADER] for _ in range(2)]
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{16}", first)


async def test_the_log_events_of_a_request_have_its_id(gateway: Gateway) -> None:
    admin = await gateway.add_user("admin", admin=True)
    # They hold the bound context, like the processors of `shared.observe.logs`.
    capture = structlog.testing.LogCapture()
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    try:
        await gateway.ask("POST", "/admin/maintenance/all/on", admin, headers={HEADER: "switch"})
        structlog.get_logger().info("after")
    finally:
        structlog.configure(processors=before)
    lines = {entry["event"]: entry for entry in capture.entries}
    assert lines["maintenance.changed"]["request"] == "switch"
    assert "request" not in lines["after"]


async def test_a_task_keeps_the_id_of_the_request_that_made_it_and_hands_it_to_its_container(
    gateway: Gateway, alice: User
) -> None:
    answer = await gateway.ask("POST", "/task", alice, json=samples.submission(), headers={HEADER: "made-by"})
    task = await gateway.task(answer.json()["id"])
    assert task.request == "made-by"
    run = run_spec.run_of(task, node="n1", directory="/d", settings=gateway.settings)
    made = body.create_body(run, instance="lab", network="none", pids_limit=100)
    assert made["Labels"]["godocker.request"] == "made-by"


async def test_the_children_of_an_array_have_its_id(gateway: Gateway, alice: User) -> None:
    sent = samples.submission(**{"requirements.array": {"values": "1:3:1"}})
    answer = await gateway.ask("POST", "/task", alice, json=sent, headers={HEADER: "array"})
    parent = await gateway.task(answer.json()["id"])
    assert {child["request"] for child in arrays.documents(parent, range(3), now=1.0)} == {"array"}


async def test_all_tasks_of_a_batch_have_its_id(gateway: Gateway, alice: User) -> None:
    sent = [samples.submission(), samples.submission()]
    answer = await gateway.ask("POST", "/task/batch", alice, json=sent, headers={HEADER: "batch"})
    assert answer.status_code == 200, answer.text
    assert {(await gateway.task(task_id)).request for task_id in answer.json()["ids"]} == {"batch"}
