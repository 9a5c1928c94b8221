"""Tasks per second as processes of this machine."""

from __future__ import annotations

import time

from benchmarks import batches
from benchmarks.bench import Bench
from benchmarks.results import Target
from benchmarks.systems.gateway import Gateway
from tests.support.harness.system import running_system

TITLE = "Tasks as processes"
LIMIT = 60.0

_SLURM = 19  #: batch jobs/s, a published figure for a similar machine
_TARGET = Target(5.0, at_least=True, words="5 times Slurm's 19 jobs/s")
_ENVIRONMENT = {"GODOCKER_PROCESS_CPUS": "32"}


def run(bench: Bench) -> None:
    count, rounds = bench.size(300, 60), bench.size(3, 1)
    with running_system(executor="process", environment=_ENVIRONMENT) as system, Gateway(system) as gateway:
        batches.through_gateway(gateway, 20)
        time.sleep(1)
        rates = [count / batches.through_gateway(gateway, count).seconds for _ in range(rounds)]
    batches.add_rates(bench, f"{count} x /bin/true, sent at once", rates, _SLURM, "Slurm's", _TARGET)
