"""Hosts whose clocks are wrong (a real engine behind a proxy that shifts its times): tasks' times are on our clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from godocker.docker.local_engine import LocalEngine
from shared import clock
from shared.lifecycle import Ending, TaskStatus
from tests.integration.conftest import Scene, on_docker
from tests.support.servers import proxy

pytestmark = [pytest.mark.docker, pytest.mark.stores, pytest.mark.timeout(240)]

TIMEOUT = 60.0
SLACK = 5.0  #: seconds: on a busy machine an answer takes long, and differences within that time cannot be measured
RUNNING, OVER = TaskStatus.RUNNING, TaskStatus.OVER
SAYS_SO = "trap 'kill $!; exit 7' TERM\nsleep 600 &\nwait"  #: a command that ends with a code of its own when it is sent SIGTERM


@dataclass(frozen=True, slots=True)
class Story:
    """A task, whether its owner kills it while it runs, and its expected end."""

    cmd: str
    killed: bool
    ending: Ending
    code: int


STORIES = {
    1: Story("sleep 7\nexit 3", False, Ending.EXITED, 3),
    2: Story("exec sleep 600", True, Ending.KILLED, 137),
    3: Story(SAYS_SO, True, Ending.KILLED, 137),
    4: Story("exit 143", False, Ending.EXITED, 143),
    5: Story("kill -9 $$", False, Ending.EXITED, 137),
}


@pytest.fixture
async def off(scene: Scene, docker_engine: LocalEngine, tmp_path: Path, ahead: int) -> AsyncIterator[Scene]:
    """Run scheduler and watcher on the engine, whose clock is ahead of ours by so many seconds."""
    async with proxy.between(tmp_path, docker_engine.socket) as between:
        between.ahead = ahead
        async with on_docker(scene, docker_engine, url=between.url) as running:
            yield running


@pytest.mark.parametrize("ahead", [-3600, 3600])
async def test_ends_times_and_usage_are_right_where_a_clock_is_an_hour_off(off: Scene) -> None:
    began = clock.now()
    for task_id, story in STORIES.items():
        await off.add(task_id, cmd=story.cmd, ram=0.05, cpu=0.5)
        await off.broker.enqueue([task_id])
    killed = [task_id for task_id, story in STORIES.items() if story.killed]
    await off.until(RUNNING, *killed, timeout=TIMEOUT)
    for task_id in killed:
        await off.kill(task_id)
    await off.until(OVER, *STORIES, timeout=TIMEOUT)
    await off.settled(*STORIES)
    passed = clock.now() - began
    for task_id, story in STORIES.items():
        task = await off.task(task_id)
        assert (task.ending, task.exit_code) == (story.ending, story.code), (task_id, task.reason)
        assert task.started_at is not None
        assert task.ended_at is not None
        assert began - SLACK < task.started_at <= task.ended_at < began + passed + SLACK
        (row,) = await off.stores.usage.of_task(task_id)
        assert row.seconds == task.ended_at - task.started_at
    (row,) = await off.stores.usage.of_task(1)
    assert row.seconds > 7 - SLACK
