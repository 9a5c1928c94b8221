"""Services whose clocks are wrong by an hour or a day decide like all others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from shared import clock
from shared.auth import apikeys
from shared.lifecycle import TaskStatus
from shared.settings import Settings
from shared.store import stores
from tests.integration.conftest import Scene
from tests.support import expositions, samples, waiting
from tests.support.harness import clocks

pytestmark = pytest.mark.stores

HOUR, DAY = 3600, 86_400
CLOCKS = [
    {"api": -HOUR, "scheduler": DAY, "watcher": HOUR, "files": HOUR},
    {"api": DAY, "scheduler": -HOUR, "watcher": -HOUR, "files": 0},
]
SLACK = 5.0  #: seconds between two processes' times of the same moment
TIMEOUT = 60.0


@pytest.mark.parametrize("ahead", [-3600.0, 86_400.0])
async def test_starts_of_a_dead_scheduler_are_made_by_the_next_whatever_its_clock(scene: Scene, ahead: float) -> None:
    at = clock.now() + ahead  # the time at which the dead scheduler recorded the placement
    await scene.add(1, TaskStatus.STARTING, cmd="sleep 600", attempt=1, at=at, placement=samples.placement(at=at))
    async with scene.running():
        await scene.until(TaskStatus.RUNNING, 1)
    assert [handle.attempt for handle in scene.executor.starts] == [1]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ahead", CLOCKS, ids=["gateway-behind", "gateway-ahead"])
async def test_a_task_runs_and_its_times_are_right_whatever_the_clock_of_each_service(
    settings: Settings, tmp_path: Path, ahead: dict[str, int]
) -> None:
    key = apikeys.generate()
    async with stores.connect(settings) as opened:
        await opened.ensure_indexes()
        await opened.users.add(samples.user("alice", apikey=key.stored))
    await asyncio.to_thread(run_a_task, settings, tmp_path, ahead, key.secret)


def run_a_task(settings: Settings, folder: Path, ahead: dict[str, int], key: str) -> None:
    began = time.time()
    with (
        clocks.running(settings, folder, ahead=ahead) as addresses,
        httpx.Client(base_url=f"{addresses['api']}/api/1.0", timeout=30, trust_env=False) as client,
    ):
        login = client.post("/authenticate", json={"user": "alice", "apikey": key})
        assert login.status_code == 200, login.text
        client.headers["Authorization"] = f"Bearer {login.json()['token']}"
        asked = {"command.cmd": "date +%s; exit 3", "requirements.cpu": 1, "requirements.ram": 1}
        sent = client.post("/task", json=samples.submission(**asked))
        assert sent.status_code == 200, sent.text
        path = f"/task/{sent.json()['id']}"

        def over() -> dict[str, object] | None:
            shown: dict[str, object] = client.get(path).json()
            return shown if shown["status"]["primary"] == "over" else None  # type: ignore[index]

        task = waiting.until_blocking(over, "the task is over", timeout=TIMEOUT)
        assert task is not None
        ended = time.time()
        assert task["container"]["meta"]["State"]["ExitCode"] == 3  # type: ignore[index]
        for moment in ("date", "date_running", "date_over"):
            at = task[moment] if moment == "date" else task["status"][moment]  # type: ignore[index]
            assert began - SLACK < float(at) < ended + SLACK, moment  # type: ignore[arg-type]
        # The gateway's grant is taken by a files service whose clock is far from its own; the task's clock is the machine's.
        log = client.get(f"{path}/files/god.log")
        assert log.status_code == 200, log.text
        assert began - SLACK < int(log.text) < ended + SLACK
        assert client.get(f"{path}/explain").status_code == 200
        # The alert on clocks uses these.
        shown = expositions.shown(addresses["api"].removeprefix("http://"))
        told = expositions.value(shown, "godocker_clock_ahead_seconds", kind="files")
        assert told == pytest.approx(ahead["files"], abs=SLACK)
        for service in ("api", "scheduler", "watcher"):
            shown = expositions.shown(addresses[service].removeprefix("http://"))
            told = expositions.value(shown, "godocker_clock_ahead_seconds", kind="machine")
            assert told == pytest.approx(ahead[service], abs=SLACK), service
