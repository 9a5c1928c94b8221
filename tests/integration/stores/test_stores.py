"""The embedded stores start, keep acknowledged writes, and restart."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pymongo
import pytest
from pymongo import errors as mongo_errors
from pymongo.write_concern import WriteConcern

from godocker.checks import stores
from godocker.local import child_process, ports, supervisor
from godocker.local.embedded import programs, servers, sockets
from shared import clock, errors
from shared.broker import connection
from shared.broker.broker import Broker
from shared.rules import known_faults
from shared.settings import Settings
from shared.store.stores import connect
from shared.store.system import replica_set
from tests.support import waiting
from tests.support.servers.stores import START_TIMEOUT, StoreServer

pytestmark = pytest.mark.stores

OP_MSG, OP_COMPRESSED, ZLIB = 2013, 2012, 2


def test_a_majority_write_survives_the_kill_of_mongod(settings: Settings, mongo_server: StoreServer) -> None:
    with pymongo.MongoClient(settings.mongo_url) as client:
        things = client[settings.mongo_db].get_collection("things", write_concern=WriteConcern("majority", j=True))
        things.insert_one({"_id": 1})
        mongo_server.kill()
        mongo_server.start()
        assert things.count_documents({}) == 1


def test_redis_keeps_its_append_only_file_over_a_restart(redis_server: StoreServer) -> None:
    _ask(redis_server, "SET kept yes")
    redis_server.restart()
    assert b"yes" in _ask(redis_server, "GET kept")
    _ask(redis_server, "DEL kept")


def test_a_replica_set_follows_its_mongod_to_another_directory(tmp_path: Path) -> None:
    place = tmp_path / "first"
    for another in ("second", None):
        server = StoreServer(servers.mongod(place, password="a-password"))
        try:
            server.start()
            with pymongo.MongoClient(servers.mongo_url(place, password="a-password")) as client:
                client.test.things.insert_one({"at": str(place)})
        finally:
            server.stop()
        assert not (place / "run" / "mongod.pid").exists()
        if another:
            place = place.rename(tmp_path / another)


def test_a_replica_set_of_a_version_with_ports_is_taken_over(tmp_path: Path) -> None:
    port = ports.reserve(tmp_path / "ports.json", ["mongod"])["mongod"]
    (tmp_path / "mongo").mkdir()
    before = on_port(tmp_path, port)
    login = replica_set.Login(servers.USER, "a-password")
    try:
        waiting.until_blocking(lambda: replica_set.make_ready(port, login), "it is a set that knows us by its port")
    finally:
        before.stop(servers.STOP_GRACE)
    server = StoreServer(servers.mongod(tmp_path, password="a-password"))
    try:
        server.start()
        with pymongo.MongoClient(servers.mongo_url(tmp_path, password="a-password")) as client:
            assert client.admin.command("hello")["hosts"] == [str(server.socket)]
    finally:
        server.stop()


def on_port(directory: Path, port: int, *options: str) -> child_process.Child:
    """A running mongod as earlier versions started it."""
    argv = [
        *(
            str(programs.mongod()),
            "--dbpath",
            str(directory / "mongo"),
            "--replSet",
            replica_set.NAME,
            "--nounixsocket",
        ),
        *("--bind_ip", ports.LOOPBACK, "--port", str(port), "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"),
        *options,
    ]
    child = child_process.Child(child_process.Program("mongod", argv, directory / "log" / "before.log"))
    child.start()
    return child


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[StoreServer, StoreServer]]:
    """Both stores, with a password."""
    made = [StoreServer(make(tmp_path, password="a-password")) for make in (servers.mongod, servers.redis_server)]
    try:
        for server in made:
            server.start()
        yield made[0], made[1]
    finally:
        for server in made:
            server.stop()


def test_stores_with_a_password_refuse_clients_without_it(
    locked: tuple[StoreServer, StoreServer], tmp_path: Path
) -> None:
    assert b"NOAUTH" in _ask(locked[1], "GET anything")
    with (
        pymongo.MongoClient(servers.mongo_url(tmp_path)) as client,
        pytest.raises(mongo_errors.OperationFailure, match="requires authentication"),
    ):
        client.test.things.find_one()


def test_stores_listen_on_private_sockets_and_on_no_port(
    locked: tuple[StoreServer, StoreServer],
) -> None:
    for server in locked:
        process = psutil.Process(server.pid)
        assert process.net_connections("inet") == []
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        theirs = {one.laddr for one in process.net_connections("unix") if one.laddr}
        assert {Path(path).parent for path in theirs} == {server.socket.parent}


def test_no_secret_is_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_SECRET_PASSPHRASE", "a-passphrase")
    monkeypatch.setenv("GODOCKER_DATA_DIR", str(tmp_path))
    for make in (servers.mongod, servers.redis_server):
        server = StoreServer(make(tmp_path, password="a-password"))
        try:
            server.start()
            process = psutil.Process(server.pid)
            told = " ".join([*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())])
            assert "GODOCKER_DATA_DIR" in told, "a store that is left over is known by it"
            assert "a-pass" not in told
        finally:
            server.stop()


async def test_the_embedded_stores_have_no_reachable_known_fault(settings: Settings) -> None:
    async with connect(settings) as opened, connection.client(settings) as client:
        found = [*await opened.faults(), *await Broker(client, settings.redis_prefix).faults()]
    assert [str(fault) for fault in found if not fault.is_closed] == []
    assert known_faults.MONGOD in {fault.fault.part for fault in found}, "this version has one, and it is closed"
    assert await stores.faults(settings) == []


def test_redis_runs_no_scripts(redis_server: StoreServer) -> None:
    for command in ("EVAL 'return 1' 0", "SCRIPT LOAD 'return 1'"):
        assert b"NOPERM" in _ask(redis_server, command)


def test_a_directory_whose_path_is_too_long_for_a_socket_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    folder = sockets.folder(long)
    try:
        assert folder == sockets.folder(long), "the same each time"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder.chmod(0o755)
        with pytest.raises(errors.ConfigurationError, match="is not a private directory of ours"):
            sockets.folder(long)
    finally:
        folder.rmdir()


def malformed() -> bytes:
    """A compressed `hello` that claims 16 kB and unpacks to a few bytes: the rest would be the server's memory."""
    said = 16 * 1024
    document = struct.pack("<i", said - 5) + b"\x10a\x00\x01\x00\x00\x00"  # BSON without its end
    body = zlib.compress(struct.pack("<I", 0) + b"\x00" + document)
    payload = struct.pack("<iiB", OP_MSG, said, ZLIB) + body
    return struct.pack("<iiii", 16 + len(payload), 1, 0, OP_COMPRESSED) + payload


