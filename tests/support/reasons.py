"""Rules that pending reasons must obey, derived from what is stored alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from services.api.wire.explanation import Explanation, ReasonOut, Verdict
from shared.lifecycle import PLACED
from shared.models.node import ALL
from shared.models.task import Task
from shared.units.sizes import GB
from tests.support.harness.stepped import Stepped

PROMISES = {"next", "turn"}  #: reasons that promise a placement

_MEASURED = {"cpu", "memory", "gpus", "ports"}
_QUOTAS = {"user_quota", "project_quota"}
_OF_NODES = {*_MEASURED, "label", "avoided", "never", "fragmented", "not_ready", "no_nodes"}
_WITH_OTHERS = {"no_nodes", "fragmented", "never"}  #: reasons that name no way out


class Room:
    """The free capacity of the nodes, computed again from what is stored."""

    def __init__(self, system: Stepped, tasks: list[Task], maintained: set[str]) -> None:
        down = system.executor.faults.down
        self.nodes = system.executor.reports
        self._ports = system.settings.port_range
        self._ready = {} if ALL in maintained else self.nodes.keys() - down.keys() - maintained
        self._held: defaultdict[str, list[Task]] = defaultdict(list)
        self.shunned = Counter(node for node, _ in system.scheduler._cluster._shunned)
        for task in tasks:
            if task.status in PLACED and task.placement is not None:
                self._held[task.placement.node].append(task)

    def could_ever(self, task: Task) -> bool:
        return any(self._takes(task, node, []) for node in self.nodes)

    def fits(self, task: Task) -> bool:
        return any(not self.shunned[node] and self._takes(task, node, self._held[node]) for node in self._ready)

    def _takes(self, task: Task, node: str, held: list[Task]) -> bool:
        report, spec = self.nodes[node], task.spec
        return (
            spec.cpu + sum(other.spec.cpu for other in held) <= report.cpus
            and (spec.ram + sum(other.spec.ram for other in held)) * GB <= report.memory
            and spec.gpus + sum(other.spec.gpus for other in held) <= len(report.gpus)
            and len(spec.ports) + sum(len(other.spec.ports) for other in held) <= self._ports
            and all(_is_so(label, report.labels) for label in spec.labels)
            and node not in task.avoid
        )


def _is_so(label: str, labels: Any) -> bool:
    name, operator, value = label.replace("==", " == ").replace("!=", " != ").split()
    return (labels.get(name) == value) is (operator == "==")


def problems(task: Task, found: Explanation, room: Room) -> list[str]:
    """Return the faults in the reasons of a pending task."""
    codes = {reason.code for reason in found.reasons}
    stored = codes & {"not_made", "held_by_owner", "running", "children", "kill_requested"} == set()
    spent = any(reason.code in _QUOTAS and (reason.total or 0) < (reason.need or 0) for reason in found.reasons)
    never = found.verdict is Verdict.NEVER
    wrong = {
        "there is no reason": not found.reasons,
        "a reason has no text": not all(reason.text for reason in found.reasons),
        "a reason has not its numbers": not all(_has_numbers(reason) for reason in found.reasons),
        "it is to be placed, and is not": bool(codes & PROMISES),
        "never is said without a reason for ever": never and not codes & {"never", *_QUOTAS},
        "a reason for ever is given, and never is not said": "never" in codes and not never,
        "never is said, and a node could": never and not codes & _QUOTAS and room.could_ever(task),
        "no node could ever, and never is not said": stored and room.nodes and not never and not room.could_ever(task),
        "nothing would make any reason go away": not never
        and not any(reason.unblock for reason in found.reasons)
        and not codes & {*_WITH_OTHERS, "running", "children"},
        "a node has room, and only nodes are blamed": stored and codes <= _OF_NODES and room.fits(task),
        "no node has room, and nothing says so": stored
        and not codes & {*_OF_NODES, "maintenance", "reserved"}
        and bool(room.nodes)
        and not room.fits(task)
        and not room.shunned,
        "its verdict is not that of one that waits": found.verdict not in (Verdict.NEVER, Verdict.WAITING)
        and "running" not in codes,
        "a quota is spent for good, and never is not said": spent and not never,
    }
    return [f"{problem} {[reason.code for reason in found.reasons]}" for problem, is_so in wrong.items() if is_so]


def _has_numbers(reason: ReasonOut) -> bool:
    if reason.code in _MEASURED:
        return None not in (reason.need, reason.have, reason.total, reason.unit) and reason.need > reason.have  # type: ignore[operator]
    if reason.code in {*_QUOTAS, "array_limit"}:
        return None not in (reason.need, reason.have, reason.total, reason.unit)
    return reason.code != "delayed" or (reason.need is not None and reason.need > 0)
