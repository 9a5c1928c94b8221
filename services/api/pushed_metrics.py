"""Measurements that other programs push to the gateway, shown to Prometheus at `/metrics`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared import errors
from shared.observe import metrics

#: Accepted names. Names and hosts become labels, which Prometheus keeps for ever: neither may grow without bound.
NAMES = frozenset(
    {
        *("god_scheduler", "god_watcher", "god_web", "god_archive", "god_cleanup"),
        *("god_pending", "god_running", "god_node_load", "god_node_disk_free", "god_backup_age"),
    }
)
MAX_HOSTS = 256  #: different hosts per process
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    value: float
    host: str


class PushedMetrics:
    """The measurements that one gateway process received."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()

    def take(self, measurements: Sequence[Measurement]) -> None:
        """Record all measurements, or none. Raises `errors.InvalidInput`."""
        problems = [problem for number, one in enumerate(measurements) for problem in self._problems(number, one)]
        if problems:
            raise errors.InvalidInput(problems)
        hosts = self._hosts | {one.host for one in measurements}
        if len(hosts) > MAX_HOSTS:
            raise errors.InvalidInput.of("stat", f"at most {MAX_HOSTS} different hosts are accepted")
        self._hosts = hosts
        for one in measurements:
            metrics.PUSHED.labels(name=one.name, host=one.host).set(one.value)

    @staticmethod
    def _problems(number: int, one: Measurement) -> list[errors.FieldError]:
        problems = []
        if one.name not in NAMES:
            problems.append(errors.FieldError(f"stat.{number}.name", f"must be one of: {', '.join(sorted(NAMES))}"))
        if not _HOST.fullmatch(one.host):
            problems.append(errors.FieldError(f"stat.{number}.host", "must be the name of a host"))
        return problems
