"""How often and when a start that was undone is tried again."""

from __future__ import annotations

from services.scheduler.start import retries
from shared import errors

TAKEN = errors.PortTaken("in use", port=10_000)
THROTTLED = errors.ImageThrottled("too many requests", retry_after=20.0)


def test_a_start_that_met_a_strangers_port_is_tried_again_at_once_and_not_for_ever() -> None:
    made = retries.Retries()
    assert [made.again_in(1, TAKEN) for _ in range(retries.MOST + 1)] == [0.0] * retries.MOST + [None]
    assert made.again_in(2, TAKEN) == 0.0


def test_a_registry_that_puts_off_is_asked_less_and_less_often() -> None:
    made = retries.Retries()
    waits = [made.again_in(1, THROTTLED) for _ in range(retries.MOST)]
    assert waits[:4] == [20.0, 40.0, 80.0, 160.0]
    assert waits[-1] == retries.LONGEST


def test_who_has_started_begins_to_count_anew() -> None:
    made = retries.Retries()
    for _ in range(retries.MOST):
        made.again_in(1, TAKEN)
    made.forget(1)
    assert made.again_in(1, THROTTLED) == 20.0


def test_a_node_that_is_full_is_given_time() -> None:
    made = retries.Retries()
    full = errors.NodeFull("no address is left")
    assert [made.again_in(1, full) for _ in range(3)] == [15.0, 30.0, 60.0]
