"""First in, first out: the task that has waited longest goes first, whoever owns it."""

from __future__ import annotations

import pytest

from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.view import OwnerUsage, Usage, View
from services.scheduler.queue.book import Book
from tests.support import samples

#: To fair share, bob would go first.
VIEW = View(now=samples.NOW, users={"alice": OwnerUsage(10, Usage(9e6, 9e6, 9e6)), "bob": OwnerUsage(100)})


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]])
def test_the_task_that_has_waited_longest_goes_first_whoever_owns_it(order: list[int]) -> None:
    users = {1: "alice", 2: "bob", 3: "alice", 4: "bob"}
    book = Book()
    book.add(
        [samples.pending(n, user=users[n], queued_at=samples.NOW - 10 * order.index(n)) for n in users],
    )
    offers, offered = Fifo().begin(book.lanes, VIEW), []
    while (task := offers.pop()) is not None:
        offered.append(task.id)
        offers.charge(task)
    assert offered == order[::-1]


def test_of_tasks_queued_at_the_same_time_the_lower_number_goes_first() -> None:
    book = Book()
    book.add([samples.pending(number, user=f"user{number % 3}", queued_at=samples.NOW) for number in range(9, 0, -1)])
    offers, offered = Fifo().begin(book.lanes, VIEW), []
    while (task := offers.pop()) is not None:
        offered.append(task.id)
        offers.charge(task)
    assert offered == [*range(1, 10)]
