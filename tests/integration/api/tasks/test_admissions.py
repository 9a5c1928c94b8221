"""The limits on pending tasks hold exactly, for concurrent submissions through several gateways."""

from __future__ import annotations

import asyncio

import pytest

from services.api.hints import Hints
from services.api.submissions import Submissions
from shared import errors
from shared.broker.broker import Broker
from shared.lifecycle import TaskStatus
from shared.models.quota import PendingLimits
from shared.models.task import Task
from shared.settings import Settings
from shared.store import stores
from shared.store.stores import Stores
from tests.support import samples

pytestmark = pytest.mark.stores

Answer = Exception | None


async def admit(opened: Stores, limits: PendingLimits, *tasks: Task) -> list[Answer]:
    return await opened.admissions.admit(tasks, limits)


def admitted(answers: list[Answer]) -> list[bool]:
    assert all(answer is None or isinstance(answer, errors.TooManyRequests) for answer in answers)
    return [answer is None for answer in answers]


async def count(opened: Stores) -> int:
    return await opened.database["tasks"].count_documents({})


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (PendingLimits(user=15, everybody=None), 15),
        (PendingLimits(user=None, everybody=25), 25),
        (PendingLimits(user=30, everybody=10), 10),
    ],
)
async def test_forty_concurrent_tasks_on_two_gateways_are_admitted_exactly_up_to_the_limit(
    opened: Stores, settings: Settings, limits: PendingLimits, expected: int
) -> None:
    async with stores.connect(settings) as other:
        gateways = [opened, other]
        asked = [admit(gateways[number % 2], limits, samples.task(number)) for number in range(1, 41)]
        answers = [answers[0] for answers in await asyncio.gather(*asked)]
    assert sum(admitted(answers)) == expected
    assert await count(opened) == expected


async def test_a_batch_is_admitted_in_its_order_up_to_the_limit(opened: Stores) -> None:
    tasks = [samples.task(number, user=user) for number, user in enumerate("aababb", start=1)]
    answers = await admit(opened, PendingLimits(user=2, everybody=None), *tasks)
    assert admitted(answers) == [True, True, True, False, True, False]
    assert "a has 2 tasks waiting" in str(answers[3])
    answers = await admit(opened, PendingLimits(user=None, everybody=5), samples.task(7), samples.task(8))
    assert admitted(answers) == [True, False]
    assert "5 tasks are waiting" in str(answers[1])


async def test_only_pending_tasks_count(opened: Stores) -> None:
    statuses = [*TaskStatus]
    await opened.tasks.insert([samples.task(number, status) for number, status in enumerate(statuses, start=1)])
    limits = PendingLimits(user=3, everybody=None)  # created and pending tasks count
    answers = [(await admit(opened, limits, samples.task(number)))[0] for number in (11, 12)]
    assert admitted(answers) == [True, False]


async def test_a_limit_that_was_lowered_refuses_and_breaks_nothing(opened: Stores) -> None:
    await opened.tasks.insert([samples.task(number) for number in range(1, 6)])
    assert admitted(await admit(opened, PendingLimits(user=2, everybody=None), samples.task(9))) == [False]


async def test_without_limits_everything_is_admitted(opened: Stores) -> None:
    tasks = [samples.task(number) for number in range(1, 301)]
    assert admitted(await admit(opened, PendingLimits(user=None, everybody=None), *tasks)) == [True] * 300


async def test_numbers_that_are_taken_are_skipped_also_under_limits(
    opened: Stores, hints: Broker, settings: Settings
) -> None:
    """After the loss of the counter, submissions find their numbers taken and get others."""
    await opened.tasks.insert([samples.task(number, TaskStatus.OVER) for number in (1, 2, 3)])
    for limit in (None, 100):
        limited = settings.model_copy(update={"rate_limit": limit})
        submissions = Submissions(opened, Hints(hints, poll=1), limited)
        await opened.database["counters"].delete_many({})
        numbers = await asyncio.gather(*(submissions.submit(samples.task(0)) for _ in range(3)))
        assert len(set(numbers)) == 3
        assert min(numbers) > 3
    assert await count(opened) == 9


async def test_each_caller_of_a_shared_insert_gets_its_own_number_or_refusal(
    opened: Stores, hints: Broker, settings: Settings
) -> None:
    submissions = Submissions(opened, Hints(hints, poll=1), settings.model_copy(update={"rate_limit": 5}))
    names = [f"task{number}" for number in range(20)]
    tasks = [samples.task(0, cmd=name) for name in names]
    results = await asyncio.gather(*(submissions.submit(task) for task in tasks), return_exceptions=True)
    numbers = {number: name for number, name in zip(results, names, strict=True) if isinstance(number, int)}
    assert len(numbers) == 5
    assert sum(isinstance(result, errors.TooManyRequests) for result in results) == 15
    for number, name in numbers.items():
        task = await opened.views.get(number)
        assert task is not None
        assert task.spec.cmd == name
