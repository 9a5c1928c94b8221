"""The nodes as an operator sees them: origin, state, capacity and use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum

from shared.executors.types import Feature
from shared.models.node import ALL, Node, UnreachableNode
from shared.models.work import Placed
from shared.settings import Node as Host
from shared.settings import Settings
from shared.store.stores import Stores
from shared.system import hosts


class Origin(StrEnum):
    CONFIGURED = "configured"
    ADDED = "added"  #: added while the system ran
    GONE = "gone"  #: neither, but it has tasks


class State(StrEnum):
    READY = "ready"
    NOT_READY = "not ready"
    SILENT = "silent"  #: it does not answer its watcher
    DRAINING = "draining"  #: takes no new tasks and still has some
    DRAINED = "drained"
    UNSEEN = "not seen yet"  #: no scheduler has seen it


@dataclass(frozen=True, slots=True)
class Row:
    """One node. Memory in bytes, `seen_at` in seconds since the epoch."""

    name: str
    origin: Origin
    state: State
    url: str | None = None
    public_address: str | None = None
    reason: str | None = None
    cpus: float = 0.0
    cpus_used: float = 0.0
    memory: int = 0
    memory_used: int = 0
    gpus: int = 0
    gpus_used: int = 0
    tasks: int = 0
    version: str = ""
    seen_at: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


async def take(settings: Settings, stores: Stores, features: AbstractSet[Feature]) -> list[Row]:
    """Return every known node, by name. Raises `errors.StoreUnavailable`."""
    has_hosts = Feature.HOSTS in features
    unreachable = [one for one in await stores.unreachable_nodes.list() if one.seconds >= settings.node_grace]
    return rows(
        configured=settings.docker_nodes if has_hosts else [],
        added=await stores.hosts.list() if has_hosts else [],
        seen=await stores.nodes.list(),
        maintained=await stores.maintenance.names(),
        unreachable=unreachable,
        placed=await stores.work.placed(),
    )


def rows(
    *,
    configured: Sequence[Host],
    added: Sequence[Host],
    seen: Sequence[Node],
    maintained: AbstractSet[str],
    unreachable: Sequence[UnreachableNode],
    placed: Sequence[Placed],
) -> list[Row]:
    """Build the rows from what is stored: pure."""
    known = {host.name: host for host in hosts.together(configured, added)}
    own = {host.name for host in configured}
    nodes = {node.id: node for node in seen}
    silent = {node.node: node.reason for node in unreachable}
    tasks: dict[str, list[Placed]] = {}
    for task in placed:
        tasks.setdefault(task.node, []).append(task)
    made = []
    for name in sorted(known.keys() | nodes.keys() | tasks.keys()):
        node, there = nodes.get(name), tasks.get(name, [])
        state, reason = _state(
            node, bool(there), silent.get(name), maintained=bool(maintained & {ALL, name}), is_silent=name in silent
        )
        made.append(
            Row(
                name=name,
                origin=_origin(name, own, known.keys(), nodes.keys()),
                state=state,
                reason=reason,
                url=known[name].url if name in known else None,
                public_address=known[name].public_address if name in known else None,
                cpus=node.cpus if node else 0.0,
                cpus_used=sum(task.cpus for task in there),
                memory=node.memory if node else 0,
                memory_used=sum(task.memory for task in there),
                gpus=len(node.gpus) if node else 0,
                gpus_used=sum(len(task.gpus) for task in there),
                tasks=len(there),
                version=node.version if node else "",
                seen_at=node.seen_at if node else None,
                labels=node.labels if node else known[name].labels if name in known else {},
            )
        )
    return made


def _origin(name: str, own: AbstractSet[str], known: AbstractSet[str], seen: AbstractSet[str]) -> Origin:
    if name in known:
        return Origin.CONFIGURED if name in own else Origin.ADDED
    # The node of an executor without hosts to choose from.
    return Origin.CONFIGURED if name in seen and not known else Origin.GONE


def _state(
    node: Node | None, has_tasks: bool, why_unreachable: str | None, *, maintained: bool, is_silent: bool
) -> tuple[State, str | None]:
    if is_silent:
        return State.SILENT, why_unreachable
    if maintained:
        return (State.DRAINING if has_tasks else State.DRAINED), _complaint(node) if node else None
    if node is None:
        return State.UNSEEN, None
    return (State.READY if node.ready else State.NOT_READY), _complaint(node)


def _complaint(node: Node) -> str | None:
    """Return what is wrong with a node that answers."""
    if node.reason is None and node.stuck:
        return f"it cannot end {node.stuck} of its runs, which were killed"
    return node.reason
