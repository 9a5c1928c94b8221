"""Delays between the attempts of an undone start."""

from __future__ import annotations

from services.scheduler.start import retries
from shared import errors

TAKEN = errors.PortTaken("in use", port=10_000)
THROTTLED = errors.ImageThrottled("too many requests", retry_after=20.0)


def test_a_start_on_a_taken_port_is_retried_at_once_but_not_for_ever() -> None:
    counted = retries.Retries()
    assert [counted.delay(1, TAKEN) for _ in range(retries.MOST + 1)] == [0.0] * retries.MOST + [None]
    assert counted.delay(2, TAKEN) == 0.0


def test_a_registry_that_throttles_is_asked_less_and_less_often() -> None:
    counted = retries.Retries()
    waits = [counted.delay(1, THROTTLED) for _ in range(retries.MOST)]
    assert waits[:4] == [20.0, 40.0, 80.0, 160.0]
    assert waits[-1] == retries.LONGEST


def test_a_task_that_started_counts_from_zero_again() -> None:
    counted = retries.Retries()
    for _ in range(retries.MOST):
        counted.delay(1, TAKEN)
    counted.forget(1)
    assert counted.delay(1, THROTTLED) == 20.0


def test_a_full_node_is_retried_after_growing_delays() -> None:
    counted = retries.Retries()
    full = errors.NodeFull("no address is left")
    assert [counted.delay(1, full) for _ in range(3)] == [15.0, 30.0, 60.0]
