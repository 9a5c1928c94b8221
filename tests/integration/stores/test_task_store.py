"""The compare-and-set of a task's status on a real MongoDB: late or mistaken writers change nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from services.watcher.reconcile import accounting
from shared import errors
from shared.lifecycle import ACTIVE, Ending, Intent, TaskStatus
from shared.models.task import Task
from shared.models.transitions import Transition
from shared.store.stores import Stores
from shared.store.tasks import tasks as task_store
from tests.support import samples

pytestmark = pytest.mark.stores

PENDING, STARTING, RUNNING, OVER = TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER
NOW = samples.NOW


def placing(task_id: int, attempt: int = 0, **fields: Any) -> Transition:
    return Transition(
        task_id,
        attempt,
        PENDING,
        STARTING,
        at=NOW,
        next_attempt=attempt + 1,
        fields={"placement": samples.placement().model_dump()},
        **fields,
    )


def leasing(task_id: int, *leases: str, attempt: int = 0) -> Transition:
    where = {**samples.placement().model_dump(), "leases": list(leases)}
    return dataclasses.replace(placing(task_id, attempt), fields={"placement": where})


def ending(task_id: int, attempt: int, old: TaskStatus = RUNNING, **fields: Any) -> Transition:
    return Transition(task_id, attempt, old, OVER, at=NOW, fields={"ending": Ending.EXITED, "exit_code": 0, **fields})


async def insert(opened: Stores, *tasks: Task) -> None:
    await opened.tasks.insert(tasks)


async def stored(opened: Stores, task_id: int = 1) -> Task:
    task = await opened.views.get(task_id)
    assert task is not None
    return task


async def test_a_task_is_read_back_as_it_was_stored(opened: Stores) -> None:
    task = samples.task(5, tags=["a"], intent=Intent.KILL, intent_at=NOW, placement=samples.placement())
    await insert(opened, task)
    assert await stored(opened, 5) == task


async def test_numbers_grow_and_are_never_given_twice(opened: Stores) -> None:
    firsts = await asyncio.gather(*(opened.tasks.reserve_ids(3) for _ in range(20)))
    assert sorted(firsts) == list(range(1, 61, 3))


async def test_a_transition_changes_the_status_and_is_recorded_in_the_history(opened: Stores) -> None:
    await insert(opened, samples.task())
    moved = await opened.tasks.transition(placing(1))
    assert moved == await stored(opened)
    assert moved is not None
    assert (moved.status, moved.status_at, moved.attempt) == (STARTING, NOW, 1)
    assert moved.history == [{"at": NOW, "status": "starting", "attempt": 1, "note": None, "node": samples.NODE}]


async def test_a_watcher_from_an_earlier_attempt_cannot_finish_the_task(opened: Stores) -> None:
    await insert(opened, samples.task(1, RUNNING, attempt=2))
    before = await stored(opened)
    assert await opened.tasks.transition(ending(1, 1)) is None
    assert await opened.tasks.transition_many([ending(1, 1)]) == set()
    assert await stored(opened) == before


async def test_a_scheduler_with_a_later_attempt_changes_nothing(opened: Stores) -> None:
    await insert(opened, samples.task(1, RUNNING, attempt=2))
    assert await opened.tasks.transition(ending(1, 3)) is None
    assert (await stored(opened)).status is RUNNING


async def test_the_loser_of_a_race_gets_none(opened: Stores) -> None:
    await insert(opened, samples.task())
    results = await asyncio.gather(*(opened.tasks.transition(placing(1)) for _ in range(10)))
    assert len([moved for moved in results if moved is not None]) == 1
    task = await stored(opened)
    assert (task.attempt, len(task.history)) == (1, 1)


async def test_an_end_never_changes_again(opened: Stores) -> None:
    await insert(opened, samples.task(1, RUNNING, attempt=1))
    assert await opened.tasks.transition(ending(1, 1, exit_code=3))
    first = await stored(opened)
    assert await opened.tasks.transition(ending(1, 1, exit_code=4)) is None
    assert await opened.tasks.transition(ending(1, 1, STARTING, exit_code=5)) is None
    assert await opened.tasks.ask(1, Intent.KILL, at=NOW, statuses=sorted(ACTIVE)) is None
    assert await stored(opened) == first


@pytest.mark.parametrize(("old", "new"), [(OVER, RUNNING), (RUNNING, STARTING), (PENDING, RUNNING)])
async def test_an_invalid_transition_is_refused_before_anything_is_written(
    opened: Stores, old: TaskStatus, new: TaskStatus
) -> None:
    await insert(opened, samples.task(1, old), samples.task(2))
    wrong = Transition(1, 0, old, new, at=NOW)
    with pytest.raises(errors.InvalidTransition):
        await opened.tasks.transition(wrong)
    with pytest.raises(errors.InvalidTransition):
        await opened.tasks.transition_many([placing(2), wrong])
    assert ((await stored(opened, 1)).status, (await stored(opened, 2)).status) == (old, PENDING)


async def test_two_callers_in_a_race_learn_exactly_which_tasks_each_moved(opened: Stores) -> None:
    ids = range(1, 301)
    await insert(opened, *(samples.task(number) for number in ids))
    moves = [[placing(number) for number in ids], [placing(number) for number in reversed(ids)]]
    first, second = await asyncio.gather(*(opened.tasks.transition_many(half) for half in moves))
    assert first | second == set(ids)
    assert first & second == set()
    for number in ids:
        assert (await stored(opened, number)).attempt == 1


async def test_winners_are_named_when_some_transitions_lose(opened: Stores) -> None:
    await insert(opened, samples.task(1), samples.task(2, OVER), samples.task(3, attempt=4), samples.task(4))
    moves = [placing(1), placing(2), placing(3), placing(4), placing(99)]
    assert await opened.tasks.transition_many(moves) == {1, 4}
    assert await opened.tasks.transition_many([]) == set()


async def test_a_placement_needs_a_task_without_a_kill_intent(opened: Stores) -> None:
    await insert(opened, samples.task(1, intent=Intent.KILL), samples.task(2))
    moves = [placing(1, intents=[None]), placing(2, intents=[None])]
    assert await opened.tasks.transition_many(moves) == {2}


# --- leases -------------------------------------------------------------------------------------


async def test_a_port_or_device_is_given_once_and_only_the_second_task_loses(indexed: Stores) -> None:
    await insert(indexed, *(samples.task(number) for number in range(1, 6)))
    moves = [
        leasing(1, "n1/port/10000", "n1/gpu/0"),
        leasing(2, "n1/port/10001", "n1/gpu/0"),
        leasing(3, "n2/port/10000"),
        leasing(4),
        leasing(5),
    ]
    assert await indexed.tasks.transition_many(moves) == {1, 3, 4, 5}
    assert ((await stored(indexed, 2)).status, (await stored(indexed, 2)).attempt) == (PENDING, 0)
    assert await indexed.tasks.transition(leasing(2, "n2/port/10000")) is None
    assert await indexed.tasks.transition(leasing(2, "n1/port/10001")) is not None


@pytest.mark.parametrize("leave", [OVER, PENDING])
async def test_ports_and_devices_are_free_when_a_task_leaves_its_node(indexed: Stores, leave: TaskStatus) -> None:
    await insert(indexed, samples.task(1), samples.task(2))
    assert await indexed.tasks.transition(leasing(1, "n1/port/10000"))
    assert await indexed.tasks.transition(Transition(1, 1, STARTING, RUNNING, at=NOW))
    assert await indexed.tasks.transition(leasing(2, "n1/port/10000")) is None
    assert await indexed.tasks.transition(Transition(1, 1, RUNNING, leave, at=NOW))
    assert await indexed.tasks.transition(leasing(2, "n1/port/10000"))


async def test_of_many_concurrent_requests_for_a_port_one_gets_it(indexed: Stores) -> None:
    await insert(indexed, *(samples.task(number) for number in range(1, 21)))
    wanted = (indexed.tasks.transition_many([leasing(number, "n1/port/10000")]) for number in range(1, 21))
    assert len(set().union(*await asyncio.gather(*wanted))) == 1


async def test_a_history_is_bounded_and_keeps_the_latest_entries(opened: Stores) -> None:
    await insert(opened, samples.task())
    for attempt in range(task_store.HISTORY):
        assert await opened.tasks.transition(placing(1, attempt))
        undone = Transition(1, attempt + 1, STARTING, PENDING, at=NOW, note=f"undone {attempt}")
        assert await opened.tasks.transition(undone)
    history = (await stored(opened)).history
    assert len(history) == task_store.HISTORY
    assert history[-1]["note"] == f"undone {task_store.HISTORY - 1}"


# --- inserts ------------------------------------------------------------------------------------


async def test_a_task_inserted_again_after_a_lost_answer_exists_once(opened: Stores) -> None:
    tasks = [samples.task(number) for number in (1, 2, 3)]
    await insert(opened, *tasks[:2])
    await opened.tasks.transition(placing(1))
    await insert(opened, *tasks)
    assert await opened.database["tasks"].count_documents({}) == 3
    assert (await stored(opened)).status is STARTING  # later changes stay


async def test_a_number_that_is_taken_is_a_conflict_and_the_counter_goes_past_it(opened: Stores) -> None:
    first = await opened.tasks.reserve_ids(1)
    await insert(opened, samples.task(41), samples.task(42))  # the counter is outdated
    with pytest.raises(errors.Conflict):
        await insert(opened, samples.task(41, submission="another", cmd="other"), samples.task(first, submission="x"))
    assert (await stored(opened, 41)).spec.cmd == "exit 0"
    assert await opened.tasks.reserve_ids(1) == 43


# --- what owners want --------------------------------------------------------------------------------


async def test_asking_again_keeps_the_time_of_the_first_asking(opened: Stores) -> None:
    await insert(opened, samples.task())
    for at in (NOW, NOW + 5):
        asked = await opened.tasks.ask(1, Intent.SUSPEND, at=at, statuses=sorted(ACTIVE))
        assert asked is not None
        assert (asked.intent, asked.intent_at, asked.status) == (Intent.SUSPEND, NOW, PENDING)
    changed = await opened.tasks.ask(1, Intent.KILL, at=NOW + 9, statuses=sorted(ACTIVE))
    assert changed is not None
    assert (changed.intent, changed.intent_at) == (Intent.KILL, NOW + 9)


async def test_a_kill_is_final(opened: Stores) -> None:
    await insert(opened, samples.task())
    assert await opened.tasks.ask(1, Intent.KILL, at=NOW, statuses=sorted(ACTIVE)) is not None
    assert await opened.tasks.ask(1, Intent.SUSPEND, at=NOW + 9, statuses=sorted(ACTIVE)) is None
    task = await stored(opened, 1)
    assert (task.intent, task.intent_at) == (Intent.KILL, NOW)


async def test_a_missing_task_takes_no_intent(opened: Stores) -> None:
    assert await opened.tasks.ask(1, Intent.KILL, at=NOW, statuses=sorted(ACTIVE)) is None


async def test_settling_is_of_one_attempt(opened: Stores) -> None:
    await insert(opened, samples.task(1, OVER, attempt=2, settled=False), samples.task(2, OVER, settled=False))
    await opened.tasks.settle([(1, 1), (2, 0), (3, 1)])
    assert not (await stored(opened, 1)).settled
    assert (await stored(opened, 2)).settled


# --- usage --------------------------------------------------------------------------------------------


async def test_usage_is_counted_once_whoever_writes_it_when(opened: Stores) -> None:
    rows = [accounting.row_of(samples.ended(1, attempt)) for attempt in (1, 2)]
    first, second = (row for row in rows if row is not None)
    await opened.usage.add_many([first])
    later = first.model_copy(update={"seconds": 999.0})
    await asyncio.gather(*(opened.usage.add_many([later, second]) for _ in range(5)))
    await opened.usage.add_many([])
    assert await opened.usage.of_task(1) == [first, second]


# --- what there is to do -------------------------------------------------------------------------------


async def test_each_loop_reads_its_own_work_only(indexed: Stores) -> None:
    on_node: dict[str, Any] = {"placement": samples.placement(), "attempt": 1}
    elsewhere: dict[str, Any] = {"placement": samples.placement("node2"), "attempt": 1}
    kill: dict[str, Any] = {"intent": Intent.KILL, "intent_at": NOW}
    await insert(
        indexed,
        samples.task(1, cpu=0.5, ram=0.25),
        samples.task(2, TaskStatus.CREATED),
        samples.task(3, STARTING, **on_node),
        samples.task(4, RUNNING, **on_node, **kill),
        samples.task(5, RUNNING, **elsewhere),
        samples.task(6, OVER, **on_node, ended_at=NOW, settled=False),
        samples.task(7, OVER, **on_node, ended_at=NOW),
        samples.task(8, **kill),
        samples.task(9, at=NOW + 100),
    )
    work = indexed.work
    assert await work.pending_ids() == [1, 8, 9]
    assert await work.pending_ids(since=NOW + 100) == [9]
    (one,) = await work.pending_of([1, 2, 3, 99])
    assert (one.id, one.cpus, one.memory, one.attempt, one.queued_at) == (1, 0.5, 1024**3 // 4, 0, NOW)
    assert {task.id for task in await work.placed()} == {3, 4, 5}
    assert {task.id for task in await work.placed(samples.NODE)} == {3, 4}
    assert [task.id for task in await work.placed_of([1, 3, 6])] == [3]
    assert [(task.id, task.intent) for task in await work.asked_on(samples.NODE)] == [(4, Intent.KILL)]
    assert [(task.id, task.attempt, task.status) for task in await work.kills_of_waiting()] == [(8, 0, PENDING)]
    assert [task.id for task in await work.unsettled(samples.NODE, limit=10)] == [6]
    assert await work.attempts([4, 6, 99]) == {4: (1, RUNNING, True), 6: (1, OVER, False)}
    assert {task.id for task in await work.whole([1, 2, 99])} == {1, 2}
    assert await indexed.views.count_kills() == 2
    assert await indexed.views.count({PENDING, STARTING}) == 4
    assert await indexed.views.count(frozenset(TaskStatus)) == 9
    assert sorted(await indexed.views.used()) == [(samples.NODE, 2.0, 2.0), ("node2", 1.0, 1.0)]
