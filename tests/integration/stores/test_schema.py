"""Schema versions: documents are migrated once, and those of neighbouring versions are usable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.api import __main__ as gateway
from shared import errors
from shared.lifecycle import TaskStatus
from shared.models.task import Network, Task
from shared.settings import Settings
from shared.store.stores import Stores
from shared.store.system import migrations, schema
from tests.support import samples

#: Tasks as the first version stored them, made by its own model.
FIRST = json.loads((Path(__file__).parents[2] / "documents" / "first_version.json").read_text())
NETWORKS = {1: None, 2: Network.PUBLIC, 3: Network.PUBLIC, 4: None, 5: None}


@pytest.fixture
async def first(opened: Stores) -> Stores:
    """A database of the first version."""
    await opened.database["tasks"].insert_many(json.loads(json.dumps(FIRST)))
    return opened


async def test_tasks_of_the_first_version_are_migrated(first: Stores) -> None:
    await first.schema.bring_up("one")
    stored = {found["_id"]: found["spec"]["network"] async for found in first.database["tasks"].find()}
    assert stored == NETWORKS
    assert await first.schema.version() == migrations.VERSION


async def test_tasks_of_the_first_version_are_usable_before_their_migration(first: Stores) -> None:
    wholes = {task.id: task for task in await first.work.whole(list(NETWORKS))}
    assert {task_id: whole.spec.network for task_id, whole in wholes.items()} == NETWORKS
    assert wholes[1].spec.ports == []
    assert [pending.id for pending in await first.work.pending_of([1, 2, 3])] == [1]
    assert [placed.id for placed in await first.work.placed("node1")] == [3]
    assert [ended.id for ended in await first.work.unsettled("node1", limit=10)] == [5]
    shown = await first.views.get(4)
    assert shown is not None
    assert shown.exit_code == 0


async def test_a_missing_field_has_its_default() -> None:
    """A version that does not know a field leaves it out."""
    whole = samples.task(7).document()
    bare = {name: whole[name] for name, field in Task.model_fields.items() if field.is_required() and name in whole}
    assert Task.model_validate({"_id": 7, **bare}).document() == {**whole, "submission": ""}


async def test_documents_of_a_later_version_are_usable(indexed: Stores) -> None:
    for task in (
        samples.task(1),
        samples.task(2, TaskStatus.RUNNING, attempt=1, placement=samples.placement(), started_at=samples.NOW),
        samples.task(3, TaskStatus.OVER, attempt=1, placement=samples.placement(), ended_at=samples.NOW, settled=False),
    ):
        await indexed.database["tasks"].insert_one(with_more(task.document()))
    assert [pending.id for pending in await indexed.work.pending_of([1, 2, 3])] == [1]
    assert [placed.id for placed in await indexed.work.placed()] == [2]
    assert [ended.id for ended in await indexed.work.unsettled(samples.NODE, limit=10)] == [3]
    assert len(await indexed.work.whole([1, 2, 3])) == 3
    stored = await indexed.database["tasks"].find_one({"_id": 1})
    assert stored is not None
    assert stored["later"] == {"what": "it means"}, "who reads it takes nothing from it"


def with_more(document: Any) -> Any:
    """Return the document with unknown fields at every level; `dynamic` holds names of users."""
    if isinstance(document, dict):
        known = {name: value if name == "dynamic" else with_more(value) for name, value in document.items()}
        return {**known, "later": {"what": "it means"}}
    return [with_more(item) for item in document] if isinstance(document, list) else document


async def test_an_interrupted_step_is_completed_by_the_next_run(first: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "BATCH", 2)
    batches = 0

    def die(*_: object, **__: object) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise RuntimeError("killed")

    monkeypatch.setattr(migrations.log, "info", die)
    with pytest.raises(RuntimeError, match="killed"):
        await first.schema.bring_up("one")
    assert await first.database["tasks"].count_documents({"spec.network": {"$type": "bool"}}) == 1
    assert await first.schema.version() == schema.FIRST
    await first.schema.bring_up("another")
    assert await first.database["tasks"].count_documents({"spec.network": {"$type": "bool"}}) == 0
    assert await first.schema.version() == migrations.VERSION


async def test_a_step_is_run_by_one_of_several_concurrent_services(
    first: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    async def step(_: object) -> int:
        taken.append(1)
        await asyncio.sleep(0)
        return 0

    monkeypatch.setattr(migrations, "STEPS", (migrations.Step(2, "counted", step),))
    came = await asyncio.gather(*(first.schema.bring_up(f"service {n}") for n in range(5)), return_exceptions=True)
    assert all(end is None or isinstance(end, errors.StoreUnavailable) for end in came), came
    await first.schema.bring_up("a late one")
    assert taken == [1]


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A version with one more step."""

    async def step(_: object) -> int:
        return 0

    more = migrations.Step(migrations.VERSION + 1, "one more", step)
    with monkeypatch.context() as changed:
        changed.setattr(migrations, "STEPS", (*migrations.STEPS, more))
        yield


@pytest.mark.usefixtures("newer")
async def test_a_service_of_the_version_before_works_beside_the_new_one(opened: Stores) -> None:
    await opened.schema.bring_up("new")
    assert await opened.schema.version() == migrations.VERSION + 1
    assert await opened.schema.check() == migrations.VERSION + 1


async def test_a_service_that_is_older_by_two_versions_refuses_to_start(opened: Stores, settings: Settings) -> None:
    far = migrations.VERSION + 2
    await opened.database["schema"].insert_one({"_id": "version", "version": far, "at": samples.NOW})
    with pytest.raises(errors.SchemaTooNew, match=f"the database has schema version {far}"):
        await opened.prepare()
    with pytest.raises(errors.SchemaTooNew):
        await asyncio.wait_for(gateway.serve(settings, None), 30)
    assert await opened.schema.version() == far, "what is newer is left as it is"
