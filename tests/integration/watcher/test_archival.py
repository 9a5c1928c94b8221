"""Tasks that ended long ago are archived automatically: their records stay, their files are removed."""

from __future__ import annotations

import pytest

from services.watcher.cleanup import archival
from services.watcher.cleanup.archival import DAY, Archiver
from services.watcher.cleanup.purge import Purger
from shared.lifecycle import TaskStatus
from shared.models.task import Place, Purge
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from tests.support import samples

OVER, ARCHIVED = TaskStatus.OVER, TaskStatus.ARCHIVED
NOW = samples.NOW + 100 * DAY


async def add(opened: Stores, task_id: int, status: TaskStatus = OVER, *, days: float, **fields: object) -> None:
    """Add a task that ended so many days ago."""
    await opened.tasks.insert([samples.task(task_id, status, attempt=1, ended_at=NOW - days * DAY, **fields)])


def duty(opened: Stores, settings: Settings, *, days: int = 30, holder: str = "one") -> Archiver:
    return Archiver(opened, settings.model_copy(update={"clean_old": days}), holder=holder, now=lambda: NOW)


async def statuses(opened: Stores) -> dict[int, str]:
    return {task["_id"]: task["status"] async for task in opened.database["tasks"].find().sort("_id")}


async def test_a_task_that_has_been_over_for_longer_is_archived_and_its_files_go(
    indexed: Stores, settings: Settings
) -> None:
    await add(indexed, 1, days=30.1)
    await add(indexed, 2, days=29.9)
    await add(indexed, 3, days=60, settled=False)
    await add(indexed, 4, days=60, purge=Purge.ALL)
    await add(indexed, 5, ARCHIVED, days=60)
    await indexed.tasks.insert([samples.task(6, TaskStatus.RUNNING, attempt=1, placement=samples.placement())])
    directories = TaskDirectories(settings.shared_dir)
    assert not await duty(indexed, settings).archive()
    assert await statuses(indexed) == {1: ARCHIVED, 2: OVER, 3: OVER, 4: OVER, 5: ARCHIVED, 6: TaskStatus.RUNNING}
    directories.path(Place(1)).mkdir(parents=True)
    directories.path(Place(2)).mkdir(parents=True)
    await Purger(indexed, directories, poll=1)._purge_some()
    assert (directories.path(Place(1)).exists(), directories.path(Place(2)).exists()) == (False, True)
    whole = await indexed.views.get(1)
    assert whole is not None
    assert whole.history[-1]["note"] == "over for 30 days"


async def test_a_round_ends_after_so_many_and_the_next_goes_on(
    indexed: Stores, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archival, "BATCH", 3)
    monkeypatch.setattr(archival, "BATCHES", 2)
    for task_id in range(1, 9):
        await add(indexed, task_id, days=40 + task_id)
    first = duty(indexed, settings)
    assert await first.archive()
    assert [task_id for task_id, status in (await statuses(indexed)).items() if status == OVER] == [1, 2], (
        "the oldest first"
    )
    assert not await first.archive()
    assert set((await statuses(indexed)).values()) == {ARCHIVED}


async def test_one_watcher_at_a_time_does_it(indexed: Stores, settings: Settings) -> None:
    await indexed.leases.acquire(archival.LEASE, "another", seconds=60)
    await add(indexed, 1, days=60)
    assert not await duty(indexed, settings).archive()
    assert await statuses(indexed) == {1: OVER}
