"""The stores of a system that was given none: a one-node mongod replica set and a redis-server, on loopback ports."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from godocker import ports, processes, programs, replica
from godocker.directory import write_private
from shared import clock, errors

MONGO_CACHE = 0.5  #: GB
USER = "godocker"  #: of mongod
STOP_GRACE = 20.0  #: seconds for mongod to write its checkpoint
_PAUSE = 0.03

MONGOD = "mongod"
REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Server:
    """A store's process, and the question whether it answers."""

    child: processes.Child
    port: int
    #: One step towards being usable; True when it is. Raises nothing for a server that is not up yet.
    make_ready: Callable[[], bool]

    @property
    def host(self) -> str:
        return ports.LOOPBACK


def mongod(
    directory: Path,
    port: int,
    *,
    password: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """A mongod below `directory`. With a password, nobody else on the machine gets in."""
    data = _private(directory / "mongo")
    options = [
        *("--dbpath", str(data), "--replSet", replica.NAME, "--bind_ip", ports.LOOPBACK, "--port", str(port)),
        *("--wiredTigerCacheSizeGB", str(MONGO_CACHE), "--oplogSize", "256", "--nounixsocket"),
        # No JavaScript inside the database, whatever a query smuggles in.
        "--noscripting",
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # A primary waits that long for others to take over before it stops; here there are none.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
    ]
    if password:
        key = data / "keyfile"
        # Members of a set know each other by it. Hashed, as only base64 characters may stand there.
        write_private(key, hashlib.sha256(password.encode()).hexdigest())
        options += ["--keyFile", str(key)]
    child = _child(directory, MONGOD, [str(programs.mongod()), *options], environment)
    login = replica.Login(USER, password) if password else None
    return Server(child, port, lambda: replica.make_ready(port, login))


def mongo_url(port: int, *, password: str | None = None) -> str:
    login = f"{USER}:{quote(password, safe='')}@" if password else ""
    return f"mongodb://{login}{ports.LOOPBACK}:{port}/?replicaSet={replica.NAME}"


def redis_server(
    directory: Path,
    port: int,
    *,
    password: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """A redis-server below `directory` that appends to a file what it is told, and refuses rather than evicts."""
    data = _private(directory / "redis")
    settings = {
        "bind": ports.LOOPBACK,
        "port": str(port),
        "dir": f'"{data}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        # The title overwrites the environment, by which a left over process is told to be ours.
        "set-proc-title": "no",
    }
    if password:
        settings["requirepass"] = password
    file = data / "redis.conf"
    write_private(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
    child = _child(directory, REDIS, [str(programs.redis_server()), str(file)], environment)
    return Server(child, port, lambda: _redis_answers(port, password))


def wait_ready(servers: Sequence[Server], *, timeout: float, pause: Callable[[float], None] = time.sleep) -> None:
    """
    Wait until all servers are usable, calling `pause` between looks. Raises `errors.ConfigurationError` with the end of
    the log of one that ended or was not ready after `timeout` seconds.
    """
    deadline = clock.monotonic() + timeout
    waiting = list(servers)
    while waiting := [server for server in waiting if not server.make_ready()]:
        for server in waiting:
            if (status := server.child.exit_status()) is not None:
                raise _failed(server, f"ended with status {status}")
        if clock.monotonic() > deadline:
            raise _failed(waiting[0], f"was not ready after {timeout:g} s")
        pause(_PAUSE)


def _failed(server: Server, what: str) -> errors.ConfigurationError:
    log = server.child.program.log
    return errors.ConfigurationError(f"{server.child.name} {what}. The end of {log}:\n{processes.tail(log)}")


def _child(directory: Path, name: str, argv: list[str], environment: Mapping[str, str] | None) -> processes.Child:
    return processes.Child(
        processes.Program(
            name=name,
            argv=argv,
            log=directory / "log" / f"{name}.log",
            pid_file=directory / "run" / f"{name}.pid",
            environment=dict(os.environ if environment is None else environment),
        )
    )


def _redis_answers(port: int, password: str | None) -> bool:
    login = f"AUTH {password}\r\n" if password else ""
    with contextlib.suppress(OSError), socket.create_connection((ports.LOOPBACK, port), timeout=1) as connection:
        connection.sendall(f"{login}PING\r\nQUIT\r\n".encode())
        answer = b""
        while part := connection.recv(1024):
            answer += part
        return b"+PONG" in answer
    return False


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
