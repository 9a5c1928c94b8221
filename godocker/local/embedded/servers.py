"""Stores of a system without configured ones: a one-node mongod replica set and a redis-server, on Unix sockets."""

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
USER = "godocker"  #: login at mongod
STOP_GRACE = 20.0  #: seconds in which mongod writes its checkpoint
SLOW = 2000  #: milliseconds after which mongod logs an operation
#: Variables passed to a store; none is secret. The last one identifies a process left over from an earlier start.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", leftovers.DATA_DIR)
_PAUSE = 0.03

MONGOD, REDIS = data_directory.MONGOD, data_directory.REDIS


@dataclass(frozen=True, slots=True)
class Server:
    """A store's process, its socket and its readiness check."""

    child: child_process.Child
    socket: Path
    #: Takes one step towards readiness and returns whether the server is ready. Does not raise while the server starts.
    make_ready: Callable[[], bool]


def mongod(directory: Path, *, password: str | None = None) -> Server:
    """Return a mongod below `directory`, reached only by its socket, and with a password only by its login."""
    data, folder = _private(directory / "mongo"), sockets.folder(directory)
    path = folder / sockets.MONGOD
    options = [
        # A path as the only address means a socket and no TCP. The prefix moves mongod's default socket to the same folder.
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
        # A compressed message with a false length would reveal the server's memory (CVE-2025-14847).
        *("--networkMessageCompressors", "disabled"),
        # No JavaScript in the database, even if a query contains some.
        "--noscripting",
        # No log line per connection, nor per operation delayed by a busy disk.
        *("--quiet", "--slowms", str(SLOW)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # A stopping primary waits this long for another member to take over; here there is none.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
    ]
    if password:
        key = data / "keyfile"
        # The shared key of the set's members. Hashed, because it may contain only base64 characters.
        write_private(key, hashlib.sha256(password.encode()).hexdigest())
        options += ["--keyFile", str(key)]
    child = _child(directory, MONGOD, [str(programs.mongod()), *options])
    login = replica_set.Login(USER, password) if password else None
    return Server(child, path, lambda: replica_set.make_ready(path, login))


def mongo_url(directory: Path, *, password: str | None = None) -> str:
    """Return the URL of the mongod below `directory`."""
    login = f"{USER}:{quote(password, safe='')}@" if password else ""
    path = quote(str(sockets.folder(directory) / sockets.MONGOD), safe="")
    return f"mongodb://{login}{path}/?replicaSet={replica_set.NAME}"


def redis_server(directory: Path, *, password: str | None = None) -> Server:
    """
    Return a redis-server below `directory`, reached only by its socket, with an append-only file. When full, it refuses writes
    rather than evict keys.
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
        # A process title overwrites the environment, which identifies a process left over from an earlier start.
        "set-proc-title": "no",
    }
    password_rule = f"#{hashlib.sha256(password.encode()).hexdigest()}" if password else "nopass"
    # We use no scripts, and scripts have allowed escapes from the server (CVE-2025-49844).
    settings["user default"] = f"on {password_rule} ~* &* +@all -@scripting"
    file = data / "redis.conf"
    write_private(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
    child = _child(directory, REDIS, [str(programs.redis_server()), str(file)])
    return Server(child, path, lambda: _redis_answers(path, password))


def wait_ready(servers: Sequence[Server], *, timeout: float, pause: Callable[[float], None] = time.sleep) -> None:
    """
    Wait until all servers are ready, calling `pause` between checks. Raises `errors.ConfigurationError`, with the end of the
    log, if a server ends or is not ready after `timeout` seconds.
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
