"""The nodes as the scheduler knows them, and what of them is taken, derived from the tasks placed there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shared.executors.base import NodeReport
from shared.store import maintenance
from shared.store.work import Placed

IN_MAINTENANCE = "in maintenance"  #: why a node is not ready


@dataclass(slots=True)
class NodeState:
    """A node in one planning pass; what is free shrinks while the pass places tasks. Memory in bytes."""

    name: str
    cpus: float
    memory: int
    free_cpus: float
    free_memory: int
    ready: bool = True
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    node: str
    cpus: float
    memory: int


class Cluster:
    """
    Nodes and allocations. Free capacity is never a counter of its own: it is what the node has less what its
    starting and running tasks hold, so there is nothing that could drift.
    """

    def __init__(self) -> None:
        self._reports: dict[str, NodeReport] = {}
        self._allocations: dict[tuple[int, int], Allocation] = {}
        self._unwritten: set[tuple[int, int]] = set()
        self._in_maintenance: frozenset[str] = frozenset()
        self._audit: _Audit | None = None

    @property
    def reports(self) -> Sequence[NodeReport]:
        return list(self._reports.values())

    def observe(self, reports: Iterable[NodeReport]) -> bool:
        """Note what the nodes report. True if any of it is news that may let a task be placed."""
        new = {report.name: report for report in reports}
        news = any(_gained(self._reports.get(name), report) for name, report in new.items())
        self._reports = new
        return news

    def maintain(self, names: Collection[str]) -> bool:
        """Note what is in maintenance: nodes, or `all` of them. True if some of it has ended."""
        ended = self._in_maintenance - set(names)
        self._in_maintenance = frozenset(names)
        return bool(ended)

    def distrust(self, node: str, reason: str) -> None:
        """A node did not answer: nothing more is placed there until it reports again."""
        report = self._reports.get(node)
        if report is not None:
            self._reports[node] = NodeReport(
                name=node,
                executor=report.executor,
                ready=False,
                reason=reason,
                cpus=report.cpus,
                memory=report.memory,
                labels=report.labels,
                version=report.version,
            )

    def allocate(self, task_id: int, attempt: int, allocation: Allocation) -> None:
        """Take room for an attempt whose placement is about to be written; see `written`."""
        self._allocations[task_id, attempt] = allocation
        self._unwritten.add((task_id, attempt))
        if self._audit:
            self._audit.allocated.add((task_id, attempt))
            self._audit.released.discard((task_id, attempt))

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
            (task.id, task.attempt): Allocation(task.node, task.cpus, task.memory)
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
        states = {report.name: self._state(report) for report in self._reports.values()}
        for allocation in self._allocations.values():
            state = states.get(allocation.node)
            if state is not None:
                state.free_cpus -= allocation.cpus
                state.free_memory -= allocation.memory
        return list(states.values())

    def _state(self, report: NodeReport) -> NodeState:
        maintained = not self._in_maintenance.isdisjoint({maintenance.ALL, report.name})
        return NodeState(
            name=report.name,
            cpus=report.cpus,
            memory=report.memory,
            free_cpus=report.cpus,
            free_memory=report.memory,
            ready=report.ready and not maintained,
            reason=IN_MAINTENANCE if maintained else report.reason,
        )


@dataclass(frozen=True, slots=True)
class _Audit:
    allocated: set[tuple[int, int]]
    released: set[tuple[int, int]]


def _gained(old: NodeReport | None, new: NodeReport) -> bool:
    if not new.ready:
        return False
    return old is None or not old.ready or new.cpus > old.cpus or new.memory > old.memory
