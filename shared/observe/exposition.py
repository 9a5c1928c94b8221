"""The text that a service exposes at `/metrics`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from shared.observe import metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Directory of the numbers of all processes behind one address, which any of them adds up.
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_OF = {
    "api": (metrics.ANY, metrics.API),
    "scheduler": (metrics.ANY, metrics.SCHEDULER),
    "watcher": (metrics.ANY, metrics.WATCHER),
    "files": (metrics.ANY, metrics.FILES),
}


def text(service: str, *, leads: bool = False) -> bytes:
    """Return the metrics of `service`; a leader adds those of the whole system, which would be stale from others."""
    registries = (*_OF[service], metrics.SYSTEM) if leads else _OF[service]
    directory = os.environ.get(DIRECTORY)
    return generate_latest(_AddedUp(registries, Path(directory)) if directory else _Joined(registries))


class _Joined(Collector):
    """Several registries as one."""

    def __init__(self, registries: tuple[CollectorRegistry, ...]) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        for registry in self._registries:
            yield from registry.collect()


class _AddedUp(Collector):
    """Sums over all processes in `directory`, of the metrics in `registries`."""

    def __init__(self, registries: tuple[CollectorRegistry, ...], directory: Path) -> None:
        self._registries = _Joined(registries)
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        _forget_dead(self._directory)
        names = {metric.name for metric in self._registries.collect()}
        collector = multiprocess.MultiProcessCollector(None, path=str(self._directory))  # type: ignore[no-untyped-call]
        yield from (metric for metric in collector.collect() if metric.name in names)  # type: ignore[no-untyped-call]


def _forget_dead(directory: Path) -> None:
    """Remove gauges of ended processes (memory, descriptors); their counters stay."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)
