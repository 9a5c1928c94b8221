"""
What a container is made of: the body of the engine's create call, built key by key from the run.

Nothing a user sends becomes a key of it. A new key is added here, with a test of what the engine makes of it, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.executors import base, wrapper
from shared.executors.docker import gpus

INSTANCE = (
    "godocker.instance"  #: whose it is: the mark of a system, or what versions without marks were configured to say
)
TASK = "godocker.task"
ATTEMPT = "godocker.attempt"
DIRECTORY = "godocker.directory"  #: the task's on the host: events tell labels and no mounts
REQUEST = "godocker.request"  #: for whoever looks at a container; nothing is known by it

#: What a task that was granted root may do beyond nothing: own and enter its own files, become its users, end them.
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")


def create_body(
    run: base.Run,
    *,
    instance: str,
    network: str,
    pids_limit: int,
    volumes: Sequence[Mapping[str, Any]] = (),
    tmpfs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """
    The body for `POST /containers/create`. `network` is what the engine calls the run's network, where it has one; `volumes` and
    `tmpfs` are what its temporary room is made by.
    """
    argv = wrapper.argv(run)
    home = next((mount.target for mount in run.mounts if mount.name == "home"), None)
    data = next((mount.target for mount in run.mounts if mount.target == base.DATA), None)
    environment = wrapper.environment(run, workdir=base.WORKDIR, home=home, data=data)
    environment |= gpus.environment(run.gpus)
    return {
        "Image": reference(run.image),
        # The image's own entry point, command, user, stop signal and health check are all overridden.
        "Entrypoint": argv[:1],
        "Cmd": argv[1:],
        "WorkingDir": base.WORKDIR,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "User": "0:0" if run.root else f"{run.uid}:{run.gid}",
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "OpenStdin": False,
        "Tty": False,
        "Labels": {
            **labels(run.handle, instance=instance),
            DIRECTORY: run.directory,
            **({REQUEST: run.request} if run.request else {}),
        },
        "ExposedPorts": {_port(mapping): {} for mapping in run.ports},
        "NetworkingConfig": {"EndpointsConfig": _endpoints(run, network=network)},
        "HostConfig": {
            **_host_config(run, network=network, pids_limit=pids_limit),
            "Mounts": [*_mounts(run), *volumes],
            "Tmpfs": dict(tmpfs or {}),
        },
    }


def labels(handle: base.Handle, *, instance: str) -> dict[str, str]:
    """A container is known as ours by these, and as which attempt. `instance` is the mark of the system."""
    return {INSTANCE: instance, TASK: str(handle.task_id), ATTEMPT: str(handle.attempt)}


def reference(image: str) -> str:
    """An image's name with its tag: none means `latest`, as in `docker run`."""
    if "@" in image or ":" in image.rsplit("/", 1)[-1]:
        return image
    return f"{image}:latest"


def _host_config(run: base.Run, *, network: str, pids_limit: int) -> dict[str, Any]:
    return {
        "GroupAdd": [] if run.root else [str(group) for group in run.groups],
        "CapDrop": ["ALL"],
        "CapAdd": list(ROOT_CAPABILITIES) if run.root else [],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "IpcMode": "private",
        "NetworkMode": network if run.network else "none",
        "PortBindings": {_port(mapping): [{"HostIp": "", "HostPort": str(mapping.host)}] for mapping in run.ports},
        "Devices": gpus.paths(run.gpus),
        "DeviceRequests": gpus.requests(run.gpus),
        "Memory": run.memory,
        "MemorySwap": run.memory,  # the sum of both: no swap
        "NanoCpus": round(run.cpus * 1e9),
        "PidsLimit": pids_limit,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "Init": True,
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
    }


def _endpoints(run: base.Run, *, network: str) -> dict[str, Any]:
    # Others in the network of a user or a project find it by its container's name and by this one, which no attempt changes.
    named = run.network is not None and run.network != base.PUBLIC
    return {network: {"Aliases": [f"task-{run.handle.task_id}"]}} if named else {}


def _port(mapping: base.PortMapping) -> str:
    return f"{mapping.container}/tcp"


def _mounts(run: base.Run) -> list[dict[str, Any]]:
    # `Mounts`, not `Binds`: for the latter the engine makes a missing source, as root.
    mounts = [_bind(run.directory, base.WORKDIR, read_only=False, recursive=True)]
    for mount in run.mounts:
        # Read-only does not reach what is mounted below the source, on engines before 25. Where root runs, that is left out.
        mounts.append(
            _bind(mount.source, mount.target, read_only=mount.read_only or run.root, recursive=not run.root),
        )
    return mounts


def _bind(source: str, target: str, *, read_only: bool, recursive: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": not recursive},
    }
