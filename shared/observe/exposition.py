"""What a service shows at `/metrics`."""

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
#: Where several processes behind one address keep their numbers, for any of them to add up.
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_OF = {
    "api": (metrics.ANY, metrics.API),
    "scheduler": (metrics.ANY, metrics.SCHEDULER),
    "watcher": (metrics.ANY, metrics.WATCHER),
    "files": (metrics.ANY, metrics.FILES),
}


def text(service: str, *, leads: bool = False) -> bytes:
    """The metrics of `service`; with those of the whole system where it `leads`: from others they would be old, or nothing."""
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
    """What all processes keep in `directory`, of the metrics that stand in `registries`."""

    def __init__(self, registries: tuple[CollectorRegistry, ...], directory: Path) -> None:
        self._registries = _Joined(registries)
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        _forget_dead(self._directory)
        names = {metric.name for metric in self._registries.collect()}
        collector = multiprocess.MultiProcessCollector(None, path=str(self._directory))  # type: ignore[no-untyped-call]
        yield from (metric for metric in collector.collect() if metric.name in names)  # type: ignore[no-untyped-call]


def _forget_dead(directory: Path) -> None:
    """What a process had (memory, descriptors) is gone with it; what it counted stays."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)
