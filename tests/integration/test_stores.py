"""The embedded stores come up, keep what they were told, and come back."""

from __future__ import annotations

import socket
from pathlib import Path

import pymongo
import pytest
from pymongo import errors as mongo_errors
from pymongo.write_concern import WriteConcern

from godocker import embedded, ports, processes
from shared import errors
from shared.settings import Settings
from tests.support import waiting
from tests.support.stores import START_TIMEOUT, StoreServer

pytestmark = pytest.mark.stores


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


def test_a_replica_set_follows_its_mongod_to_another_port(tmp_path: Path) -> None:
    first, second = ports.reserve(tmp_path / "ports.json", ["a", "b"]).values()
    for port in (first, second):
        server = StoreServer(embedded.mongod(tmp_path, port, password="a-password"))
        try:
            server.start()
            with pymongo.MongoClient(embedded.mongo_url(port, password="a-password")) as client:
                client.test.things.insert_one({"port": port})
        finally:
            server.stop()
    assert not (tmp_path / "run" / "mongod.pid").exists()


def test_stores_with_a_password_refuse_those_who_do_not_know_it(tmp_path: Path) -> None:
    mongo_port, redis_port = ports.reserve(tmp_path / "ports.json", ["mongod", "redis"]).values()
    mongod = StoreServer(embedded.mongod(tmp_path, mongo_port, password="a-password"))
    redis = StoreServer(embedded.redis_server(tmp_path, redis_port, password="a-password"))
    try:
        mongod.start()
        redis.start()
        assert b"NOAUTH" in _ask(redis, "GET anything")
        with (
            pymongo.MongoClient(embedded.mongo_url(mongo_port)) as client,
            pytest.raises(mongo_errors.OperationFailure, match="requires authentication"),
        ):
            client.test.things.find_one()
    finally:
        mongod.stop()
        redis.stop()


def test_a_store_that_cannot_start_is_reported_with_its_own_words(tmp_path: Path) -> None:
    with socket.socket() as occupant:
        occupant.bind((ports.LOOPBACK, 0))
        occupant.listen()
        server = embedded.redis_server(tmp_path, occupant.getsockname()[1])
        server.child.start()
        try:
            with pytest.raises(errors.ConfigurationError, match="Address already in use"):
                embedded.wait_ready([server], timeout=START_TIMEOUT)
        finally:
            server.child.stop(1)


def test_ports_are_kept_where_they_are_free(tmp_path: Path) -> None:
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
    monkeypatch.setattr(processes, "LOG_LIMIT", 10)
    log = tmp_path / "log" / "echo.log"
    child = processes.Child(processes.Program("echo", ["/bin/echo", "a long line"], log, tmp_path / "echo.pid"))
    for _ in range(2):
        child.start()
        waiting.until_blocking(lambda: child.exit_status() == 0, "echo has ended")
    assert log.read_text() == log.with_name("echo.log.1").read_text() == "a long line\n"


def _ask(server: StoreServer, command: str) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        return connection.makefile("rb").read()
