"""Requests of the client: logins, retries and errors, without a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from godocker_client import errors, operations
from godocker_client.session import Answer, Operation, Pause, Request, Session

NOW = [0.0]


@pytest.fixture(autouse=True)
def _clock() -> None:
    NOW[0] = 0.0


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, json.dumps(body).encode())


def drive(operation: Operation[Any], answers: Sequence[Answer | Exception]) -> tuple[Any, list[Request], list[float]]:
    """Carry an operation out with these answers. Returns its result, the requests and the pauses."""
    left, requests, pauses = list(answers), [], []
    step = next(operation)
    try:
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                NOW[0] += step.seconds
                step = operation.send(None)
                continue
            requests.append(step)
            following = left.pop(0)
            step = operation.throw(following) if isinstance(following, Exception) else operation.send(following)
    except StopIteration as stopped:
        return stopped.value, requests, pauses


def session(**values: Any) -> Session:
    return Session(**{"token": "t", **values}, monotonic=lambda: NOW[0])


def test_a_submission_is_repeated_under_one_key_until_it_is_answered() -> None:
    lost = errors.ServerUnreachable("gone")
    result, requests, pauses = drive(
        operations.submit(session(), {}), [lost, answer(503), lost, answer(200, {"id": 5})]
    )
    assert result == 5
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len(requests) == 4
    assert len(pauses) == 3


def test_patience_ends_and_the_last_error_comes_through() -> None:
    lost = errors.ServerUnreachable("gone")
    with pytest.raises(errors.ServerUnreachable):
        drive(operations.submit(session(patience=10.0), {}), [lost] * 100)
    assert NOW[0] <= 10.0
    with pytest.raises(errors.ServerError):
        drive(operations.submit(session(patience=10.0), {}), [answer(503)] * 100)


def test_a_server_that_says_when_is_asked_then() -> None:
    _, _, pauses = drive(operations.submit(session(), {}), [answer(429, retry_after="7"), answer(200, {"id": 1})])
    assert pauses == [7.0]


def test_an_expired_token_is_replaced_once_where_there_is_a_key() -> None:
    one = session(token="old", user="alice", apikey="k")
    task = {"id": 3}
    result, requests, _ = drive(
        operations.get(one, 3),
        [answer(401, {"code": "token_expired"}), answer(200, {"token": "new"}), answer(200, task)],
    )
    assert result.id == 3
    assert [request.headers.get("Authorization") for request in requests] == ["Bearer old", None, "Bearer new"]
    with pytest.raises(errors.NotLoggedIn):
        drive(operations.get(session(), 3), [answer(401, {"code": "token_expired"})])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, errors.NotAllowed),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (422, errors.ApiError),
        (500, errors.ServerError),
    ],
)
def test_what_the_server_refuses_is_an_error_with_its_words(status: int, kind: type[errors.ApiError]) -> None:
    refused = answer(status, {"code": "c", "detail": "said"}, x_request_id="r1")
    with pytest.raises(kind, match="said") as raised:
        drive(operations.get(session(), 3), [refused])
    assert (raised.value.code, raised.value.request_id, raised.value.status) == ("c", "r1", status)


def test_an_answer_that_is_no_document_is_an_error_too() -> None:
    with pytest.raises(errors.ApiError, match="the server answered 418"):
        drive(operations.get(session(), 3), [Answer(418, {}, b"<html>")])


def test_patience_counts_from_the_last_success() -> None:
    patience = session(patience=10.0).patience()
    NOW[0] = 9.0
    assert not patience.is_over()
    assert patience.is_over(2.0)
    patience.renew()
    NOW[0] = 18.0
    assert not patience.is_over()
    NOW[0] = 19.5
    assert patience.is_over()
