"""The fake executor misbehaves on request, and only then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared import errors
from shared.executors import fake, scripts, types
from tests.support import waiting


def run_of(task_id: int = 1, attempt: int = 1, directory: Path | str = "/nowhere") -> types.Run:
    handle = types.Handle(fake.NODE.name, task_id, attempt)
    return types.Run(handle, "x", 1, 1, (), 1, 1024, str(directory), False)


async def test_a_run_without_a_script_runs_until_the_test_ends_it() -> None:
    executor = fake.FakeExecutor()
    await executor.start(run_of())
    assert executor.alive == {run_of().handle: types.RunState.RUNNING}
    executor.exit(run_of().handle, 3, out_of_memory=True)
    seen = await executor.inspect(run_of().handle)
    assert seen is not None
    assert (seen.exit_code, seen.out_of_memory) == (3, True)


async def test_a_start_with_a_lost_answer_leaves_a_run() -> None:
    executor = fake.FakeExecutor()
    executor.faults.lose_answer.add("god-1-1")
    with pytest.raises(errors.NodeUnavailable):
        await executor.start(run_of())
    assert len(executor.alive) == 1
    await executor.start(run_of())
    assert executor.starts == [run_of().handle]


async def test_a_run_that_was_only_created_is_started_by_the_next_try() -> None:
    executor = fake.FakeExecutor()
    executor.faults.only_create.add("god-1-1")
    with pytest.raises(errors.NodeUnavailable):
        await executor.start(run_of())
    assert executor.state(run_of().handle) is types.RunState.CREATED
    await executor.start(run_of())
    assert executor.state(run_of().handle) is types.RunState.RUNNING


async def test_a_refused_start_leaves_nothing() -> None:
    executor = fake.FakeExecutor()
    executor.faults.refuse_start["god-1-1"] = errors.StartRefused("no")
    executor.faults.refuse_prepare["god-1-1"] = errors.ImageNotFound("no such image")
    with pytest.raises(errors.StartRefused):
        await executor.start(run_of())
    with pytest.raises(errors.ImageNotFound):
        await executor.prepare(run_of())
    assert await executor.inspect(run_of().handle) is None


async def test_a_node_that_is_down_answers_nothing_and_its_runs_live_on() -> None:
    executor = fake.FakeExecutor()
    await executor.start(run_of())
    executor.faults.down[fake.NODE.name] = "cable cut"
    [report] = await executor.nodes()
    assert (report.ready, report.reason) == (False, "cable cut")
    for call in (executor.start(run_of(2)), executor.list(fake.NODE.name), executor.stop(run_of().handle, grace=0)):
        with pytest.raises(errors.NodeUnavailable, match="cable cut"):
            await call
    executor.faults.down.clear()
    assert [seen.state for seen in await executor.list(fake.NODE.name)] == [types.RunState.RUNNING]


async def test_a_call_hangs_until_it_is_released() -> None:
    executor = fake.FakeExecutor()
    gate = executor.faults.hang["start"] = asyncio.Event()
    starting = asyncio.create_task(executor.start(run_of()))
    await waiting.until(lambda: executor.calls, "it was called")
    assert not executor.alive
    gate.set()
    await starting
    assert executor.alive


async def test_an_omitted_run_is_not_listed_and_a_vanished_run_is_gone() -> None:
    executor = fake.FakeExecutor()
    await executor.start(run_of(1))
    await executor.start(run_of(2))
    executor.faults.omit.add("god-1-1")
    executor.vanish(run_of(2).handle)
    assert list(await executor.list(fake.NODE.name)) == []
    assert await executor.inspect(run_of(1).handle) is not None
    assert await executor.inspect(run_of(2).handle) is None


async def test_dropped_events_do_not_come_and_a_resync_does() -> None:
    executor = fake.FakeExecutor()
    stream = executor.events(fake.NODE.name)
    assert (await anext(stream)).kind is types.EventKind.RESYNC
    executor.faults.drop_events = True
    await executor.start(run_of())
    executor.resync(fake.NODE.name)
    assert (await anext(stream)).kind is types.EventKind.RESYNC
    executor.faults.drop_events = False
    executor.exit(run_of().handle, 4)
    assert (await anext(stream)).exit_code == 4
    await stream.aclose()  # type: ignore[attr-defined]


async def test_an_unkillable_run_makes_its_node_unavailable() -> None:
    executor = fake.FakeExecutor()
    executor.faults.unkillable.add("god-1-1")
    await executor.start(run_of())
    for call in (executor.stop(run_of().handle, grace=0), executor.remove(run_of().handle)):
        with pytest.raises(errors.NodeUnavailable):
            await call
    assert executor.alive


async def test_an_attempt_that_was_removed_does_not_run_again() -> None:
    executor = fake.FakeExecutor()
    await executor.start(run_of())
    await executor.remove(run_of().handle)
    await executor.start(run_of())
    assert executor.starts == [run_of().handle]
    seen = await executor.inspect(run_of().handle)
    assert seen is not None
    assert seen.exit_code == 125


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("", scripts.Script()),
        ("sleep 3", scripts.Script(seconds=3)),
        ("#!/bin/sh\n# a comment\nsleep 0.5\nsleep 1\nexit 7\nsleep 9", scripts.Script(seconds=1.5, exit_code=7)),
        ("trap '' TERM\nsleep 2", scripts.Script(seconds=2, ignores_term=True)),
        ("  exit 256  ", scripts.Script(exit_code=0)),
        ("sleep 1; exit 3", scripts.Script()),
        ("sleep $(id)", scripts.Script()),
        ("\n" * 50 + "sleep 9", scripts.Script()),
    ],
)
def test_known_script_lines_are_interpreted(text: str, script: scripts.Script) -> None:
    assert scripts.parse(text) == script
