"""Examples for the OpenAPI document: a running task and a failed one."""

from __future__ import annotations

from typing import Any

_NO_ARRAY: dict[str, Any] = {
    "values": None,
    "task_id": None,
    "nb_tasks": 0,
    "nb_tasks_over": 0,
    "tasks": [],
    "first_id": None,
    "max_concurrent": None,
}
_NO_FAILURE: dict[str, Any] = {"reason": [], "nodes": [], "count": 0}

RUNNING: dict[str, Any] = {
    "id": 7,
    "parent_task_id": None,
    "date": 1764507590.5,
    "notify": {"email": False},
    "meta": {"name": "align", "description": "", "tags": ["run42"]},
    "user": {"id": "alice", "uid": 20001, "gid": 20001, "project": "default"},
    "requirements": {
        "cpu": 2,
        "ram": 4,
        "gpus": 0,
        "array": _NO_ARRAY,
        "label": None,
        "tasks": [],
        "depends": {"afterok": [], "afterany": [], "afternotok": []},
        "ports": [8888],
        "uris": [],
        "failure_policy": 0,
        "network": "public",
        "tmpstorage": None,
        "executor": "docker",
        "maxlifespan": 21600,
        "ticket_share": None,
    },
    "container": {
        "image": "busybox:latest",
        "volumes": [
            {"name": "go-docker", "acl": "rw", "path": "/opt/godshared/tasks/0/7", "mount": "/mnt/go-docker"},
        ],
        "network": True,
        "id": "god-7-1",
        "meta": {"Node": {"Name": "n1"}},
        "stats": None,
        "ports": ["10001"],
        "port_mapping": [{"host": 10001, "container": 8888}],
        "urls": ["http://n1.example.org:10001"],
        "root": False,
        "ip_address": None,
        "status": "ready",
    },
    "command": {"interactive": False, "cmd": "./align.sh", "script": "/opt/godshared/tasks/0/7/cmd.sh"},
    "status": {
        "primary": "running",
        "secondary": None,
        "exitcode": None,
        "reason": None,
        "date_over": None,
        "duration": None,
        "failure": _NO_FAILURE,
        "date_running": 1764507591.2,
    },
}

FAILED: dict[str, Any] = {
    **RUNNING,
    "container": {
        **RUNNING["container"],
        "meta": {"Node": {"Name": "n1"}, "State": {"ExitCode": 137}},
        "urls": [],
        "status": "terminated",
    },
    "status": {
        **RUNNING["status"],
        "primary": "over",
        "exitcode": 137,
        "reason": "out of memory: it used more than the 4 GB it asked for",
        "date_over": 1764507651.2,
        "duration": 60.0,
    },
}
