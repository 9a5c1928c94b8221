"""Parse the answer of a service's `/metrics`."""

from __future__ import annotations

import httpx
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families as families

from shared.settings import Settings
from tests.support.harness.system import System

Shown = dict[str, Metric]


def read(text: str) -> Shown:
    """Return the metrics by their declared names: a counter's without `_total`."""
    return {family.name: family for family in families(text)}


def addresses(system: System) -> dict[str, str]:
    """Return the address of each service's metrics, by job."""
    settings: Settings = system.settings()
    return {
        "api": f"127.0.0.1:{settings.port}",
        "scheduler": f"127.0.0.1:{settings.scheduler_port}",
        "watcher": f"127.0.0.1:{settings.watcher_port}",
        "files": f"127.0.0.1:{settings.files_port}",
    }


def shown(address: str) -> Shown:
    return read(httpx.get(f"http://{address}/metrics", timeout=30, trust_env=False).text)


def value(found: Shown, sample: str, **labels: str) -> float:
    """Return the value of one sample; 0 if it is missing."""
    for family in found.values():
        for one in family.samples:
            if one.name == sample and one.labels == labels:
                return float(one.value)
    return 0.0
