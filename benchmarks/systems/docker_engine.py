"""A Docker Engine for figures, and runs on it without GoDocker as an upper bound."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiodocker
import orjson

from benchmarks import tasks
from godocker.docker import local_engine
from shared.executors import types
from shared.executors.docker import body
from shared.models.task import Place
from shared.storage.directories import TaskDirectories

NODE = "bench"
CPUS = 16  #: of the node as configured, whatever the machine has: starts are then bounded by their concurrency alone


@contextlib.contextmanager
def running_engine() -> Iterator[local_engine.LocalEngine]:
    """Start an engine with the image of the tasks, and remove it at the end with its data."""
    local_engine.install()
    local = local_engine.LocalEngine(Path(tempfile.mkdtemp(prefix="god-bench-")))
    try:
        local.start()
        local.import_image(local_engine.busybox_archive(), name=tasks.IMAGE.partition(":")[0])
        yield local
    finally:
        local.take_down()


def environment(local: local_engine.LocalEngine) -> Mapping[str, str]:
    """Return the variables that make a system use this engine."""
    return {"GODOCKER_NODES": json.dumps([{"name": NODE, "url": local.url, "cpus": CPUS}])}


@dataclass(frozen=True, slots=True)
class Run:
    """Times of one bare run, in seconds since the epoch."""

    began: float
    started: float
    ended: float
    directory: Path


class BareEngine:
    """
    Runs on the engine through aiodocker, with the same container as GoDocker's and sequential calls: create, start, wait, remove.
    """

    def __init__(self, local: local_engine.LocalEngine, directory: Path) -> None:
        self._docker = aiodocker.Docker(
            url=local.url
        )  # 100 connections, kept open; the figure's deadline bounds its calls
        self._directories = TaskDirectories(directory)
        self._number = 0

    async def close(self) -> None:
        await self._docker.close()

    async def run(self, command: str) -> Run:
        """Run one container, from creating its directory to its removal."""
        self._number = number = self._number + 1
        directory = await self._directories.prepare(Place(number), uid=0, gid=0, script=command)
        content = body.create_body(_run(number, directory), instance="bench", network="bridge", pids_limit=4096)
        began = time.time()
        container = await self._docker.containers.create(content, name=f"bare-{number}")
        await container.start()
        started = time.time()
        await container.wait()
        ended = time.time()
        await container.delete(v=True, force=True)
        return Run(began, started, ended, directory)

    async def rate(self, count: int, *, concurrency: int) -> float:
        """Return runs of /bin/true per second, `concurrency` at a time, including removals."""
        numbers = iter(range(count))

        async def work() -> None:
            for _ in numbers:
                await self.run("/bin/true")

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        return count / (time.perf_counter() - began)


async def bare(local: local_engine.LocalEngine, directory: Path) -> BareEngine:
    """Return a client of the engine for the running event loop, with task directories below `directory`."""
    return BareEngine(local, directory)


def containers_left(local: local_engine.LocalEngine) -> int:
    """Return the number of containers on the engine, running or not."""
    with local.client() as client:
        found: list[Any] = orjson.loads(client.get("/containers/json", params={"all": "1"}).content)
    return len(found)


def _run(number: int, directory: Path) -> types.Run:
    return types.Run(
        handle=types.Handle(NODE, number, 1),
        image=tasks.IMAGE,
        uid=0,
        gid=0,
        groups=(),
        cpus=1,
        memory=round(0.1 * 1024**3),
        directory=str(directory),
        shebang=False,
    )
