"""Act on arrays: pass a request on to the children, or record it with the parent for children that do not exist yet."""

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

_CHUNK = 1000  #: transitions in one write
_MAX_LOGGED = 20  #: ranges of indices in a log event


async def kill_all(context: Context, parent: Task, killed: Task) -> None:
    """Kill the children of `killed`, a parent with a kill intent. The scheduler repeats it until all are over."""
    await context.stores.arrays.ask_children(
        parent.id, Intent.KILL, at=killed.intent_at or clock.now(), by=killed.intent_by
    )
    context.hints.pending([parent.id])


async def kill_part(context: Context, parent: Task, text: str, *, by: str) -> Task | None:
    """
    Kill the children with the indices in `text` (`3-7,9`). Return the parent; None if it is over. Raises
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
    return await _kill_ranges(context, parent.id, ranges, by=by)


async def kill_unmade(context: Context, child: Task, *, by: str) -> Task | None:
    """Kill a child that does not exist yet. Return it; None if it is over or not a child. Raises `errors.Conflict`."""
    parent = await context.stores.views.get(child.member.parent) if child.member else None
    now = await context.stores.views.get(child.id)
    if child.member is None or parent is None or parent.status in ENDED or now is None or now.status in ENDED:
        return None
    await _kill_ranges(context, parent.id, [(child.member.index, child.member.index)], by=by)
    return await context.stores.views.get(child.id)


async def _kill_ranges(context: Context, parent_id: int, ranges: Sequence[tuple[int, int]], *, by: str) -> Task | None:
    killed = await context.stores.arrays.kill_part(parent_id, ranges, at=clock.now(), by=by)
    if killed is not None:
        log.info("task.kill_asked", task_id=parent_id, user=killed.user.id, by=by, indices=ranges[:_MAX_LOGGED])
        context.hints.intent_written()
        context.hints.pending([parent_id])
        return killed
    parent = await context.stores.views.get(parent_id)
    if parent is not None and parent.status in ACTIVE:
        raise errors.Conflict(
            f"more than {MOST_KILLED} parts of array {parent_id} were killed: kill larger parts, or all of it"
        )
    return None


async def reschedule_all(context: Context, parent: Task, *, by: str) -> None:
    """Restart all running children."""
    if await context.stores.arrays.ask_children(
        parent.id, Intent.RESCHEDULE, at=clock.now(), statuses=[TaskStatus.RUNNING], by=by
    ):
        context.hints.intent_written()


async def limit(context: Context, parent: Task, value: str) -> None:
    """Change how many children may hold resources at a time. Raises `errors.InvalidInput` and `errors.Conflict`."""
    if parent.array is None:
        raise errors.InvalidInput.of("name", f"task {parent.id} is not an array")
    try:
        max_concurrent = arrays.parse_limit(value)
    except ValueError as error:
        raise errors.InvalidInput.of("value", str(error)) from None
    if not await context.stores.arrays.set_limit(parent.id, max_concurrent):
        raise errors.Conflict(f"array {parent.id} is over")
    context.hints.pending([parent.id])


async def archive_all(context: Context, parent: Task, *, now: float) -> None:
    """Archive the children of an array that is over."""
    remaining = iter(await context.stores.arrays.children_over(parent.id))
    while chunk := list(islice(remaining, _CHUNK)):
        await context.stores.tasks.transition_many(
            [transitions.archive(task_id, attempt, at=now) for task_id, attempt in chunk]
        )


async def deletable(context: Context, tasks: Sequence[Task]) -> list[Task]:
    """
    Return the `tasks` that may be deleted: not children of open arrays. An array counts its children, and a missing one
    might be created a second time.
    """
    parents = {task.member.parent for task in tasks if task.member}
    still_open = {parent.id for parent in await context.stores.arrays.open_of(parents)} if parents else set()
    return [task for task in tasks if task.member is None or task.member.parent not in still_open]


def not_stored(task: Task) -> errors.RequestError:
    """Return the error for a task that cannot be changed: it is gone, or does not exist yet."""
    if task.member is None:
        return errors.TaskNotFound(task.id)
    return errors.Conflict(f"task {task.id} does not exist yet: act on its array {task.member.parent}")
