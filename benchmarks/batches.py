"""Batches of short tasks, from submission until all are over."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import samples, tasks
from benchmarks.bench import Bench
from benchmarks.loads import submits
from benchmarks.results import Row, Target
from benchmarks.systems.gateway import Gateway

_CONNECTIONS = 16
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch. `seconds` is the time from the first submission until all tasks were over."""

    count: int
    seconds: float
    began: float


def through_gateway(gateway: Gateway, count: int) -> Batch:
    """Run a batch and wait for its end. Raises `gateway.NotDone`."""
    order = submits.Order(gateway.url, gateway.token, _CONNECTIONS, count=count, task=tasks.typical("/bin/true"))
    sent = submits.run(order)
    seconds = gateway.wait_all_over(timeout=_TIMEOUT) - sent.began
    gateway.check_ended_well(count)
    return Batch(count, seconds, sent.began)


def add_rates(bench: Bench, what: str, rates: list[float], known: float, whose: str, target: Target) -> None:
    """Add a row for the rates of equal batches, compared with a published rate."""
    rate = samples.median(rates)
    bench.add(
        Row(
            what,
            round(rate, 1),
            "tasks/s",
            spread=f"{min(rates):.1f}–{max(rates):.1f}, {len(rates)} batches",
            compared=f"{rate / known:.1f} times {whose} {known}/s (published)",
            target=target,
            measured=rate / known,
            details={"rates": [round(value, 2) for value in rates]},
        )
    )
