"""Warnings in the answer to a submission, through HTTP on real stores: they stop nothing unless `strict` is set."""

from __future__ import annotations

from typing import Any

import pytest

from shared.models.node import Node
from shared.models.user import User
from shared.units.sizes import GB
from tests.support import samples
from tests.support.harness.gateway import JSON, Gateway

pytestmark = pytest.mark.stores

TYPO = "requirements.cpus is not known and is ignored; did you mean cpu?"
TOO_MUCH = "requirements.ram is in GB: no node has 4096, the most is 16; the task cannot run here as the nodes are"


@pytest.fixture
async def alice(gateway: Gateway) -> User:
    node = Node(_id="n1", executor="docker", ready=True, cpus=8, memory=16 * GB, checked_at=1.0, seen_at=1.0)
    await gateway.stores.nodes.put_many([node])
    return await gateway.add_user("alice")


async def stored(gateway: Gateway) -> int:
    return await gateway.stores.database["tasks"].count_documents({})


def odd(**changes: Any) -> dict[str, Any]:
    return samples.submission(**{"requirements.cpus": 2, "requirements.ram": 4096, **changes})


async def test_a_misspelt_field_and_an_infeasible_amount_are_in_the_warnings(gateway: Gateway, alice: User) -> None:
    answer = await gateway.ask("POST", "/task", alice, json=odd())
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    assert answer.json() == {"msg": "Task added", "id": 1, "warnings": [TYPO, TOO_MUCH]}
    assert await stored(gateway) == 1


async def test_without_warnings_the_answer_is_the_one_that_old_clients_know(gateway: Gateway, alice: User) -> None:
    assert (await gateway.ask("POST", "/task", alice, json=samples.submission())).json() == {
        "msg": "Task added",
        "id": 1,
    }
    many = await gateway.ask("POST", "/task/batch", alice, json=[samples.submission()])
    assert many.json() == {"msg": "Tasks added", "ids": [2]}


async def test_a_task_that_is_read_and_sent_again_brings_no_warning(gateway: Gateway, alice: User) -> None:
    first = (await gateway.ask("POST", "/task", alice, json=samples.submission())).json()["id"]
    shown = (await gateway.ask("GET", f"/task/{first}", alice)).json()
    assert (await gateway.ask("POST", "/task", alice, json=shown)).json() == {"msg": "Task added", "id": 2}


async def test_each_warning_of_a_batch_begins_with_the_place_of_its_task(gateway: Gateway, alice: User) -> None:
    answer = await gateway.ask("POST", "/task/batch", alice, json=[samples.submission(), odd()])
    assert answer.json() == {"msg": "Tasks added", "ids": [1, 2], "warnings": [f"1.{TYPO}", f"1.{TOO_MUCH}"]}


@pytest.mark.parametrize(("path", "wrap", "lead"), [("/task", False, ""), ("/task/batch", True, "0.")])
async def test_a_strict_request_with_warnings_is_refused_and_stores_nothing(
    gateway: Gateway, alice: User, path: str, wrap: bool, lead: str
) -> None:
    body: Any = [odd()] if wrap else odd()
    answer = await gateway.ask("POST", f"{path}?strict=true", alice, json=body)
    assert answer.status_code == 422
    assert [field["path"] for field in answer.json()["errors"]] == [
        f"{lead}requirements.cpus",
        f"{lead}requirements.ram",
    ]
    assert await stored(gateway) == 0
    plain: Any = [samples.submission()] if wrap else samples.submission()
    assert (await gateway.ask("POST", f"{path}?strict=true", alice, json=plain)).status_code == 200


async def test_a_broken_rule_is_reported_before_any_warning(gateway: Gateway, alice: User) -> None:
    answer = await gateway.ask("POST", "/task?strict=true", alice, json=odd(**{"requirements.failure_policy": 5}))
    assert answer.json()["errors"] == [
        {"path": "requirements.failure_policy", "rule": "must be 0: restarts after a failure of the node are off here"}
    ]


async def test_a_script_that_can_run_in_no_image_is_refused_and_a_doubtful_one_warned_of(
    gateway: Gateway, alice: User
) -> None:
    windows = samples.submission(**{"command.cmd": "#!/bin/bash\r\necho hello\r\n"})
    answer = await gateway.ask("POST", "/task", alice, json=windows)
    assert answer.status_code == 422
    assert "carriage return" in answer.json()["errors"][0]["rule"]
    late = samples.submission(**{"command.cmd": "\n#!/bin/bash\necho hello\n"})
    (warning,) = (await gateway.ask("POST", "/task", alice, json=late)).json()["warnings"]
    assert "does not begin with `#!`" in warning


async def test_the_same_request_under_the_same_key_has_the_same_warnings(gateway: Gateway, alice: User) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [(await gateway.ask("POST", "/task", alice, json=odd(), headers=headers)).json() for _ in range(2)]
    assert answers == [{"msg": "Task added", "id": 1, "warnings": [TYPO, TOO_MUCH]}] * 2
