"""Memory of each service at rest, and after 10,000 tasks."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.loads import submits
from benchmarks.results import Row
from benchmarks.systems import processes, simulated
from benchmarks.systems.gateway import Gateway

TITLE = "Memory"
LIMIT = 100.0

_SETTLE = 3.0  #: seconds of rest before a look


def run(bench: Bench) -> None:
    count = bench.size(10_000, 2_000)
    with simulated.running() as system, Gateway(system) as gateway:
        time.sleep(_SETTLE)
        before = processes.memory(system)
        bench.say(f"sending {count} tasks")
        submits.run(submits.Order(gateway.url, gateway.token, 16, count=count))
        gateway.wait_all_over(timeout=80)
        time.sleep(_SETTLE)
        after = processes.memory(system)
    for name, now in after.items():
        rest = before[name]
        bench.add(
            Row(
                name,
                now.pss,
                f"MB PSS after {count:,} tasks",
                spread=f"at rest {rest.pss:g} MB PSS",
                compared=f"RSS {rest.rss:g} MB at rest, {now.rss:g} MB after",
                details={"rest_pss": rest.pss, "rest_rss": rest.rss, "after_pss": now.pss, "after_rss": now.rss},
            )
        )
    bench.remark(
        "PSS shares out the pages that several processes have in common; the sum of the column is what is in use"
    )
