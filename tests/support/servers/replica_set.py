"""A MongoDB replica set of three mongods on this machine, whose primary a test may make fail."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo import errors as mongo_errors

from godocker.local import child_process, ports
from godocker.local.embedded import programs
from shared.store.system import replica_set
from tests.support import hanging, waiting
from tests.support.servers.stores import JOURNAL_INTERVAL, MEMORY

SIZE = 3
START_TIMEOUT = 60.0

_STEP_DOWN = 60  #: seconds without candidacy for a primary that stepped down


class ReplicaSet:
    """Three members. `mend` repairs each failure of the primary."""

    def __init__(self, directory: Path, settings: Mapping[str, int]) -> None:
        found = ports.reserve(directory / "ports.json", [f"mongod-{number}" for number in range(SIZE)])
        self._members = {port: _mongod(directory / name, name, port) for name, port in found.items()}
        self._settings = settings
        addresses = ",".join(f"{ports.LOOPBACK}:{port}" for port in self._members)
        self.url = f"mongodb://{addresses}/?replicaSet={replica_set.NAME}"

    def start(self) -> None:
        """Start all members, form a set of them, and wait until each follows."""
        for member in self._members.values():
            member.start()
        first, *_ = self._members
        hosts = [f"{ports.LOOPBACK}:{port}" for port in self._members]
        members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
        config = {"_id": replica_set.NAME, "members": members, "settings": dict(self._settings)}
        for port in self._members:
            self._ask("ping", port)
        self._ask("replSetInitiate", first, config)
        self.wait_whole()

    def stop(self) -> None:
        for member in self._members.values():
            member.signal(signal.SIGCONT)
            member.kill()

    def settings(self) -> dict[str, Any]:
        """The settings of the set, as it has them."""
        found: dict[str, Any] = self._ask("replSetGetConfig", self.primary())["config"]["settings"]
        return found

    def primary(self) -> int:
        """The port of the member that accepts writes and that a majority follows."""
        found: int = waiting.until_blocking(
            lambda: next((port for port in self._members if self._is_primary(port)), 0),
            "the set has a primary",
            timeout=START_TIMEOUT,
        )
        return found

    def wait_whole(self) -> None:
        """Wait until there is a primary and both others follow it."""
        waiting.until_blocking(self._is_whole, "every member is well", timeout=START_TIMEOUT, interval=0.2)

    # --- failures -------------------------------------------------------------------

    def step_down(self) -> None:
        """Make the primary step down."""
        self._ask("replSetStepDown", self.primary(), _STEP_DOWN)

    def kill(self) -> None:
        """Send SIGKILL to the primary."""
        self._members[self.primary()].kill()

    def hang(self) -> None:
        """Hang the primary: it accepts connections and answers nothing."""
        pid = self._members[self.primary()].pid
        assert pid is not None
        hanging.stop(pid)

    def mend(self) -> None:
        """Let every member run on, and start those that ended."""
        for member in self._members.values():
            member.signal(signal.SIGCONT)
            if not member.is_running():
                member.start()
        self.wait_whole()

    # --- questions ------------------------------------------------------------------

    def _is_primary(self, port: int) -> bool:
        with contextlib.suppress(mongo_errors.PyMongoError):
            return bool(self._ask("hello", port, timeout=0.5).get("isWritablePrimary"))
        return False

    def _is_whole(self) -> bool:
        with contextlib.suppress(mongo_errors.PyMongoError):
            states = [one["stateStr"] for one in self._ask("replSetGetStatus", self.primary())["members"]]
            return sorted(states) == ["PRIMARY", "SECONDARY", "SECONDARY"]
        return False

    def _ask(self, command: str, port: int, value: Any = 1, *, timeout: float = START_TIMEOUT) -> dict[str, Any]:
        options = {"directConnection": True, "timeoutMS": int(timeout * 1000)}
        with pymongo.MongoClient[dict[str, Any]](ports.LOOPBACK, port, **options) as client:
            return client.admin.command(command, value)


def _mongod(directory: Path, name: str, port: int) -> child_process.Child:
    directory.mkdir()
    argv = [
        *(
            str(programs.mongod()),
            "--dbpath",
            str(directory),
            "--replSet",
            replica_set.NAME,
            "--nounixsocket",
            "--quiet",
        ),
        *("--bind_ip", ports.LOOPBACK, "--port", str(port), "--networkMessageCompressors", "disabled"),
        *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--journalCommitInterval", str(JOURNAL_INTERVAL)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--setParameter", "oplogNetworkTimeoutBufferSeconds=2"),
    ]
    return child_process.Child(child_process.Program(name=name, argv=argv, log=directory.parent / f"{name}.log"))


@contextmanager
def running(settings: Mapping[str, int]) -> Iterator[ReplicaSet]:
    """Run a whole set with these settings."""
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="godocker-replicas-", dir=place, ignore_cleanup_errors=True) as folder:
        made = ReplicaSet(Path(folder), settings)
        try:
            made.start()
            yield made
        finally:
            made.stop()
            shutil.rmtree(folder, ignore_errors=True)
