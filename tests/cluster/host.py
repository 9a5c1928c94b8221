"""A Docker host of the cluster: a machine with an engine, and everything that can happen to it."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from godocker.docker import local_engine
from tests.cluster import questions
from tests.cluster.cgroups import Cgroup
from tests.cluster.commands import ClusterError
from tests.cluster.machine import Machine
from tests.cluster.network import Network

IMAGE = "busybox:latest"
PORT = 2375
START_TIMEOUT = 60.0  #: seconds for an engine to answer
STOP_TIMEOUT = 40.0  #: seconds for one to end after SIGTERM, including its containers
LIVE_RESTORE = "--live-restore"


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a host as configured in GoDocker. The machines share real CPUs and memory."""

    cpus: float
    memory: float  #: GB


@dataclass(frozen=True, slots=True)
class Living:
    """A container with live processes, as the kernel shows it, without asking an engine."""

    id: str
    name: str  #: the id if the engine has not written the name yet
    pids: tuple[int, ...]


class Host:
    """
    One host, by its name in the network and in GoDocker. Its state is in its directory and in the kernel, so any process
    can act on it.
    """

    def __init__(self, position: int, size: Size, network: Network, directory: Path, *, owner: int) -> None:
        self.name = f"node{position + 1}"
        self.size = size
        self.directory = directory
        self.address = network.address(position)
        self.machine = Machine(self.name, directory, owner=owner)
        #: The engine, reached past the network, even when the host is cut off.
        self.engine = local_engine.Engine(directory / "docker.sock")
        self.cgroup = Cgroup(f"/godocker-cluster-{network.bridge.removeprefix('godocker')}/{self.name}")
        self._position = position
        self._network = network
        self._options = directory / "options.json"

    @property
    def url(self) -> str:
        """The engine's URL for GoDocker."""
        return f"tcp://{self.address}:{PORT}"

    @property
    def node(self) -> dict[str, Any]:
        """The host's entry in GoDocker's setting `nodes`."""
        return {"name": self.name, "url": self.url, "cpus": self.size.cpus, "memory": self.size.memory}

    # --- the machine ------------------------------------------------------------------

    def switch_on(self) -> None:
        """Boot the machine, connected to the network, without starting the engine."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.machine.switch_on()
        self._network.plug_in(self.machine, self._position)

    def switch_off(self) -> None:
        """Cut the power: engine and containers are gone at once, the disk stays."""
        self.cgroup.thaw()
        self.machine.switch_off()
        self.cgroup.remove()

    def reboot(self) -> None:
        """Switch off and on again, engine included."""
        self.switch_off()
        self.switch_on()
        self.start()

    def wipe(self) -> None:
        """Reboot with an empty disk: no containers, no images."""
        self.switch_off()
        shutil.rmtree(self.directory / "data")
        self.switch_on()
        self.start()

    # --- the engine -------------------------------------------------------------------

    @property
    def options(self) -> tuple[str, ...]:
        """The options that were set."""
        return tuple(json.loads(self._options.read_text())) if self._options.exists() else ()

    def set_options(self, *options: str) -> None:
        """Set additional options of dockerd, such as `LIVE_RESTORE`, for its next start."""
        self._options.write_text(json.dumps(options))

    def start(self) -> None:
        """Start dockerd and wait until it answers. Raises `ClusterError` with its last output."""
        if self.is_running():
            raise ClusterError(f"the engine of {self.name} runs already")
        self.machine.run_detached(self._dockerd(), log=self.directory / "log")
        deadline = time.monotonic() + START_TIMEOUT
        seen = False
        while not self.engine.answers():
            seen = seen or self.is_running()
            if (seen and not self.is_running()) or time.monotonic() > deadline:
                raise ClusterError(f"the engine of {self.name} did not start: {self.last_words()}")
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """
        End dockerd and wait for its end. SIGKILL gives it no time to clean up. Its containers live on with `LIVE_RESTORE`,
        and after SIGKILL in any case until its next start. A stopped one stays stopped.
        """
        self.signal(number)
        self.thaw()  # a frozen one would not receive the signal
        if not self._ends(STOP_TIMEOUT):
            self.signal(signal.SIGKILL)
            if not self._ends(STOP_TIMEOUT):
                raise ClusterError(f"the engine of {self.name} cannot be killed")

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.stop(number)
        self.start()

    def signal(self, number: signal.Signals, program: str = "dockerd") -> None:
        """Send a signal to a program of the host: `dockerd`, `containerd`, `containerd-shim-runc-v2`."""
        for process in self.machine.processes(program):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def freeze(self) -> None:
        """Hang the engine: it accepts connections and answers nothing. Its containers run on."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def is_running(self) -> bool:
        """Return whether dockerd exists, hanging or not."""
        return bool(self.machine.processes("dockerd"))

    # --- the network ------------------------------------------------------------------

    def cut(self) -> None:
        """Disconnect the network. Everything on the host runs on."""
        self._network.cut(self._position)

    def mute(self) -> None:
        """Drop everything the host sends: it carries out requests, but its answers are lost."""
        self._network.mute(self.machine)

    def heal(self) -> None:
        """Undo `cut`, `mute` and `freeze`. A host that is off stays off."""
        if self.machine.first() is not None:
            self._network.heal(self._position)
            self._network.unmute(self.machine)
            self.thaw()

    # --- what is on it ----------------------------------------------------------------

    def load_images(self) -> None:
        """Load `IMAGE`, so that no registry is needed."""
        name, _, tag = IMAGE.partition(":")
        self.engine.import_image(_busybox(), name=name, tag=tag)

    def ask(self, question: str) -> Any:
        """
        Return the engine's answer to GET `question`, such as `/containers/json?all=1`; None for 404. Raises
        `questions.NoAnswer` if it is dead, hangs, or dies meanwhile.
        """
        return questions.ask(self.engine.socket, question)

    def images(self) -> list[str]:
        return sorted(tag for image in self.ask("/images/json") or [] for tag in image["RepoTags"] or [])

    def living(self) -> list[Living]:
        """Return the containers with live processes, by the kernel: correct with a dead, hanging or wrong engine too."""
        return [Living(id, self._name_of(id), tuple(pids)) for id, pids in self.cgroup.pids().items()]

    def cgroup_of(self, container_id: str) -> Cgroup:
        """Return a container's control group, for example to freeze it behind its engine's back."""
        return Cgroup(f"{self.cgroup.path}/{container_id}")

    def log(self) -> str:
        """Return the output of dockerd over all its starts."""
        return (self.directory / "log").read_text(errors="replace")

    def last_words(self) -> str:
        lines = self.log().strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _ends(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        # The kernel kills its containerd after it; the next dockerd must not find that one dying.
        while self.machine.processes("dockerd") or self.machine.processes("containerd"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _name_of(self, container_id: str) -> str:
        try:
            file = self.directory / "data" / "containers" / container_id / "config.v2.json"
            return str(json.loads(file.read_text())["Name"]).lstrip("/")
        except (OSError, ValueError, KeyError):
            return container_id

    def _dockerd(self) -> list[str]:
        return [
            "dockerd",
            *("--data-root", str(self.directory / "data")),
            # In the machine's own /run.
            *("--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"),
            *("--host", self.engine.url, "--host", self.url),
            "--tls=false",  # explicit, or it waits fifteen seconds after a warning
            *("--storage-driver", "overlay2"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", self.cgroup.path),
            *self.options,
        ]


@functools.cache
def _busybox() -> bytes:
    return local_engine.busybox_archive()
