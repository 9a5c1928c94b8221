"""The operations of the client, for `session` to drive: pure."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from godocker_client import errors
from godocker_client.session import API, Answer, Operation, Pause, Request, Session, new_key
from godocker_client.task import Task

_LOOK_FIRST, _LOOK_MOST = 0.1, 2.0  #: seconds between two looks at a task that is waited for


def submit(session: Session, document: dict[str, Any], *, key: str | None = None) -> Operation[int]:
    """Create a task, once, however often the request has to be sent. Returns its id."""
    headers = {"Idempotency-Key": key or new_key()}
    answer = yield from session.call(Request("POST", f"{API}/task", json=document, headers=headers))
    return int(answer.json()["id"])


def dry_run(session: Session, document: dict[str, Any]) -> Operation[dict[str, Any]]:
    """Return what the server says of a task without creating it."""
    answer = yield from session.call(Request("POST", f"{API}/task", json=document, params={"dry_run": "true"}))
    said: dict[str, Any] = answer.json()
    return said


def get(session: Session, task_id: int) -> Operation[Task]:
    answer = yield from session.call(Request("GET", f"{API}/task/{task_id}"))
    return Task(answer.json())


def wait(session: Session, task_id: int, *, timeout: float | None = None) -> Operation[Task]:
    """Return the task once it is over. Raises `errors.TaskTimeout` after `timeout` seconds."""
    until = None if timeout is None else time.monotonic() + timeout
    delay = _LOOK_FIRST
    while True:
        task = yield from get(session, task_id)
        if task.is_over:
            return task
        left = delay if until is None else min(delay, until - time.monotonic())
        if left <= 0:
            raise errors.TaskTimeout(f"task {task_id} is still {task.state}")
        yield Pause(left)
        delay = min(1.5 * delay, _LOOK_MOST)


def kill(session: Session, task_id: int) -> Operation[None]:
    yield from session.call(Request("DELETE", f"{API}/task/{task_id}"))


def act(session: Session, task_id: int, action: str) -> Operation[None]:
    """`action`: `suspend`, `resume`, `reschedule` or `pending` (release a held task)."""
    yield from session.call(Request("GET", f"{API}/task/{task_id}/{action}"))


def archive(session: Session, task_id: int) -> Operation[None]:
    yield from session.call(Request("POST", f"{API}/task/{task_id}/archive"))


def delete(session: Session, task_id: int) -> Operation[None]:
    yield from session.call(Request("DELETE", f"{API}/task/{task_id}/archive"))


def explain(session: Session, task_id: int) -> Operation[dict[str, Any]]:
    answer = yield from session.call(Request("GET", f"{API}/task/{task_id}/explain"))
    said: dict[str, Any] = answer.json()
    return said


def listed(session: Session, *, active: bool, everybody: bool = False, limit: int = 100) -> Operation[list[Task]]:
    """The user's active tasks, or those that ended last; `everybody`: those of all users, for admins."""
    path = f"{API}/task/{'active' if active else 'over'}{'/all' if everybody else ''}"
    params = {} if active else {"limit": limit}
    answer = yield from session.call(Request("GET", path, params=params))
    return [Task(document) for document in answer.json()]


def files(session: Session, task_id: int, path: str = "") -> Operation[list[dict[str, Any]]]:
    """The entries of a directory of the task."""
    answer = yield from session.call(_file(task_id, path.rstrip("/") + "/" if path else ""))
    if not isinstance(said := answer.json(), list):
        raise errors.ClientError(f"{path}: is not a directory")
    return said


def read(session: Session, task_id: int, path: str) -> Operation[bytes]:
    """The content of a file of the task."""
    answer: Answer = yield from session.call(_file(task_id, path))
    return answer.content


def document(session: Session, path: str) -> Operation[Any]:
    """Whatever JSON a route of the API answers, `path` without the prefix: `config`, `user/alice/usage` …"""
    answer = yield from session.call(Request("GET", f"{API}/{path}"))
    return answer.json()


def file_path(task_id: int, path: str) -> str:
    """The path of a file of a task."""
    return f"{API}/task/{task_id}/files/{quote(path, safe='/')}"


def storage_path(user: str, path: str) -> str:
    """The path of a file in the personal storage of a user."""
    return f"{API}/user/{user}/files/{quote(path, safe='/')}"


def _file(task_id: int, path: str) -> Request:
    return Request("GET", file_path(task_id, path))
