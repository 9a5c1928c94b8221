"""Valid values of everything that passes through the system; tests change single fields."""

from __future__ import annotations

import copy
from typing import Any

from services.scheduler.placement.node_state import NodeState
from shared.auth import apikeys
from shared.executors.types import Handle, NodeReport, Observation, RunState
from shared.lifecycle import TaskStatus
from shared.models.task import Placement, Spec, Task, TaskUser, shape_of
from shared.models.user import User
from shared.models.work import Ended, Pending, Placed
from shared.units.sizes import GB

NODE = "node1"
NOW = 1_700_000_000.0

#: The sample of the reference, which every client's task looks like.
SUBMISSION: dict[str, Any] = {
    "notify": {"email": False},
    "meta": {"name": "some_name", "description": "blabla", "tags": ["first", "second"]},
    "user": {"project": "default"},
    "requirements": {
        "cpu": 1,
        "ram": 1,
        "gpus": 0,
        "array": {"values": None},
        "label": None,
        "tasks": [],
        "ports": [],
        "uris": [],
        "failure_policy": 0,
        "network": "public",
        "tmpstorage": None,
        "executor": None,
        "maxlifespan": None,
    },
    "container": {
        "image": "centos:latest",
        "volumes": [],
        "network": True,
        "id": None,
        "meta": None,
        "stats": None,
        "ports": [],
        "root": False,
    },
    "command": {"interactive": False, "cmd": "/bin/sleep 30"},
    "status": {"primary": None, "secondary": None},
}


def submission(**changes: Any) -> dict[str, Any]:
    """Return the sample with other values at dotted paths: `submission(**{"requirements.cpu": 2})`."""
    document = copy.deepcopy(SUBMISSION)
    for path, value in changes.items():
        put(document, path, value)
    return document


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, creating the objects on the way."""
    *folders, last = path.split(".")
    for folder in folders:
        document = document.setdefault(folder, {})
    document[last] = value


def user(user_id: str = "alice", **fields: Any) -> User:
    values: dict[str, Any] = {
        "id": user_id,
        "uid": 20001,
        "gid": 20002,
        "home": f"/home/{user_id}",
        "apikey": apikeys.generate().stored,
        "created_at": NOW,
    }
    return User(**{**values, **fields})


def task(task_id: int = 1, status: TaskStatus = TaskStatus.PENDING, **fields: Any) -> Task:
    """Return a stored task; fields of `Spec` go to its specification, `user` is its owner's id."""
    wanted = {name: fields.pop(name) for name in Spec.model_fields if name in fields}
    owner = fields.pop("user", "alice")
    at = fields.pop("at", NOW)
    spec = Spec(**{"name": "sample", "cpu": 1.0, "ram": 1.0, "image": "busybox:latest", "cmd": "exit 0", **wanted})
    values: dict[str, Any] = {
        "id": task_id,
        "status": status,
        "status_at": at,
        "submitted_at": at,
        "queued_at": at,
        "user": TaskUser(id=owner, uid=20001, gid=20002),
        "spec": spec,
        "shape": shape_of(spec),
        "submission": f"sent-{task_id}",
    }
    return Task(**{**values, **fields})


def placement(node: str = NODE, at: float = NOW) -> Placement:
    return Placement(node=node, executor="fake", at=at, epoch=1)


def pending(task_id: int = 1, **fields: Any) -> Pending:
    values: dict[str, Any] = {
        "id": task_id,
        "attempt": 0,
        "user": "alice",
        "project": "default",
        "cpus": 1.0,
        "memory": GB,
        "queued_at": float(task_id),
    }
    values.update(fields)
    needs = ("cpus", "memory", "gpus", "labels", "ports", "avoid")
    values.setdefault("shape", " ".join(f"{need}={values[need]}" for need in needs if values.get(need)))
    return Pending(**values)


def placed(task_id: int = 1, attempt: int = 1, status: TaskStatus = TaskStatus.RUNNING, **fields: Any) -> Placed:
    values: dict[str, Any] = {
        "id": task_id,
        "attempt": attempt,
        "status": status,
        "intent": None,
        "intent_at": None,
        "image": "busybox:latest",
        "node": NODE,
        "cpus": 1.0,
        "memory": GB,
        "status_at": NOW,
        "started_at": NOW if status is TaskStatus.RUNNING else None,
    }
    return Placed(**{**values, **fields})


def ended(task_id: int = 1, attempt: int = 1, **fields: Any) -> Ended:
    values: dict[str, Any] = {
        "id": task_id,
        "attempt": attempt,
        "node": NODE,
        "user": "alice",
        "project": "default",
        "cpus": 2.0,
        "ram": 3.0,
        "started_at": NOW,
        "ended_at": NOW + 10,
    }
    return Ended(**{**values, **fields})


def seen(task_id: int = 1, attempt: int = 1, state: RunState = RunState.RUNNING, **fields: Any) -> Observation:
    return Observation(Handle(fields.pop("node", NODE), task_id, attempt), state, **fields)


def node(name: str = NODE, cpus: float = 8.0, gb: float = 16.0, **fields: Any) -> NodeState:
    """Return an empty node, or one with `free_cpus` and `free_memory` (bytes) left. `gpus` are names of devices."""
    memory = round(gb * GB)
    devices = list(fields.pop("gpus", ()))
    fields = {"gpus": len(devices), "free_gpus": devices, **fields}
    return NodeState(name=name, cpus=cpus, memory=memory, **{"free_cpus": cpus, "free_memory": memory, **fields})


def report(name: str = NODE, cpus: float = 8.0, gb: float = 16.0, **fields: Any) -> NodeReport:
    values: dict[str, Any] = {"executor": "fake", "ready": True, "reason": None}
    return NodeReport(name=name, cpus=cpus, memory=round(gb * GB), **{**values, **fields})
