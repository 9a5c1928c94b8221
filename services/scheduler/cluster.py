"""The nodes as the scheduler knows them, and their allocations, derived from the tasks placed there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.scheduler.placement.node_state import IN_MAINTENANCE, Allocation, NodeState
from services.scheduler.start.installation_errors import InstallationErrors
from shared import clock
from shared.executors.types import NodeReport
from shared.models.node import ALL
from shared.models.work import Placed
from shared.units import durations


class Cluster:
    """
    Nodes and allocations. Free capacity is not a counter that could drift: it is the node's capacity minus what its
    starting and running tasks hold.
    """

    def __init__(
        self,
        *,
        ports: range = range(0),
        maxlifespan: float | None = None,
        node_errors: InstallationErrors | None = None,
    ) -> None:
        """
        `ports` of each node are given to tasks. `maxlifespan`: seconds that a task may run at most; it changes with a
        reload of the settings. `node_errors` is written by the dispatcher.
        """
        self._errors = node_errors or InstallationErrors()
        self._ports = ports
        self.maxlifespan = maxlifespan
        self._reports: dict[str, NodeReport] = {}
        self._measured: dict[str, NodeReport] = {}  # the last reports that the nodes made themselves
        self._allocations: dict[tuple[int, int], Allocation] = {}
        self._unwritten: set[tuple[int, int]] = set()
        self._in_maintenance: frozenset[str] = frozenset()
        self.observed_at = 0.0  #: seconds since the epoch
        self._shunned: dict[tuple[str, int], float] = {}
        self._audit: _Audit | None = None

    @property
    def reports(self) -> Sequence[NodeReport]:
        """The report of each node; an unreachable node keeps the sizes of its last answer."""
        return self._errors.apply(self._reports.values(), now=clock.monotonic())

    @property
    def failing(self) -> set[str]:
        """The nodes, or `all`, where starts fail by errors of the installation."""
        return self._errors.current(now=clock.monotonic())

    def remember(self, reports: Iterable[NodeReport]) -> None:
        """Take over the sizes that an earlier scheduler stored. Reports of this scheduler take precedence."""
        for report in reports:
            self._measured.setdefault(report.name, report)
            self._reports.setdefault(report.name, replace(report, ready=False, answered=False))

    def observe(self, reports: Iterable[NodeReport], *, now: float = 0.0) -> bool:
        """
        Record the reports of `now`. True if one of them has more to offer than before, so that a task may be placed.
        """
        self.observed_at = now
        reports = list(reports)
        self._measured |= {report.name: report for report in reports if report.is_measured}
        new = {report.name: self._with_sizes(report) for report in reports}
        gained = any(_gained(self._reports.get(name), report) for name, report in new.items())
        self._reports = new
        self._measured = {name: report for name, report in self._measured.items() if name in new}
        return gained

    def _with_sizes(self, report: NodeReport) -> NodeReport:
        """Return `report`, with the last known sizes if the node is unreachable, which makes it no smaller."""
        last = self._measured.get(report.name)
        if report.is_measured or last is None:
            return report
        return replace(last, ready=False, reason=report.reason, answered=False, labels={**last.labels, **report.labels})

    @property
    def is_in_maintenance(self) -> bool:
        """True while the whole system is in maintenance."""
        return ALL in self._in_maintenance

    def maintain(self, names: Collection[str]) -> bool:
        """Record what is in maintenance: nodes, or `all`. True if some maintenance has ended."""
        ended = self._in_maintenance - set(names)
        self._in_maintenance = frozenset(names)
        return bool(ended)

    def shun(self, node: str, ports: Iterable[int], *, until: float) -> None:
        """Give these ports to no task before `until`: a program outside of this system listens there."""
        self._shunned.update({(node, port): until for port in ports})

    def forgive(self, now: float) -> None:
        """Give out shunned ports again whose time is over."""
        self._shunned = {key: until for key, until in self._shunned.items() if until > now}

    def allocate(self, task_id: int, attempt: int, allocation: Allocation) -> Allocation | None:
        """
        Allocate for an attempt whose placement is about to be written (see `written`). Return what it held before.
        """
        before = self._allocations.get((task_id, attempt))
        self._allocations[task_id, attempt] = allocation
        self._unwritten.add((task_id, attempt))
        if self._audit:
            self._audit.allocated.add((task_id, attempt))
            self._audit.released.discard((task_id, attempt))
        return before

    def restore(self, task_id: int, attempt: int, allocation: Allocation) -> None:
        """Undo an `allocate` of a placement that was not written, unless the attempt was released meanwhile."""
        if (task_id, attempt) in self._allocations:
            self._allocations[task_id, attempt] = allocation

    def written(self, attempts: Iterable[tuple[int, int]]) -> None:
        """Record that the write of these placements is over, successful or not: the next audit reads its result."""
        self._unwritten.difference_update(attempts)

    def release(self, attempts: Iterable[tuple[int, int]]) -> bool:
        """Release what these (task id, attempt) hold. True if one of them held anything."""
        released = False
        for key in attempts:
            released |= self._allocations.pop(key, None) is not None
            if self._audit:
                self._audit.released.add(key)
                self._audit.allocated.discard(key)
        return released

    def begin_audit(self) -> None:
        """Begin to record changes, which may be newer than what the audit reads from MongoDB meanwhile."""
        self._audit = _Audit(set(self._unwritten), set())

    def end_audit(self, placed: Iterable[Placed]) -> int:
        """Replace the allocations by those read since `begin_audit`. Return the number of differences."""
        audit = self._audit or _Audit(set(), set())
        self._audit = None
        actual = {
            (task.id, task.attempt): self._allocation(task)
            for task in placed
            if (task.id, task.attempt) not in audit.released
        }
        for key in audit.allocated:
            if key in self._allocations:
                actual.setdefault(key, self._allocations[key])
        differences = len(actual.keys() ^ self._allocations.keys())
        self._allocations = actual
        return differences

    def clear(self) -> None:
        """Forget the allocations when another scheduler leads."""
        self._allocations.clear()
        self._unwritten.clear()
        self._audit = None

    def snapshot(self) -> list[NodeState]:
        """Return the nodes for a planning pass, with what is free of each."""
        states = {report.name: self._state(report) for report in self.reports}
        for allocation in self._allocations.values():
            state = states.get(allocation.node)
            if state is not None:
                state.charge(allocation)
        for node, port in self._shunned:
            if node in states and port in self._ports:
                states[node].used_ports.add(port)
        return list(states.values())

    def children(self, arrays: Collection[int]) -> Mapping[int, int]:
        """Count the placed children of these arrays, by the id of the parent."""
        if not arrays:
            return {}
        parents = (held.parent for held in self._allocations.values())
        return Counter(parent for parent in parents if parent is not None and parent in arrays)

    def _allocation(self, task: Placed) -> Allocation:
        started_at = task.started_at if task.started_at is not None else task.status_at
        lifespan = durations.shortest(task.lifespan, self.maxlifespan)
        return Allocation(
            task.node,
            task.cpus,
            task.memory,
            task.gpus,
            task.ports,
            started_at,
            None if lifespan is None else started_at + lifespan,
            task.user,
            task.project,
            task.parent,
            task.suspended,
        )

    def _state(self, report: NodeReport) -> NodeState:
        in_maintenance = not self._in_maintenance.isdisjoint({ALL, report.name})
        return NodeState(
            name=report.name,
            cpus=report.cpus,
            memory=report.memory,
            free_cpus=report.cpus,
            free_memory=report.memory,
            ready=report.ready and not in_maintenance,
            seen=report.name in self._measured,
            reason=IN_MAINTENANCE if in_maintenance else report.reason,
            gpus=len(report.gpus),
            free_gpus=list(report.gpus),
            labels=report.labels,
            ports=self._ports,
        )


@dataclass(frozen=True, slots=True)
class _Audit:
    allocated: set[tuple[int, int]]
    released: set[tuple[int, int]]


def _gained(old: NodeReport | None, new: NodeReport) -> bool:
    if not new.ready:
        return False
    if old is None or not old.ready:
        return True
    more = new.cpus > old.cpus or new.memory > old.memory or not set(new.gpus) <= set(old.gpus)
    return more or dict(new.labels) != dict(old.labels)
