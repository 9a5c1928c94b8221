"""
Types that executors and their callers share: pure.

A run is one attempt of one task of one system on one node. Its name is made from these, so that starting the same attempt again
finds the existing run instead of making a second one, and two systems on one node never mean the same run. A handle is only that
name with its node, so it survives our restart.

Times are seconds since the epoch on our clock, also those of nodes whose own clocks differ.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared import errors

WORKDIR = "/mnt/go-docker"
HOME = "/mnt/home"
ATTEMPTS = "/mnt/god-attempts"  #: where the wrapper's files stand
DATA = "/mnt/god-data"  #: the user's personal storage, read only, where it exists

_NAME = re.compile(r"^god-(?:([a-z0-9]+)-)?(\d+)-(\d+)$")


class Feature(StrEnum):
    """A capability of an executor beyond start, stop and report."""

    ISOLATION = "isolation"  #: a task cannot see the host or other tasks
    IMAGES = "images"  #: the task's image is used; without it commands run on the host's own system
    VOLUMES = "volumes"
    NETWORK = "network"  #: tasks can be given or denied the network
    PAUSE = "pause"
    ROOT = "root"
    LIMITS = "limits"  #: cpu and memory are enforced, not only counted
    GPUS = "gpus"  #: a task gets the devices it was given and no others
    PORTS = "ports"  #: ports of the task can be reached from outside
    NETWORKS = "networks"  #: networks of a user's or a project's tasks
    HOSTS = "hosts"  #: its nodes are configured or added hosts; without it, this machine is the only node
    TMPSTORAGE = "tmpstorage"  #: temporary storage that is removed with the run


class RunState(StrEnum):
    CREATED = "created"  #: exists, never started
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"


class EventKind(StrEnum):
    STARTED = "started"
    EXITED = "exited"
    OUT_OF_MEMORY = "out_of_memory"
    REMOVED = "removed"
    RESYNC = "resync"  #: the stream was (re)connected and earlier events may be missing: list the runs


@dataclass(frozen=True, slots=True)
class Handle:
    """One attempt on one node."""

    node: str
    task_id: int
    attempt: int
    #: Mark of the system that owns the run; None for runs of versions without marks. It is the same for all runs of a system.
    system: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return run_name(self.task_id, self.attempt, self.system)


@dataclass(frozen=True, slots=True)
class Owner:
    """
    The system whose runs an executor starts and recognizes. `mark` is unique to it; `earlier` is the label that versions without
    marks put on all systems' runs, None where there can be no such runs.
    """

    mark: str
    earlier: str | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """All labels that its runs may carry."""
        return (self.mark, self.earlier) if self.earlier else (self.mark,)

    def of(self, mark: object) -> str | None:
        """Return `Handle.system` of a run with this mark, one of `marks`."""
        return self.mark if mark == self.mark else None

    def mark_of(self, handle: Handle) -> str:
        """Return the mark that a run carries. Raises `errors.StartRefused` for another system's run."""
        if handle.system is None:
            return self.earlier or self.mark
        if handle.system != self.mark:
            raise errors.StartRefused(
                f"{handle.name} is a run of the system {handle.system}, of which this one ({self.mark}) is a copy"
            )
        return self.mark


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the host that the task sees at `target`."""

    name: str
    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the run and the node's port that forwards to it."""

    container: int
    host: int


@dataclass(frozen=True, slots=True)
class Given:
    """The exclusive resources of a run: devices, as in `NodeReport.gpus`, and ports."""

    gpus: Sequence[str] = ()
    ports: Sequence[PortMapping] = ()


@dataclass(frozen=True, slots=True)
class TmpStorage:
    """Storage of `size` bytes that the run sees at `path`, removed with it."""

    size: int
    path: str


PUBLIC = "public"  #: name of the network that reaches the world


