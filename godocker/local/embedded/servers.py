"""The stores of a system that was given none: a one-node mongod replica set and a redis-server, on sockets of their own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from godocker.local import child_process, data_directory, leftovers
from godocker.local.data_directory import write_private
from godocker.local.embedded import programs, sockets
from shared import clock, errors
from shared.store.system import replica_set

MONGO_CACHE = 0.5  #: GB
USER = "godocker"  #: of mongod
STOP_GRACE = 20.0  #: seconds for mongod to write its checkpoint
SLOW = 2000  #: milliseconds of an operation that is worth a line in mongod's log
#: What a store is told of ours: no secret is among it. By the last of them one that is left over is known.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", leftovers.DATA_DIR)
_PAUSE = 0.03

MONGOD, REDIS = data_directory.MONGOD, data_directory.REDIS


@dataclass(frozen=True, slots=True)
class Server:
    """A store's process, its socket, and the question whether it answers."""

    child: child_process.Child
    socket: Path
    #: One step towards being usable; True when it is. Raises nothing for a server that is not up yet.
    make_ready: Callable[[], bool]


def mongod(directory: Path, *, password: str | None = None) -> Server:
    """A mongod below `directory`, reached by its socket alone. With a password, others of the same user do not get in either."""
    data, folder = _private(directory / "mongo"), sockets.folder(directory)
    path = folder / sockets.MONGOD
    options = [
        # A path among the addresses is a socket; without any other there is no TCP. The one that it makes anyway goes beside it.
        *(
            "--dbpath",
            str(data),
            "--replSet",
            replica_set.NAME,
            "--bind_ip",
            str(path),
            "--unixSocketPrefix",
            str(folder),
        ),
        *("--wiredTigerCacheSizeGB", str(MONGO_CACHE), "--oplogSize", "256"),
        # Whoever gets to send a compressed message with a false length reads the server's memory (CVE-2025-14847).
        *("--networkMessageCompressors", "disabled"),
        # No JavaScript inside the database, whatever a query smuggles in.
        "--noscripting",
        # Not a line for each connection, nor for each operation that a busy disk holds up.
        *("--quiet", "--slowms", str(SLOW)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # A primary waits that long for others to take over before it stops; here there are none.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
    ]
    if password:
        key = data / "keyfile"
        # Members of a set know each other by it. Hashed, as only base64 characters may stand there.
        write_private(key, hashlib.sha256(password.encode()).hexdigest())
        options += ["--keyFile", str(key)]
    child = _child(directory, MONGOD, [str(programs.mongod()), *options])
    login = replica_set.Login(USER, password) if password else None
    return Server(child, path, lambda: replica_set.make_ready(path, login))


def mongo_url(directory: Path, *, password: str | None = None) -> str:
    """How the mongod below `directory` is reached."""
    login = f"{USER}:{quote(password, safe='')}@" if password else ""
    path = quote(str(sockets.folder(directory) / sockets.MONGOD), safe="")
    return f"mongodb://{login}{path}/?replicaSet={replica_set.NAME}"


def redis_server(directory: Path, *, password: str | None = None) -> Server:
    """
    A redis-server below `directory`, reached by its socket alone, that appends to a file what it is told, and refuses rather
    than evicts.
    """
    data, path = _private(directory / "redis"), sockets.folder(directory) / sockets.REDIS
    settings = {
        "port": "0",
        "unixsocket": f'"{path}"',
        "unixsocketperm": "700",
        "dir": f'"{data}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        # The title overwrites the environment, by which a left over process is told to be ours.
        "set-proc-title": "no",
    }
    known_by = f"#{hashlib.sha256(password.encode()).hexdigest()}" if password else "nopass"
    # Nothing of ours is a script, and scripts have had holes that lead out of the server (CVE-2025-49844).
    settings["user default"] = f"on {known_by} ~* &* +@all -@scripting"
    file = data / "redis.conf"
    write_private(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
    child = _child(directory, REDIS, [str(programs.redis_server()), str(file)])
    return Server(child, path, lambda: _redis_answers(path, password))


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
    return errors.ConfigurationError(f"{server.child.name} {what}. The end of {log}:\n{child_process.tail(log)}")


def _child(directory: Path, name: str, argv: list[str]) -> child_process.Child:
    return child_process.Child(
        child_process.Program(
            name=name,
            argv=argv,
            log=directory / "log" / f"{name}.log",
            pid_file=directory / "run" / f"{name}.pid",
            environment={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
    )


def _redis_answers(path: Path, password: str | None) -> bool:
    login = f"AUTH {password}\r\n" if password else ""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
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
