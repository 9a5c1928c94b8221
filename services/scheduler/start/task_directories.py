"""Create the directories of attempts on `shared_dir`, for several starts at once per thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared import errors
from shared.models.task import Task
from shared.rules import installation_errors
from shared.runtime import batching
from shared.storage import personal
from shared.storage.directories import TaskDirectories

_TOGETHER, _PARALLEL = 16, 4  #: a thread for each attempt would cost more than creating the directory


@dataclass(frozen=True, slots=True)
class Prepared:
    """The directory of a task, the state directory of its wrappers, and the personal storage of its user, if any."""

    directory: Path
    state: Path
    data: Path | None


class Preparer:
    """Creates the directories of tasks below one `shared_dir`."""

    def __init__(self, directories: TaskDirectories, shared_dir: Path) -> None:
        self._directories = directories
        self._shared_dir = shared_dir
        self._batches = batching.Batcher[Task, Prepared](
            self._prepare_all, name="directories", limit=_TOGETHER, parallel=_PARALLEL
        )

    async def prepare(self, task: Task) -> Prepared:
        """
        Create the directory of `task` with its script, also if it exists already. Raises `errors.StorageError` and
        `errors.StorageUnavailable`.
        """
        return await self._batches.ask(task)

    async def _prepare_all(self, tasks: Sequence[Task]) -> Sequence[Prepared | Exception]:
        return await asyncio.to_thread(lambda: [self._prepare(task) for task in tasks])

    def _prepare(self, task: Task) -> Prepared | Exception:
        spec = task.spec
        try:
            directory = self._directories.make(
                task.place,
                uid=0 if spec.root else task.user.uid,
                gid=task.user.gid,
                script=spec.cmd,
                uris=spec.uris,
                attempt=task.attempt,
                submission=f"{task.submission or '-'} {task.submitted_at!r}",
            )
            state, data = self._directories.state(task.place), personal.existing(self._shared_dir, task.user.id)
            return Prepared(directory, state, data)
        except (errors.StorageError, errors.StorageUnavailable) as error:
            return error
        except OSError as error:
            return installation_errors.of_storage(error, "the personal storage could not be read")
