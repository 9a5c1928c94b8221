"""Show a stored task in the words of the Web API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.api.wire.fields import DIRECTORY_VOLUME
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

NODE_OF_ARRAYS = "array"
_MAX_LISTED = 10_000  #: children of an array whose ids are listed; the others follow without gaps
_MAX_NAMED = 5  #: tasks that a reason names
WAITING_FOR_TURN = "waiting for its turn"


def shown(
    task: Task,
    *,
    directories: TaskDirectories,
    pending_reason: StoredReason | None,
    unreachable: UnreachableNode | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """
    Return the task object. For a pending task, `pending_reason` is the scheduler's on tasks of its shape; for a placed
    one, `unreachable` and the public `address` are those of its node.
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
        "status": status(task, pending_reason=pending_reason, unreachable=unreachable),
    }


def status(
    task: Task, *, pending_reason: StoredReason | None, unreachable: UnreachableNode | None = None
) -> dict[str, Any]:
    """
    Return the `status` object. `date_running` is absent until the task runs, `date_over` always present: clients test
    that.
    """
    answer: dict[str, Any] = {
        "primary": primary(task),
        "secondary": secondary(task, pending_reason=pending_reason, unreachable=unreachable),
        "exitcode": task.exit_code,
        "reason": reason(task, pending_reason=pending_reason, unreachable=unreachable),
        "date_over": task.ended_at,
        "duration": _duration(task),
        "failure": task.failure.model_dump(),
    }
    if task.started_at is not None:
        answer["date_running"] = task.started_at
    return answer


def secondary(
    task: Task, *, pending_reason: StoredReason | None, unreachable: UnreachableNode | None = None
) -> str | None:
    if task.status in ENDED:
        return _ENDED.get(task.ending) if task.ending else None
    if task.intent is not None and task.intent in _ASKED:
        return _ASKED[task.intent]
    if unreachable is not None and task.status in PLACED:
        return "unknown"
    if task.status is TaskStatus.PENDING and _applies(task, pending_reason):
        return "rejected by scheduler"
    return task.remark


def reason(
    task: Task, *, pending_reason: StoredReason | None, unreachable: UnreachableNode | None = None
) -> str | None:
    """Return why the task waits or how it ended. A waiting task always has a reason."""
    if unreachable is not None and task.status in PLACED:
        since = datetime.fromtimestamp(unreachable.since, UTC)
        time = f"{since:%Y-%m-%d %H:%M:%S} UTC"
        return f"node {unreachable.node} has not responded since {time}; the state of this task is unknown"
    if task.status is TaskStatus.PENDING:
        if task.waiting_on:
            return _waits_for(task.waiting_on)
        if task.array is not None and task.started_at is not None:
            return f"{task.array.over} of {task.array.count} children are over"
        if task.array is not None and arrays.is_suspended(task):
            return "suspended: none of its children is started"
        if pending_reason is not None and _applies(task, pending_reason):
            return pending_reason.reason
        return task.reason or WAITING_FOR_TURN
    if task.status is TaskStatus.CREATED:
        return task.reason or "held back by its owner until it is made pending"
    if task.status is TaskStatus.STARTING:
        node = task.placement.node if task.placement else "a node"
        return task.reason or f"being started on {node}"
    return task.reason


def primary(task: Task) -> str:
    """Return `status.primary`."""
    # The parent of an array is never placed: it counts as running once a child has run.
    if task.array is not None and task.status is TaskStatus.PENDING and task.started_at is not None:
        return TaskStatus.RUNNING.value
    return _PRIMARY.get(task.status, task.status.value)


def _waits_for(ids: Sequence[int]) -> str:
    named = ", ".join(map(str, ids[:_MAX_NAMED])) + (
        f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
    )
    return f"waits for {'task' if len(ids) == 1 else 'tasks'} {named} to be over"


def _applies(task: Task, pending_reason: StoredReason | None) -> bool:
    # A reason older than the task is about others of its shape; one of waiting children is not about the whole array.
    if pending_reason is None or task.waiting_on or (task.array is not None and task.started_at is not None):
        return False
    return pending_reason.at >= task.status_at


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
        children = range(array.first_id, array.first_id + min(array.count, _MAX_LISTED))
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
        # Clients expect a node name for every running task; an array runs on the nodes of its children.
        meta["Node"] = {"Name": NODE_OF_ARRAYS}
    if task.status in ENDED and task.exit_code is not None:
        meta["State"] = {"ExitCode": task.exit_code}
    return meta or None


def _urls(task: Task, address: str | None) -> list[str]:
    # After its end, its ports may belong to another task.
    if address is None or task.placement is None or task.status not in PLACED:
        return []
    return [urls.http(address, port) for port in task.placement.ports]


def _port_mapping(task: Task) -> list[dict[str, int]]:
    published = task.placement.ports if task.placement else []
    return [{"host": host, "container": container} for host, container in zip(published, task.spec.ports, strict=False)]
