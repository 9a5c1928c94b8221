"""A task's intent and its time, on a real MongoDB: the same for every way to request it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from shared.lifecycle import ACTIVE, Intent, TaskStatus
from shared.models.task import Member
from shared.store.stores import Stores
from tests.support import samples

pytestmark = pytest.mark.stores

KILL, RESCHEDULE, SUSPEND, RESUME = Intent.KILL, Intent.RESCHEDULE, Intent.SUSPEND, Intent.RESUME
FIRST, SECOND = samples.NOW + 1, samples.NOW + 2
Ask = Callable[[Stores, Intent], Awaitable[object]]


async def ask_one(opened: Stores, intent: Intent) -> object:
    return await opened.tasks.ask(2, intent, at=SECOND, statuses=sorted(ACTIVE), by="bob")


async def ask_children(opened: Stores, intent: Intent) -> object:
    return await opened.arrays.ask_children(1, intent, at=SECOND, by="bob")


async def kill_all(opened: Stores, intent: Intent) -> object:
    assert intent is KILL
    return await opened.owned.kill_all("alice", at=SECOND, by="bob")


TABLE = [  # intent before, request, intent after, since when
    (None, KILL, KILL, SECOND),
    (SUSPEND, KILL, KILL, SECOND),
    (KILL, KILL, KILL, FIRST),
    (RESCHEDULE, KILL, KILL, FIRST),  # it is being stopped since then
    (None, RESCHEDULE, RESCHEDULE, SECOND),
    (RESCHEDULE, RESCHEDULE, RESCHEDULE, FIRST),
    (KILL, RESCHEDULE, KILL, FIRST),
    (KILL, SUSPEND, KILL, FIRST),
    (RESCHEDULE, SUSPEND, RESCHEDULE, FIRST),
    (RESCHEDULE, RESUME, RESCHEDULE, FIRST),
    (KILL, RESUME, KILL, FIRST),
    (SUSPEND, RESUME, RESUME, SECOND),
]


@pytest.mark.parametrize(
    ("ask", "wanted", "asked", "becomes", "since"),
    [
        *((ask, *row) for ask in (ask_one, ask_children) for row in TABLE),
        *((kill_all, *row) for row in TABLE if row[1] is KILL),
    ],
)
async def test_the_intent_of_a_run_that_is_being_stopped_is_not_withdrawn(
    opened: Stores, ask: Ask, wanted: Intent | None, asked: Intent, becomes: Intent, since: float
) -> None:
    placed = samples.task(
        2,
        TaskStatus.RUNNING,
        attempt=1,
        placement=samples.placement(),
        member=Member(parent=1, index=1, first=1, last=2, step=1),
        intent=wanted,
        intent_at=FIRST if wanted else None,
        intent_by="alice" if wanted else None,
    )
    await opened.tasks.insert([placed])
    await ask(opened, asked)
    task = await opened.views.get(2)
    assert task is not None
    assert (task.intent, task.intent_at) == (becomes, since)
    # A kill of a task that is being rescheduled belongs to the killer, and counts from the first stop.
    assert task.intent_by == ("alice" if becomes is wanted else "bob")