@dataclass(frozen=True, slots=True)
class Run:
    """The specification of an attempt for an executor. No name that a user sends becomes an option."""

    handle: Handle
    image: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    cpus: float
    memory: int  #: bytes
    directory: str  #: the task's directory on the host, mounted at `WORKDIR`, holding `cmd.sh`
    shebang: bool  #: `cmd.sh` names its interpreter; without it `/bin/sh` runs it
    environment: Mapping[str, str] = field(default_factory=dict)  #: in addition to the GODOCKER_* variables of the run
    mounts: Sequence[Mount] = ()
    network: str | None = (
        None  #: None: no network; `PUBLIC`; else the name of a network between runs, like `user-alice`
    )
    ports: Sequence[PortMapping] = ()
    gpus: Sequence[str] = ()  #: devices, as `NodeReport.gpus` names them
    tmpstorage: TmpStorage | None = None
    root: bool = False
    request: str | None = None  #: id of the HTTP request that submitted the task
    login: str = ""  #: name of the user it runs as, not an account of the node
    state: str | None = None  #: the directory on the host for the wrapper's files; None: `.godocker` in the task's


@dataclass(frozen=True, slots=True)
class Observation:
    """The observed state of a run. Times are seconds since the epoch, None where unknown."""

    handle: Handle
    state: RunState
    exit_code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    out_of_memory: bool = False
    removed: bool = False  #: it was ended by a removal, whoever did that, and may be gone by now
    given: Given | None = None  #: from `inspect` only; None where the executor does not know
    reason: str | None = None  #: reason of its end, where the executor knows more than the exit code
    by_signal: bool | None = None  #: whether a signal ended the command, rather than an exit with that number
    lost: bool = False  #: it is over, and how its command ended is not known


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Facts about the end of a run beyond its exit code."""

    #: Why its image cannot run /bin/sh, as part of a sentence; None where it can, or where it is not known.
    shell: str | None = None
    #: Commands that ended it, like `docker stop`, as far as the engine remembers them. Ours are among them.
    commands: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A hint about a run. `at` is in seconds since the epoch; the other fields are as in `Observation`, where known."""

    node: str
    kind: EventKind
    handle: Handle | None = None
    exit_code: int | None = None
    at: float | None = None
    reason: str | None = None
    by_signal: bool | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class NodeReport:
    """
    The state and size of a node. `reason` says why it is not ready. `answered`: the node itself reported this just now; otherwise
    the sizes are configured ones, or 0.
    """

    name: str
    executor: str
    ready: bool
    reason: str | None
    cpus: float
    memory: int  #: bytes
    disk_used: int = 0  #: bytes
    disk_total: int = 0  #: bytes
    gpus: Sequence[str] = ()  #: devices by name
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    clock_ahead: float = 0.0  #: seconds by which its clock is ahead of ours
    answered: bool = True
    #: Cores that its engine has, whatever is configured; None: runs are not limited to them.
    engine_cpus: int | None = None
    engine_memory: int | None = None  #: bytes

    @property
    def is_measured(self) -> bool:
        """Return whether its sizes were measured by the node: every node has some."""
        return (self.answered or self.ready) and self.cpus > 0 and self.memory > 0


@dataclass(frozen=True, slots=True)
class Boot:
    """The last boot of a node, which ended all its runs: its time, and the seconds since."""

    at: float
    ago: float


@dataclass(frozen=True, slots=True)
class Stats:
    """One sample of a run's resource usage: cpu in percent of one core, memory and network in bytes."""

    at: float
    cpu_percent: float
    memory: int
    memory_limit: int
    network_rx: int
    network_tx: int
    pids: int


def run_name(task_id: int, attempt: int, system: str | None = None) -> str:
    """Return `god-<system>-<task id>-<attempt>`; without the system for runs of versions that had no marks."""
    return f"god-{system}-{task_id}-{attempt}" if system else f"god-{task_id}-{attempt}"


def parse_name(name: str) -> tuple[int, int, str | None] | None:
    """Return task id, attempt and system from a run's name; None for any other name."""
    match = _NAME.match(name)
    return (int(match[2]), int(match[3]), match[1]) if match else None


def is_beneath(directory: str | None, root: str) -> bool:
    """Return whether a run's directory lies in `root`, by its name or after resolving links on this machine."""
    if not directory:
        return False
    return _is_within(directory, root) or _is_within(os.path.realpath(directory), os.path.realpath(root))


def _is_within(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")
