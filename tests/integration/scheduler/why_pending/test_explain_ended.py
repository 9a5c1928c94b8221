"""Explanations of tasks that are over: exit code and last lines of errors, through a real files service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.api.answers import last_lines
from shared.lifecycle import Ending, TaskStatus
from shared.models.task import Array, Member, Purge
from shared.settings import Settings
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

TASK = 7
CUT = f"{'x' * (last_lines.WIDTH - 1)}…"


@pytest.fixture
async def stored(settings: Settings, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateways.with_files(settings, tmp_path) as made:
        yield made


async def _ended(gateway: Gateway, task_id: int = TASK, *, written: bytes | None = None, **fields: Any) -> Path:
    values = {
        "started_at": samples.NOW,
        "ended_at": samples.NOW + 1,
        "ending": Ending.EXITED,
        "exit_code": 3,
        "attempt": 1,
    }
    task = await gateway.add_task(task_id, fields.pop("status", TaskStatus.OVER), **{**values, **fields})
    directory = gateway.context.directories.path(task.place)
    directory.mkdir(parents=True)
    if written is not None:
        (directory / "god.err").write_bytes(written)
    return directory


async def _explained(gateway: Gateway, task_id: int = TASK) -> Any:
    answer = await gateway.ask("GET", f"/task/{task_id}/explain", await gateway.user("alice"))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _text(gateway: Gateway, task_id: int = TASK) -> str:
    (reason,) = (await _explained(gateway, task_id))["reasons"]
    return str(reason["text"])


async def test_a_failed_task_is_explained_by_its_exit_code_and_the_last_lines_of_its_errors(stored: Gateway) -> None:
    await stored.add_user("alice")
    await _ended(stored, written=b"reading\nno such sample\n")
    found = await _explained(stored)
    assert (found["verdict"], found["exitcode"], found["reasons"][0]["code"]) == ("over", 3, "exited")
    assert await _text(stored) == "exited with code 3; the last lines of god.err:\nreading\nno such sample"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"exit_code": 0}, "exited with code 0"),
        ({"exit_code": 137, "ending": Ending.KILLED, "reason": "killed by alice"}, "killed by alice; exit code 137"),
        ({"exit_code": 127, "reason": "exit code 127, not found"}, "exit code 127, not found"),
        (
            {"exit_code": None, "started_at": None, "ending": Ending.START_FAILED, "reason": "there is no such image"},
            "there is no such image",
        ),
    ],
)
async def test_each_end_has_its_exit_code_once(stored: Gateway, fields: dict[str, Any], text: str) -> None:
    await stored.add_user("alice")
    await _ended(stored, written=b"", **fields)
    assert await _text(stored) == text


async def test_errors_of_a_child_of_an_array_are_those_of_its_own_directory(stored: Gateway) -> None:
    await stored.add_user("alice")
    array = Array(start=1, end=2, step=1, count=2, first_id=8, made=2, over=2)
    parent = await _ended(stored, array=array, reason="1 of 2 children failed: 2", exit_code=1)
    await _ended(stored, 9, written=b"second\n", member=Member(parent=TASK, index=2, first=1, last=2, step=1))
    (parent / "god.err").write_bytes(b"nobody's\n")
    assert await _text(stored, 9) == "exited with code 3; the last lines of god.err:\nsecond"
    assert await _text(stored) == "1 of 2 children failed: 2; exit code 1"


@pytest.mark.parametrize("fields", [{"status": TaskStatus.ARCHIVED}, {"purge": Purge.FILES}])
async def test_files_of_archived_tasks_are_not_read(stored: Gateway, fields: dict[str, Any]) -> None:
    await stored.add_user("alice")
    await _ended(stored, written=b"left\n", **fields)
    assert await _text(stored) == "exited with code 3"


async def test_errors_that_are_a_link_a_directory_or_not_there_are_left_out(stored: Gateway, tmp_path: Path) -> None:
    await stored.add_user("alice")
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    linked = await _ended(stored)
    assert await _text(stored) == "exited with code 3"
    (linked / "god.err").symlink_to(secret)
    assert await _text(stored) == "exited with code 3"
    (linked / "god.err").unlink()
    (linked / "god.err").mkdir()
    (linked / "god.err" / "secret").touch()
    assert await _text(stored) == "exited with code 3"


async def test_an_explanation_needs_no_files_service(gateway: Gateway) -> None:
    await gateway.add_user("alice")
    await gateway.add_task(TASK, TaskStatus.OVER, started_at=samples.NOW, exit_code=3, ending=Ending.EXITED, attempt=1)
    assert await _text(gateway) == "exited with code 3"


async def test_only_the_end_of_large_errors_is_read(stored: Gateway) -> None:
    await stored.add_user("alice")
    await _ended(stored, written=b"".join(b"line %d\n" % number for number in range(100_000)))
    lines = (await _text(stored)).split("\n")[1:]
    assert lines == [f"line {number}" for number in range(99_990, 100_000)]


@pytest.mark.parametrize(
    ("content", "is_cut", "text"),
    [
        (b"", False, ""),
        (b"\n\n", False, ""),
        (b"a\r\nb\r\n", False, "a\nb"),
        (b"a\x1b[2J\x07\tb\0", False, "a\\u001b[2J\\u0007\tb\\u0000"),
        ("a\u202eb\u2028c".encode(), False, "a\\u202eb\\u2028c"),
        (b"caf\xe9\n", False, "caf\ufffd"),
        (b"\xa9 the rest\nlast\n", True, "last"),
        (b"x" * 4096, True, CUT),
        (b"1%\r2%\r", False, "1%\\u000d2%\\u000d"),
    ],
)
def test_last_lines_are_plain_text(content: bytes, is_cut: bool, text: str) -> None:
    assert last_lines.plain(content, is_cut=is_cut) == text
