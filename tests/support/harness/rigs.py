"""An executor of each kind with a place for its runs, behind one interface, for the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from shared import settings
from shared.executors import base, factory, fake, types
from shared.models.task import Place
from shared.storage import directories
from tests.support import waiting

IMAGE = "busybox:latest"
ROOT = os.geteuid() == 0
UID, GID, GROUP = (20001, 20002, 20003) if ROOT else (os.getuid(), os.getgid(), os.getgid())
MEMORY = 64 * 1024**2  #: bytes

_ids = itertools.count(1 + os.getpid() * 1000)


class Rig:
    """One executor on one node, and the task directories it works on."""

    def __init__(self, kind: str, root: Path, url: str = "unix:///nowhere") -> None:
        self.kind = kind
        self.node = {"process": "localhost", "fake": fake.NODE.name}.get(kind, "n1")
        self.config = self._settings(kind, root, url)
        self.owner = types.Owner(self.config.instance)
        self.tasks = directories.TaskDirectories(self.config.shared_dir)
        self.executor = self.build()
        self.started: list[types.Handle] = []
        self._others: list[base.Executor] = []

    def build(self) -> base.Executor:
        return fake.FakeExecutor() if self.kind == "fake" else factory.build(self.config, self.owner)

    def another(self, **update: Any) -> base.Executor:
        """Return the executor of another process, such as a watcher, with these settings. The fake one exists once."""
        if self.kind == "fake":
            return self.executor
        config = self.config.model_copy(update=update)
        self._others.append(factory.build(config, types.Owner(config.instance)))
        return self._others[-1]

    async def run(self, script: str, *, attempt: int = 1, task_id: int | None = None, **fields: Any) -> types.Run:
        """Return a run that can be started, with its directory."""
        task_id = next(_ids) if task_id is None else task_id
        uid, gid = fields.pop("uid", UID), fields.pop("gid", GID)
        path = await self.tasks.prepare(Place(task_id), uid=uid, gid=gid, script=script, attempt=attempt)
        values: dict[str, Any] = {
            "handle": types.Handle(self.node, task_id, attempt, None if self.kind == "fake" else self.config.instance),
            "image": IMAGE,
            "uid": uid,
            "gid": gid,
            "groups": (),
            "cpus": 0.5,
            "memory": MEMORY,
            "directory": str(path),
            "shebang": script.startswith("#!"),
            "state": str(self.tasks.state(Place(task_id))),
        }
        run = types.Run(**{**values, **fields})
        self.started.append(run.handle)
        return run

    async def start(self, script: str, **fields: Any) -> types.Run:
        run = await self.run(script, **fields)
        await self.executor.prepare(run)
        await self.executor.start(run)
        return run

    async def ended(self, run: types.Run) -> types.Observation:
        """Wait until the run has ended."""

        async def look() -> types.Observation | None:
            seen = await self.executor.inspect(run.handle)
            return seen if seen and seen.state is types.RunState.EXITED else None

        return await waiting.until(look, f"{run.handle.name} has ended")

    async def state(self, run: types.Run) -> types.RunState | None:
        seen = await self.executor.inspect(run.handle)
        return seen.state if seen else None

    def file(self, run: types.Run, name: str) -> Path:
        return Path(run.directory) / name

    async def written(self, run: types.Run, name: str) -> str:
        """Wait until the run wrote a whole line into a file, and return the content."""
        path = self.file(run, name)
        await waiting.until(lambda: path.exists() and path.read_text().endswith("\n"), f"{name} is written")
        return path.read_text()

    @contextlib.asynccontextmanager
    async def watched(self, executor: base.Executor | None = None) -> AsyncIterator[list[types.Event]]:
        """Yield the events of the node; the context begins once the first has arrived."""
        seen: list[types.Event] = []

        async def collect() -> None:
            async for event in (executor or self.executor).events(self.node):
                seen.append(event)

        task = asyncio.create_task(collect(), name="collect events")
        try:
            await waiting.until(lambda: seen or task.done(), "the event stream says something")
            yield seen
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    async def close(self) -> None:
        for handle in self.started:
            await self.executor.remove(handle)
        for _ in range(2 if self.kind == "docker" else 0):
            await self.executor.list(self.node)  # networks are removed only after they were seen unused before
        for executor in (self.executor, *self._others):
            await executor.close()

    def _settings(self, kind: str, root: Path, url: str) -> settings.Settings:
        return settings.Settings(
            executor="simulated" if kind == "fake" else kind,
            instance=f"test{next(_ids)}",
            nodes=[settings.Node(name="n1", url=url)],
            shared_dir=root / "shared",
            data_dir=root / "data",
            docker_timeout=10.0,
            start_timeout=20.0,
            pull_timeout=10.0,
        )


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Create a directory that other users can pass through, as a shared one is."""
    path = Path(tempfile.mkdtemp(prefix="god-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def rig(kind: str, url: str = "unix:///nowhere") -> AsyncIterator[Rig]:
    with directory() as root:
        (root / "shared").mkdir(mode=0o711)
        made = Rig(kind, root, url)
        try:
            yield made
        finally:
            await made.close()
