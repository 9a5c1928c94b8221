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
    """What an executor can do beyond start, stop and report."""

    ISOLATION = "isolation"  #: a task cannot see the host or other tasks
    IMAGES = "images"  #: the image is used; without it the command runs on the host's own system
    VOLUMES = "volumes"
    NETWORK = "network"  #: tasks can be given or denied the network
    PAUSE = "pause"
    ROOT = "root"
    LIMITS = "limits"  #: cpu and memory are enforced, not only counted
    GPUS = "gpus"  #: a task gets the devices it was given, and no others
    PORTS = "ports"  #: ports of the task can be reached from outside
    NETWORKS = "networks"  #: networks of a user's or a project's tasks
    HOSTS = "hosts"  #: its nodes are configured or added hosts; without it, this machine is the only node
    TMPSTORAGE = "tmpstorage"  #: room that goes with the run


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
    RESYNC = "resync"  #: the stream was (re)connected, what happened before may be missing: list the runs


@dataclass(frozen=True, slots=True)
class Handle:
    """One attempt on one node."""

    node: str
    task_id: int
    attempt: int
    #: The mark of the system whose run it is; None for runs of versions without one. Within a system it tells nothing apart.
    system: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return run_name(self.task_id, self.attempt, self.system)


@dataclass(frozen=True, slots=True)
class Owner:
    """
    The system whose runs an executor makes and knows. `mark` is its own alone; `earlier` is what versions without marks put on
    its runs and on those of others, None where there cannot be any.
    """

    mark: str
    earlier: str | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """All that its runs may carry."""
        return (self.mark, self.earlier) if self.earlier else (self.mark,)

    def of(self, mark: object) -> str | None:
        """`Handle.system` of a run with this mark, which has to be one of `marks`."""
        return self.mark if mark == self.mark else None

    def mark_of(self, handle: Handle) -> str:
        """The mark that a run carries. Raises `errors.StartRefused` for another system's."""
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
    """A port of the run, and the one of the node that leads there."""

    container: int
    host: int


@dataclass(frozen=True, slots=True)
class Given:
    """What a run was given of its node that nobody else has meanwhile: devices, as `NodeReport.gpus` names them, and ports."""

    gpus: Sequence[str] = ()
    ports: Sequence[PortMapping] = ()


@dataclass(frozen=True, slots=True)
class TmpStorage:
    """Room of `size` bytes that the run sees at `path` and that goes with it."""

    size: int
    path: str


PUBLIC = "public"  #: the network that reaches the world


@dataclass(frozen=True, slots=True)
class Run:
    """All that an executor is told about an attempt. Nothing a user sends becomes an option of it by name."""

    handle: Handle
    image: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    cpus: float
    memory: int  #: bytes
    directory: str  #: the task's directory on the host, mounted at `WORKDIR`, holding `cmd.sh`
    shebang: bool  #: `cmd.sh` names its interpreter; without it `/bin/sh` runs it
    environment: Mapping[str, str] = field(default_factory=dict)  #: besides the GODOCKER_* ones made from the run
    mounts: Sequence[Mount] = ()
    network: str | None = None  #: None: no network; `PUBLIC`; else the name of a network among runs, `user-alice`
    ports: Sequence[PortMapping] = ()
    gpus: Sequence[str] = ()  #: devices, as `NodeReport.gpus` names them
    tmpstorage: TmpStorage | None = None
    root: bool = False
    request: str | None = None  #: the id of the HTTP request that its task came with
    login: str = ""  #: of whom it runs as; a name, not an account of the node
    state: str | None = None  #: the directory on the host for the wrapper's files; None: `.godocker` in the task's


@dataclass(frozen=True, slots=True)
class Observation:
    """What an executor sees of a run. Times are seconds since the epoch; None where it cannot know."""

    handle: Handle
    state: RunState
    exit_code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    out_of_memory: bool = False
    removed: bool = False  #: it was ended to be removed, by whoever that is, and may be gone by now
    given: Given | None = None  #: as `inspect` says it; None where an executor does not know
    reason: str | None = None  #: what is to be said of its end, where the executor knows more than the code says
    by_signal: bool | None = None  #: whether a signal ended the command, and not an exit code of that number
    lost: bool = False  #: it is over, and nobody knows how its command ended


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Facts around the end of a run that its exit code does not tell."""

    #: Why its image cannot run /bin/sh, as part of a sentence; None where it can, or where that is not known.
    shell: str | None = None
    #: Commands that somebody gave about it, `docker stop`, as far as they are remembered. Ours are among them.
    commands: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A hint. `exit_code`, `at` (seconds since the epoch) and what `Observation` has, where the executor says them."""

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
    What a node has. `reason` says why it is not ready. `answered`: the node itself said so just now; else the sizes are what is
    configured of it, or 0 where nobody knows.
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
    engine_cpus: int | None = (
        None  #: cores that its engine has, whatever is configured; None: nothing limits it to them
    )
    engine_memory: int | None = None  #: bytes

    @property
    def is_measured(self) -> bool:
        """Whether its sizes are those that the node itself said: every node has some."""
        return (self.answered or self.ready) and self.cpus > 0 and self.memory > 0


@dataclass(frozen=True, slots=True)
class Boot:
    """When a node began anew and nothing that ran on it before went on, and how many seconds ago that was."""

    at: float
    ago: float


@dataclass(frozen=True, slots=True)
class Stats:
    """One sample of what a run uses: cpu in percent of one core, memory and network in bytes."""

    at: float
    cpu_percent: float
    memory: int
    memory_limit: int
    network_rx: int
    network_tx: int
    pids: int


def run_name(task_id: int, attempt: int, system: str | None = None) -> str:
    """`god-<system>-<task id>-<attempt>`; without the system for runs of versions that had no marks."""
    return f"god-{system}-{task_id}-{attempt}" if system else f"god-{task_id}-{attempt}"


def parse_name(name: str) -> tuple[int, int, str | None] | None:
    """Task id, attempt and system from a run's name; None for a name that is not one."""
    match = _NAME.match(name)
    return (int(match[2]), int(match[3]), match[1]) if match else None


def is_beneath(directory: str | None, root: str) -> bool:
    """Whether a run's directory lies in `root`: by its name, or by where links on this machine lead."""
    if not directory:
        return False
    return _is_within(directory, root) or _is_within(os.path.realpath(directory), os.path.realpath(root))


def _is_within(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")
