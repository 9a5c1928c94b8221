"""A stored task as the Web API shows it: the only place where its words are made from ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from shared.executors import types
from shared.lifecycle import ENDED, PLACED, Ending, Intent, TaskStatus
from shared.models.node import StoredReason, UnreachableNode
from shared.models.task import Task
from shared.rules import arrays
from shared.storage.directories import SCRIPT, TaskDirectories
from shared.units import urls

_ASKED = {
    Intent.KILL: "kill requested",
    Intent.SUSPEND: "suspend requested",
    Intent.RESUME: "resume requested",
    Intent.RESCHEDULE: "reschedule requested",
}
_ENDED = {
    Ending.KILLED: "killed",
    Ending.LIFESPAN_REACHED: "killed",
    Ending.QUOTA_REACHED: "quota reached",
}
_PRIMARY = {TaskStatus.STARTING: "pending"}
_CONTAINER = {TaskStatus.STARTING: "initializing", TaskStatus.RUNNING: "ready", TaskStatus.OVER: "terminated"}

DIRECTORY_VOLUME = "go-docker"  #: the task's directory among its volumes
NODE_OF_ARRAYS = "array"
_LISTED = 10_000  #: children whose ids are shown one by one; the others follow them
_NAMED = 5  #: tasks that a reason names
NOT_LOOKED_AT = "waiting for its turn"


def shown(
    task: Task,
    *,
    directories: TaskDirectories,
    verdict: StoredReason | None,
    silence: UnreachableNode | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """
    The task object of the reference. `verdict` is the scheduler's on tasks of this shape, for one that is pending; `silence` and
    the public `address` are those of its node, for one that is placed.
    """
    spec = task.spec
    return {
        "id": task.id,
        "parent_task_id": task.member.parent if task.member else None,
        "date": task.submitted_at,
        "notify": {"email": spec.notify_email},
        "meta": {"name": spec.name, "description": spec.description, "tags": spec.tags},
        "user": {"id": task.user.id, "uid": task.user.uid, "gid": task.user.gid, "project": task.project},
        "requirements": _requirements(task),
        "container": _container(task, directories, address),
        "command": {
            "interactive": False,
            "cmd": spec.cmd,
            "script": str(directories.path(task.place) / SCRIPT),
        },
        "status": status(task, verdict=verdict, silence=silence),
    }


def status(task: Task, *, verdict: StoredReason | None, silence: UnreachableNode | None = None) -> dict[str, Any]:
    """The `status` object. `date_running` is absent until the task runs, `date_over` always present: clients test that."""
    answer: dict[str, Any] = {
        "primary": primary(task),
        "secondary": secondary(task, verdict=verdict, silence=silence),
        "exitcode": task.exit_code,
        "reason": reason(task, verdict=verdict, silence=silence),
        "date_over": task.ended_at,
        "duration": _duration(task),
        "failure": task.failure.model_dump(),
    }
    if task.started_at is not None:
        answer["date_running"] = task.started_at
    return answer


def secondary(task: Task, *, verdict: StoredReason | None, silence: UnreachableNode | None = None) -> str | None:
    if task.status in ENDED:
        return _ENDED.get(task.ending) if task.ending else None
    if task.intent is not None and task.intent in _ASKED:
        return _ASKED[task.intent]
    if silence is not None and task.status in PLACED:
        return "unknown"
    if task.status is TaskStatus.PENDING and _judged(task, verdict):
        return "rejected by scheduler"
    return task.remark


def reason(task: Task, *, verdict: StoredReason | None, silence: UnreachableNode | None = None) -> str | None:
    """Why it waits or how it ended; a task that waits always has one."""
    if silence is not None and task.status in PLACED:
        since = datetime.fromtimestamp(silence.since, UTC)
        return f"node {silence.node} has not responded since {since:%Y-%m-%d %H:%M:%S} UTC; the state of this task is unknown"
    if task.status is TaskStatus.PENDING:
        if task.waiting_on:
            return _waits_for(task.waiting_on)
        if task.array is not None and task.started_at is not None:
            return f"{task.array.over} of {task.array.count} children are over"
        if task.array is not None and arrays.is_suspended(task):
            return "suspended: none of its children is started"
        if verdict is not None and _judged(task, verdict):
            return verdict.reason
        return task.reason or NOT_LOOKED_AT
    if task.status is TaskStatus.CREATED:
        return task.reason or "held back by its owner until it is made pending"
    if task.status is TaskStatus.STARTING:
        node = task.placement.node if task.placement else "a node"
        return task.reason or f"being started on {node}"
    return task.reason


def primary(task: Task) -> str:
    """`status.primary`."""
    # The parent of an array is never placed itself: it runs while its children do.
    if task.array is not None and task.status is TaskStatus.PENDING and task.started_at is not None:
        return TaskStatus.RUNNING.value
    return _PRIMARY.get(task.status, task.status.value)


def _waits_for(ids: Sequence[int]) -> str:
    named = ", ".join(map(str, ids[:_NAMED])) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
    return f"waits for {'task' if len(ids) == 1 else 'tasks'} {named} to be over"


def _judged(task: Task, verdict: StoredReason | None) -> bool:
    # A verdict from before the task came is about others of its shape; one on children that wait is none on the rest.
    if verdict is None or task.waiting_on or (task.array is not None and task.started_at is not None):
        return False
    return verdict.at >= task.status_at


def _duration(task: Task) -> float | None:
    if task.started_at is None or task.ended_at is None:
        return None
    return max(0.0, task.ended_at - task.started_at)


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _requirements(task: Task) -> dict[str, Any]:
    spec = task.spec
    return {
        "cpu": _number(spec.cpu),
        "ram": _number(spec.ram),
        "gpus": spec.gpus,
        "array": _array(task),
        "label": spec.labels or None,
        "tasks": spec.depends.any,
        "depends": {"afterok": spec.depends.ok, "afterany": spec.depends.any, "afternotok": spec.depends.not_ok},
        "ports": spec.ports,
        "uris": spec.uris,
        "failure_policy": spec.restarts,
        "network": spec.network,
        "tmpstorage": spec.tmpstorage.model_dump() if spec.tmpstorage else None,
        "executor": task.placement.executor if task.placement else None,
        "maxlifespan": _number(spec.lifespan) if spec.lifespan else None,
        "ticket_share": spec.ticket_share,
        **spec.dynamic,
    }


def _array(task: Task) -> dict[str, Any]:
    array, member = task.array, task.member
    if array is not None:
        children = range(array.first_id, array.first_id + min(array.count, _LISTED))
        return {
            "values": array.values,
            "task_id": None,
            "nb_tasks": array.count,
            "nb_tasks_over": array.over,
            "tasks": list(children),
            "first_id": array.first_id,
            "max_concurrent": array.max_concurrent,
        }
    return {
        "values": None,
        "task_id": member.index if member else None,
        "nb_tasks": 0,
        "nb_tasks_over": 0,
        "tasks": [],
        "first_id": None,
        "max_concurrent": None,
    }


def _container(task: Task, directories: TaskDirectories, address: str | None) -> dict[str, Any]:
    placed = task.placement
    volumes = [volume.model_dump() for volume in task.spec.volumes]
    if placed is not None:
        path = str(directories.path(task.place))
        volumes.append({"name": DIRECTORY_VOLUME, "acl": "rw", "path": path, "mount": types.WORKDIR})
    return {
        "image": task.spec.image,
        "volumes": volumes,
        "network": task.spec.network is not None,
        "id": types.run_name(task.id, task.attempt, placed.system) if placed else None,
        "meta": _meta(task),
        "stats": None,
        "ports": [str(port) for port in placed.ports] if placed else [],
        "port_mapping": _port_mapping(task),
        "urls": _urls(task, address),
        "root": task.spec.root,
        "ip_address": None,
        "status": _CONTAINER.get(task.status),
    }


def _meta(task: Task) -> dict[str, Any] | None:
    meta: dict[str, Any] = {}
    if task.started_at is not None and task.placement is not None:
        meta["Node"] = {"Name": task.placement.node}
    elif task.started_at is not None and task.array is not None:
        # Clients count on a name for all that runs; an array is on as many nodes as its children.
        meta["Node"] = {"Name": NODE_OF_ARRAYS}
    if task.status in ENDED and task.exit_code is not None:
        meta["State"] = {"ExitCode": task.exit_code}
    return meta or None


def _urls(task: Task, address: str | None) -> list[str]:
    # Once it is over its ports may be another task's.
    if address is None or task.placement is None or task.status not in PLACED:
        return []
    return [urls.http(address, port) for port in task.placement.ports]


def _port_mapping(task: Task) -> list[dict[str, int]]:
    given = task.placement.ports if task.placement else []
    return [{"host": host, "container": container} for host, container in zip(given, task.spec.ports, strict=False)]
