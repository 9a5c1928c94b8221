"""Pass a request for an array on to all its children; for one that is not made yet, note it with the parent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import structlog

from services.api.admission import arrays
from services.api.context import Context
from shared import clock, errors
from shared.lifecycle import ACTIVE, ENDED, Intent, TaskStatus
from shared.models import transitions
from shared.models.task import Task
from shared.store.tasks.arrays import MOST_KILLED

log = structlog.get_logger(__name__)

_CHUNK = 1000  #: tasks moved by one write
_SHOWN = 20  #: ranges of indices in a line of the log


async def kill_all(here: Context, parent: Task, asked: Task) -> None:
    """Pass on that the parent is to be killed; `asked` is the parent since. The scheduler does it too, until all are over."""
    await here.stores.arrays.ask_children(parent.id, Intent.KILL, at=asked.intent_at or clock.now(), by=asked.intent_by)
    here.hints.pending([parent.id])


async def kill_part(here: Context, parent: Task, text: str, *, by: str) -> Task | None:
    """
    Let the children with the indices of `text` (`3-7,9`) be killed; return the parent, None where it is over. Raises
    `errors.InvalidInput`.
    """
    if parent.array is None:
        raise errors.InvalidInput.of("query.index", f"task {parent.id} is not an array")
    try:
        ranges = arrays.parse_ranges(text)
    except ValueError as error:
        raise errors.InvalidInput.of("query.index", str(error)) from None
    first, last = parent.array.indices[0], parent.array.indices[-1]
    if ranges[0][0] < first or ranges[-1][1] > last:
        raise errors.InvalidInput.of("query.index", f"must be between {first} and {last}")
    return await _kill_ranges(here, parent.id, ranges, by=by)


async def kill_unmade(here: Context, child: Task, *, by: str) -> Task | None:
    """Let a child be killed that is not made yet; return it, None where it is over or no child. Raises `errors.Conflict`."""
    parent = await here.stores.views.get(child.member.parent) if child.member else None
    now = await here.stores.views.get(child.id)
    if child.member is None or parent is None or parent.status in ENDED or now is None or now.status in ENDED:
        return None
    await _kill_ranges(here, parent.id, [(child.member.index, child.member.index)], by=by)
    return await here.stores.views.get(child.id)


async def _kill_ranges(here: Context, parent_id: int, ranges: Sequence[tuple[int, int]], *, by: str) -> Task | None:
    killed = await here.stores.arrays.kill_part(parent_id, ranges, at=clock.now(), by=by)
    if killed is not None:
        log.info("task.kill_asked", task_id=parent_id, user=killed.user.id, by=by, indices=ranges[:_SHOWN])
        here.hints.asked()
        here.hints.pending([parent_id])
        return killed
    parent = await here.stores.views.get(parent_id)
    if parent is not None and parent.status in ACTIVE:
        raise errors.Conflict(
            f"more than {MOST_KILLED} parts of array {parent_id} were killed: kill larger parts, or all"
        )
    return None


async def reschedule_all(here: Context, parent: Task, *, by: str) -> None:
    """Let all children that run begin again."""
    if await here.stores.arrays.ask_children(
        parent.id, Intent.RESCHEDULE, at=clock.now(), statuses=[TaskStatus.RUNNING], by=by
    ):
        here.hints.asked()


async def limit(here: Context, parent: Task, value: str) -> None:
    """Change how many children hold resources at a time. Raises `errors.InvalidInput` and `errors.Conflict`."""
    if parent.array is None:
        raise errors.InvalidInput.of("name", f"task {parent.id} is not an array")
    try:
        wanted = arrays.parse_limit(value)
    except ValueError as error:
        raise errors.InvalidInput.of("value", str(error)) from None
    if not await here.stores.arrays.set_limit(parent.id, wanted):
        raise errors.Conflict(f"array {parent.id} is over")
    here.hints.pending([parent.id])


async def archive_all(here: Context, parent: Task, *, now: float) -> None:
    """Archive the children of an array that is over."""
    left = iter(await here.stores.arrays.children_over(parent.id))
    while chunk := list(islice(left, _CHUNK)):
        await here.stores.tasks.transition_many(
            [transitions.archive(task_id, attempt, at=now) for task_id, attempt in chunk]
        )


async def deletable(here: Context, tasks: Sequence[Task]) -> list[Task]:
    """
    Those of `tasks` that are no children of arrays that are still open: these are counted, and one that is gone might be made
    a second time.
    """
    parents = {task.member.parent for task in tasks if task.member}
    still = {parent.id for parent in await here.stores.arrays.open_of(parents)} if parents else set()
    return [task for task in tasks if task.member is None or task.member.parent not in still]


def not_stored(task: Task) -> errors.RequestError:
    """Why a task that was shown cannot be changed: it is gone, or not made yet."""
    if task.member is None:
        return errors.TaskNotFound(task.id)
    return errors.Conflict(f"task {task.id} waits for its turn in the array {task.member.parent}: act on that one")