def answer_to(message: bytes, address: Path | int) -> bytes:
    """Return the response, until the server sends no more."""
    family, to = (
        (socket.AF_UNIX, str(address)) if isinstance(address, Path) else (socket.AF_INET, ("127.0.0.1", address))
    )
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(to)
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                said += part
        return said


def test_a_compressed_message_with_a_false_length_gets_nothing_of_the_servers_memory(
    mongo_server: StoreServer, tmp_path: Path
) -> None:
    assert answer_to(malformed(), mongo_server.socket) == b""
    _ask_whether_well(mongo_server.socket)
    # A server with compression answers this message.
    port = ports.reserve(tmp_path / "ports.json", ["mongod"])["mongod"]
    (tmp_path / "mongo").mkdir()
    open_one = on_port(tmp_path, port)
    try:
        waiting.until_blocking(lambda: not ports.is_free(port), "it listens")
        assert answer_to(malformed(), port) != b""
    finally:
        open_one.stop(servers.STOP_GRACE)


def _ask_whether_well(address: Path) -> None:
    with pymongo.MongoClient(f"mongodb://{quote(str(address), safe='')}/?directConnection=true") as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_store_that_cannot_start_is_reported_with_its_own_message(tmp_path: Path) -> None:
    server = servers.redis_server(tmp_path)
    (tmp_path / "redis" / "redis.conf").write_text("nonsense yes\n")
    server.child.start()
    try:
        with pytest.raises(errors.ConfigurationError, match="Bad directive"):
            servers.wait_ready([server], timeout=START_TIMEOUT)
    finally:
        server.child.stop(1)


def test_free_ports_are_used_again(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = ports.reserve(file, ["mongod", "redis"])
    assert ports.reserve(file, ["mongod", "redis"]) == first
    with socket.socket() as occupant:
        occupant.bind((ports.LOOPBACK, first["redis"]))
        occupant.listen()
        again = ports.reserve(file, ["mongod", "redis"])
    assert again["mongod"] == first["mongod"]
    assert again["redis"] != first["redis"]


def test_a_large_log_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "LOG_LIMIT", 10)
    log = tmp_path / "log" / "echo.log"
    child = child_process.Child(child_process.Program("echo", ["/bin/echo", "a long line"], log, tmp_path / "echo.pid"))
    for _ in range(2):
        child.start()
        waiting.until_blocking(lambda: child.exit_status() == 0, "echo has ended")
    assert log.read_text() == log.with_name("echo.log.1").read_text() == "a long line\n"


def test_the_log_of_a_running_store_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "LOG_LIMIT", 10)
    log, gate = tmp_path / "log" / "talker.log", tmp_path / "gate"
    os.mkfifo(gate)
    script = f"echo 'a first long line'; read line < {gate}; echo 'a second one'; read line < {gate}"
    child = child_process.Child(child_process.Program("talker", ["/bin/sh", "-c", script], log))
    watched = supervisor.Supervisor()
    watched.start(child)
    try:
        waiting.until_blocking(lambda: "first" in log.read_text(), "it has said something")
        watched.restart_due(clock.monotonic())
        assert (log.read_text(), log.with_name("talker.log.1").read_text()) == ("", "a first long line\n")
        gate.write_text("go on\n")
        waiting.until_blocking(lambda: log.read_text() == "a second one\n", "it goes on at the file's beginning")
    finally:
        child.kill()


def _ask(server: StoreServer, command: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(server.socket))
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        return connection.makefile("rb").read()
