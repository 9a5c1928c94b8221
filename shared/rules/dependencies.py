"""Decide whether a task's dependencies are satisfied or have become impossible: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from shared.lifecycle import TaskStatus
from shared.models.task import Dependencies


@dataclass(frozen=True, slots=True)
class End:
    """The end of a task. `known` False: it was deleted, and its end with it."""

    exit_code: int | None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task with dependencies that are not satisfied yet."""

    id: int
    attempt: int
    status: TaskStatus
    depends: Dependencies
    waiting_on: tuple[int, ...]


@dataclass(slots=True)
class Resolution:
    """By task id: the predecessors that are satisfied, and the reasons of tasks whose dependencies are impossible."""

    satisfied: dict[int, list[int]] = field(default_factory=dict)
    impossible: dict[int, str] = field(default_factory=dict)


def check(depends: Dependencies, waiting_on: Collection[int], ends: Mapping[int, End]) -> tuple[list[int], str | None]:
    """
    Return the predecessors in `waiting_on` that ended as required, and the reason if one ended otherwise. `ends` has the ends of
    those that are over.
    """
    ok, not_ok = set(depends.ok), set(depends.not_ok)
    satisfied = []
    for task_id in waiting_on:
        end = ends.get(task_id)
        if end is None:
            continue
        if task_id in ok and (reason := _why_not(task_id, end, wants_ok=True)):
            return [], reason
        if task_id in not_ok and (reason := _why_not(task_id, end, wants_ok=False)):
            return [], reason
        satisfied.append(task_id)
    return satisfied, None


def resolve(waiting: Iterable[Waiting], ends: Mapping[int, End]) -> Resolution:
    """
    Return the consequences of `ends` for `waiting`, transitively: a task with an impossible dependency is over itself, and
    others may depend on it.
    """
    found = Resolution()
    known = dict(ends)
    tasks = {task.id: task for task in waiting}
    followers: defaultdict[int, list[int]] = defaultdict(list)
    for task in tasks.values():
        for task_id in task.waiting_on:
            followers[task_id].append(task.id)
    changed = [task_id for task_id in followers if task_id in known]
    while changed:
        concerned = {follower for task_id in changed for follower in followers[task_id]} - found.impossible.keys()
        changed = []
        for task_id in concerned:
            task = tasks[task_id]
            satisfied, reason = check(task.depends, task.waiting_on, known)
            if reason is not None:
                found.satisfied.pop(task_id, None)
                found.impossible[task_id] = reason
                known[task_id] = End(exit_code=None)
                changed.append(task_id)
            elif satisfied:
                found.satisfied[task_id] = satisfied
    return found


def _why_not(task_id: int, end: End, *, wants_ok: bool) -> str | None:
    if not end.known:
        return f"task {task_id} was deleted before its end was checked"
    if wants_ok and end.exit_code != 0:
        how = "without an exit code" if end.exit_code is None else f"with exit code {end.exit_code}"
        return f"task {task_id} ended {how}; it had to end with 0"
    if not wants_ok and end.exit_code == 0:
        return f"task {task_id} ended with exit code 0; it had to end in another way"
    return None
