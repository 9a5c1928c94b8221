"""The nodes as the scheduler knows them, and what of them is taken, derived from the tasks placed there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.scheduler.placement.node_state import IN_MAINTENANCE, Allocation, NodeState
from services.scheduler.start.installation_errors import Ailments
from shared import clock
from shared.executors.types import NodeReport
from shared.models import maintenance
from shared.models.work import Placed
from shared.units import durations


class Cluster:
    """
    Nodes and allocations. Free capacity is never a counter of its own: it is what the node has less what its
    starting and running tasks hold, so there is nothing that could drift.
    """

    def __init__(
        self, *, ports: range = range(0), maxlifespan: float | None = None, ailments: Ailments | None = None
    ) -> None:
        """
        `ports`: those that tasks are given, of each node; `maxlifespan`: seconds that any task may run at most, for now;
        `ailments`: where nothing can be started, noted by whoever starts.
        """
        self._ailments = ailments or Ailments()
        self._ports = ports
        self.maxlifespan = maxlifespan
        self._reports: dict[str, NodeReport] = {}
        self._measured: dict[str, NodeReport] = {}  # as the nodes last said it themselves
        self._allocations: dict[tuple[int, int], Allocation] = {}
        self._unwritten: set[tuple[int, int]] = set()
        self._in_maintenance: frozenset[str] = frozenset()
        self.observed_at = 0.0  #: seconds since the epoch
        self._shunned: dict[tuple[str, int], float] = {}
        self._audit: _Audit | None = None

    @property
    def reports(self) -> Sequence[NodeReport]:
        """What the nodes have: of one that does not answer, what it had when it last did."""
        return self._ailments.told(self._reports.values(), now=clock.monotonic())

    @property
    def ailing(self) -> set[str]:
        """Nodes, or `all` of them, where starts fail by errors of the installation."""
        return self._ailments.current(now=clock.monotonic())

    def remember(self, reports: Iterable[NodeReport]) -> None:
        """Take up what nodes had when an earlier scheduler saw them. What was seen since counts more."""
        for report in reports:
            self._measured.setdefault(report.name, report)
            self._reports.setdefault(report.name, replace(report, ready=False, answered=False))

    def observe(self, reports: Iterable[NodeReport], *, now: float = 0.0) -> bool:
        """Note what the nodes report at `now`. True if any of it is news that may let a task be placed."""
        self.observed_at = now
        told = list(reports)
        self._measured |= {report.name: report for report in told if report.is_measured}
        new = {report.name: self._with_sizes(report) for report in told}
        news = any(_gained(self._reports.get(name), report) for name, report in new.items())
        self._reports = new
        self._measured = {name: report for name, report in self._measured.items() if name in new}
        return news

    def _with_sizes(self, report: NodeReport) -> NodeReport:
        """`report`, of a node that does not answer with the sizes that it had: it has not become smaller by falling silent."""
        last = self._measured.get(report.name)
        if report.is_measured or last is None:
            return report
        return replace(last, ready=False, reason=report.reason, answered=False, labels={**last.labels, **report.labels})

    @property
    def is_in_maintenance(self) -> bool:
        """Whether the system as a whole is."""
        return maintenance.ALL in self._in_maintenance

    def maintain(self, names: Collection[str]) -> bool:
        """Note what is in maintenance: nodes, or `all` of them. True if some of it has ended."""
        ended = self._in_maintenance - set(names)
        self._in_maintenance = frozenset(names)
        return bool(ended)

    def distrust(self, node: str, reason: str) -> None:
        """A node did not answer: nothing more is placed there until it reports again."""
        report = self._reports.get(node)
        if report is not None:
            self._reports[node] = replace(report, ready=False, reason=reason)

    def shun(self, node: str, ports: Iterable[int], *, until: float) -> None:
        """Give these ports to nobody before `until`: something that is not ours was found to listen there."""
        self._shunned.update({(node, port): until for port in ports})

    def forgive(self, now: float) -> None:
        """Give ports again that were shunned for long enough."""
        self._shunned = {key: until for key, until in self._shunned.items() if until > now}

    def allocate(self, task_id: int, attempt: int, allocation: Allocation) -> Allocation | None:
        """Take room for an attempt whose placement is about to be written; see `written`. Return what it held until now."""
        before = self._allocations.get((task_id, attempt))
        self._allocations[task_id, attempt] = allocation
        self._unwritten.add((task_id, attempt))
        if self._audit:
            self._audit.allocated.add((task_id, attempt))
            self._audit.released.discard((task_id, attempt))
        return before

    def restore(self, task_id: int, attempt: int, allocation: Allocation) -> None:
        """The attempt holds what it held before an `allocate` that came to nothing, unless it was released meanwhile."""
        if (task_id, attempt) in self._allocations:
            self._allocations[task_id, attempt] = allocation

    def written(self, attempts: Iterable[tuple[int, int]]) -> None:
        """The write of these placements came to its end, well or not: from here on an audit knows better."""
        self._unwritten.difference_update(attempts)

    def release(self, attempts: Iterable[tuple[int, int]]) -> bool:
        """These (task, attempt) hold nothing any more. True if any of them did."""
        released = False
        for key in attempts:
            released |= self._allocations.pop(key, None) is not None
            if self._audit:
                self._audit.released.add(key)
                self._audit.allocated.discard(key)
        return released

    def begin_audit(self) -> None:
        """From now on note what changes, since what is read from MongoDB meanwhile may be older."""
        self._audit = _Audit(set(self._unwritten), set())

    def end_audit(self, placed: Iterable[Placed]) -> int:
        """Replace the allocations by what was read since `begin_audit`. Return how many differed."""
        audit = self._audit or _Audit(set(), set())
        self._audit = None
        true = {
            (task.id, task.attempt): self._allocation(task)
            for task in placed
            if (task.id, task.attempt) not in audit.released
        }
        for key in audit.allocated:
            if key in self._allocations:
                true.setdefault(key, self._allocations[key])
        differences = len(true.keys() ^ self._allocations.keys())
        self._allocations = true
        return differences

    def clear(self) -> None:
        """Forget the allocations: somebody else leads."""
        self._allocations.clear()
        self._unwritten.clear()
        self._audit = None

    def snapshot(self) -> list[NodeState]:
        """The nodes as a planning pass takes them."""
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
        """How many children of these arrays, by their parents' ids, hold resources."""
        if not arrays:
            return {}
        parents = (held.parent for held in self._allocations.values())
        return Counter(parent for parent in parents if parent is not None and parent in arrays)

    def _allocation(self, task: Placed) -> Allocation:
        began = task.started_at if task.started_at is not None else task.status_at
        lifespan = durations.shortest(task.lifespan, self.maxlifespan)
        return Allocation(
            task.node,
            task.cpus,
            task.memory,
            task.gpus,
            task.ports,
            began,
            None if lifespan is None else began + lifespan,
            task.user,
            task.project,
            task.parent,
            task.suspended,
        )

    def _state(self, report: NodeReport) -> NodeState:
        maintained = not self._in_maintenance.isdisjoint({maintenance.ALL, report.name})
        return NodeState(
            name=report.name,
            cpus=report.cpus,
            memory=report.memory,
            free_cpus=report.cpus,
            free_memory=report.memory,
            ready=report.ready and not maintained,
            seen=report.name in self._measured,
            reason=IN_MAINTENANCE if maintained else report.reason,
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
