"""Services whose machines' clocks are wrong by an hour or a day decide as all others do."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import clock
from shared.lifecycle import TaskStatus
from tests.integration.conftest import Scene
from tests.support import samples

pytestmark = pytest.mark.stores

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.parametrize("ahead", [-3600.0, 86_400.0])
async def test_starts_of_a_dead_scheduler_are_made_by_the_next_whatever_its_clock_was(
    scene: Scene, ahead: float
) -> None:
    at = clock.now() + ahead  # when the dead one says that it placed it
    await scene.add(1, TaskStatus.STARTING, cmd="sleep 600", attempt=1, at=at, placement=samples.placement(at=at))
    async with scene.running():
        await scene.until(TaskStatus.RUNNING, 1)
    assert [handle.attempt for handle in scene.executor.starts] == [1]
