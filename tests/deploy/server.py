"""A server for deployments: an engine in its own network, and a client outside."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from godocker.docker import local_engine

T = TypeVar("T")

ADDRESS = "10.99.1.1"  #: of the server, as those outside see it
_OUTSIDER = "10.99.1.2"
_CALL_TIMEOUT = 120.0  #: seconds
_MEMORY = "6g"
_CLONE_NEWNET = 0x40000000

#: As on a machine that was no router before: the engine closes the way to its containers when it opens the way between them.
_SERVER = "ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward"


class Outside:
    """A client on another machine that reaches the server by its address; calls run in its network."""

    def __init__(self, pid: int) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outside", initializer=_enter_network, initargs=(pid,))

    def call(self, function: Callable[[], T]) -> T:
        return self._thread.submit(function).result(_CALL_TIMEOUT)

    def close(self) -> None:
        self._thread.shutdown()


@dataclass(frozen=True, slots=True)
class Server:
    engine: local_engine.LocalEngine
    outside: Outside
    directory: Path  #: for what is to be on its disk

    def run(self, *argv: str) -> str:
        """Run a command in the server's network and return its output."""
        inside = ["nsenter", "--target", str(self.engine.pid), "--net", "--", *argv]
        return subprocess.run(inside, check=True, capture_output=True, text=True, timeout=30).stdout


@contextmanager
def running() -> Iterator[Server]:
    """Start a server and remove it at the end with everything on it. Raises `engine.EngineUnavailable`."""
    local_engine.install()
    with _in_memory() as directory:
        yield from _switched_on(directory)


def _switched_on(directory: Path) -> Iterator[Server]:
    launcher = ("unshare", "--net", "sh", "-c", f'{_SERVER}; exec "$@"', "sh")
    local = local_engine.LocalEngine(directory / "engine", options=("--bridge=", "--iptables=true"), launcher=launcher)
    # It waits for the end of its input, which comes with our own at the latest.
    outsider = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        local.start()
        server = Server(local, Outside(outsider.pid), directory)
        _connect(server, outsider.pid)
        yield server
        server.outside.close()
    finally:
        local.take_down()
        assert outsider.stdin is not None
        outsider.stdin.close()
        outsider.wait(30)


@contextmanager
def _in_memory() -> Iterator[Path]:
    """Create a directory in memory, since unpacking images would keep a disk busy for minutes."""
    directory = tempfile.mkdtemp(prefix="god-deploy-")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_MEMORY},mode=711", "tmpfs", directory], check=True, timeout=30
    )
    try:
        yield Path(directory)
    finally:
        subprocess.run(["umount", "-l", directory], check=True, timeout=30)
        os.rmdir(directory)


def _connect(server: Server, outsider: int) -> None:
    server.run("ip", "link", "add", "outside", "type", "veth", "peer", "name", "eth0", "netns", str(outsider))
    server.run("ip", "address", "add", f"{ADDRESS}/24", "dev", "outside")
    server.run("ip", "link", "set", "outside", "up")
    for command in (
        f"ip address add {_OUTSIDER}/24 dev eth0",
        "ip link set lo up",
        "ip link set eth0 up",
        # Also for addresses of the server's containers.
        f"ip route add default via {ADDRESS}",
    ):
        inside = ["nsenter", "--target", str(outsider), "--net", "--", *command.split()]
        subprocess.run(inside, check=True, capture_output=True, timeout=30)


def _enter_network(pid: int) -> None:
    """Move the current thread, and sockets that it opens, to the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
