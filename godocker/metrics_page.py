"""Describe all metrics, from the objects that are exported, for docs/metrics.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from services.api.http import errors as api_errors
from services.scheduler.why_pending import counts
from services.watcher.reconcile import diff
from shared import errors
from shared.executors import types
from shared.lifecycle import ACTIVE, Ending, TaskStatus
from shared.observe import metrics

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

_HEAD = """# Metrics

Made from `shared/observe/metrics.py` by `python -m godocker.metrics_page`; do not edit it here.

Every service exports its metrics at `/metrics`. Counters begin at 0 when a process starts; durations are in seconds, sizes in
bytes. The values of a label are a closed set, or names from the configuration: never a user, a task or an image. The alerts on
these metrics are in `deploy/alerts.yml`, what to do about them in the [runbook](operations.md#runbook).
"""
_COLUMNS = "| name | type | labels | description |\n|---|---|---|---|\n"
SECTIONS = (
    ("Every service", metrics.ANY),
    ("Gateway (`api`)", metrics.API),
    ("Scheduler", metrics.SCHEDULER),
    ("The system as a whole, from the leading scheduler", metrics.SYSTEM),
    ("Watcher", metrics.WATCHER),
    ("Files", metrics.FILES),
)


def _words_of(*bases: type[Exception]) -> Iterator[str]:
    """Yield the names of errors of these classes, as metrics spell them."""
    for kind in bases:
        yield errors.word_of(kind.__new__(kind))
        yield from _words_of(*kind.__subclasses__())


_SHARES = {"kind": ["total", "used"]}
#: Labels whose values are a closed set, by metric.
CLOSED: Mapping[str, Mapping[str, Iterable[str]]] = {
    "godocker_actions": {"action": [action.__name__ for action in get_args(diff.Action)]},
    "godocker_clock_ahead_seconds": {"kind": ["machine", "files"]},
    "godocker_events": {"kind": types.EventKind},
    "godocker_file_bytes": {"direction": ["in", "out"]},
    "godocker_lease_changes": {"change": ["taken", "lost"]},
    "godocker_mails": {"outcome": ["sent", "given_up", "put_off"]},
    "godocker_node_cpus": _SHARES,
    "godocker_node_disk_bytes": _SHARES,
    "godocker_node_gpus": _SHARES,
    "godocker_node_memory_bytes": _SHARES,
    "godocker_oldest_pending_seconds": {"reason": counts.COUNTED},
    "godocker_quota_refusals": {"effect": ["waits", "ended"]},
    "godocker_reconciles": {"outcome": metrics.RECONCILED},
    "godocker_redis_junk": {"where": ["queue", "samples", "billing", "failures"]},
    "godocker_shared_dir_bytes": {"kind": ["total", "free"]},
    "godocker_starts": {
        "outcome": ["started", "undone", "retried", *sorted({*_words_of(errors.StartFailed, errors.StorageError)})]
    },
    "godocker_tasks": {"status": [status for status in TaskStatus if status in ACTIVE]},
    "godocker_tasks_ended": {"ending": Ending},
    "godocker_tasks_pending": {"reason": counts.COUNTED},
    "godocker_tasks_refused": {"code": sorted({code for _, code in api_errors.TABLE.values()})},
}
#: All other labels, in words.
OPEN: Mapping[str, str] = {
    "collection": "a collection of MongoDB",
    "handler": "a route",
    "host": "as pushed",
    "loop": "a loop of the service, without its node",
    "method": "of HTTP",
    "name": "as pushed",
    "node": "a configured or added node",
    "operation": "a method of the broker",
    "status": "of HTTP",
    "store": "a module of `shared/store`",
    "version": "of the package",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric, as its service exports it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    description: str

    @property
    def family(self) -> str:
        """The name without the ending that only counters have."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name

    def values(self, label: str) -> str:
        closed = CLOSED.get(self.family, {}).get(label)
        return ", ".join(f"`{value}`" for value in closed) if closed is not None else OPEN[label]


def entries(registry: CollectorRegistry) -> list[Entry]:
    """Return the metrics of one registry by name, without those of Python and of the process."""
    for service in ("api", "files"):
        metrics.requests(service)
    found = []
    for collector in {*registry._collector_to_names}:  # no public list of them
        if isinstance(collector, MetricWrapperBase):
            (family,) = collector.describe()
            found.append(_entry(family, collector._labelnames))
    return sorted(found, key=lambda entry: entry.name)


def page() -> str:
    """Return the content of docs/metrics.md."""
    return _HEAD + "".join(
        f"\n## {title}\n\n{_COLUMNS}{''.join(_row(entry) for entry in entries(registry))}"
        for title, registry in SECTIONS
    )


def _entry(family: Metric, labels: Iterable[str]) -> Entry:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    text = family.documentation.strip().rstrip(".")
    return Entry(name, family.type, tuple(labels), f"{text[:1].upper()}{text[1:]}.")


def _row(entry: Entry) -> str:
    labels = "; ".join(f"`{label}`: {entry.values(label)}" for label in entry.labels)
    return f"| `{entry.name}` | {entry.kind} | {labels} | {entry.description.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}", file=sys.stderr)
